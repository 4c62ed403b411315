"""docs/RESULTS.md says what the committed measurements say."""

import json
import runpy
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from vqcodec.models import registry
from vqcodec.recipes.evaluation.results import SystemSummary

DOCS = Path(__file__).resolve().parents[2] / "docs"

pytestmark = pytest.mark.skipif(not (DOCS / "results").is_dir(), reason="the documentation is not beside the tests")


def test_the_page_is_up_to_date(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the eval extra is not installed")
    runpy.run_path(str(DOCS / "make_results.py"))["main"](tmp_path)
    assert (tmp_path / "RESULTS.md").read_text("utf-8") == (DOCS / "RESULTS.md").read_text("utf-8")
    assert (tmp_path / "results" / "quality.svg").read_text("utf-8").startswith("<?xml")


def test_measurements_that_do_not_say_what_the_model_was_trained_on(tmp_path: Path) -> None:
    """As older ones: nothing is marked, and the order is that of the table of scores."""
    pytest.importorskip("matplotlib", reason="the eval extra is not installed")
    script = runpy.run_path(str(DOCS / "make_results.py"))
    content = json.loads((DOCS / "results" / "eval.json").read_text("utf-8"))
    summaries = TypeAdapter(list[SystemSummary]).validate_python(content["systems"])
    marked = script["quality"](content, summaries)
    content["model"].pop("trained_on_scores", None)
    plain = script["quality"](content, summaries)
    assert "†" not in "".join(plain)
    assert "| PESQ-WB † ↑ |" in "".join(marked) and "| PESQ-WB ↑ |" in "".join(plain)
    script["draw"](summaries, frozenset(), tmp_path / "plain.svg")
    assert "†" not in (tmp_path / "plain.svg").read_text("utf-8")


def test_it_is_about_the_weights_that_ship() -> None:
    if registry.DEFAULT not in registry.names():
        pytest.skip("no trained weights in this build")
    fingerprint = registry.describe(registry.find(registry.DEFAULT)).fingerprint
    assert (DOCS / "RESULTS.md").read_text("utf-8").count(fingerprint[:16]) >= 2  # quality and speed
