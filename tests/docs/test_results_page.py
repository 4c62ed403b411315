"""docs/RESULTS.md says what the committed measurements say."""

import runpy
from pathlib import Path

import pytest

from vqcodec.models import registry

DOCS = Path(__file__).resolve().parents[2] / "docs"

pytestmark = pytest.mark.skipif(not (DOCS / "results").is_dir(), reason="the documentation is not beside the tests")


def test_the_page_is_up_to_date(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the eval extra is not installed")
    runpy.run_path(str(DOCS / "make_results.py"))["main"](tmp_path)
    assert (tmp_path / "RESULTS.md").read_text("utf-8") == (DOCS / "RESULTS.md").read_text("utf-8")
    assert (tmp_path / "results" / "quality.svg").read_text("utf-8").startswith("<?xml")


def test_it_is_about_the_weights_that_ship() -> None:
    if registry.DEFAULT not in registry.names():
        pytest.skip("no trained weights in this build")
    fingerprint = registry.describe(registry.find(registry.DEFAULT)).fingerprint
    assert (DOCS / "RESULTS.md").read_text("utf-8").count(fingerprint[:16]) >= 2  # quality and speed
