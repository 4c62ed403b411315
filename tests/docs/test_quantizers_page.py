"""docs/QUANTIZERS.md says what the committed measurements say, and its pictures are drawn by the code."""

import re
import runpy
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = DOCS / "QUANTIZERS.md"

pytestmark = pytest.mark.skipif(not PAGE.is_file(), reason="the documentation is not beside the tests")


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    pytest.importorskip("matplotlib", reason="the eval extra is not installed")
    return runpy.run_path(str(DOCS / "make_quantizers.py"))


def test_the_tables_are_up_to_date(script: dict[str, Any]) -> None:
    page = PAGE.read_text("utf-8")
    assert page.count("<!-- table") == 2
    assert script["filled"](page) == page


@pytest.mark.parametrize("name", ["splitting", "water", "curves"])
def test_pictures_can_be_drawn(name: str, script: dict[str, Any], tmp_path: Path) -> None:
    script["save"](script[name](), tmp_path / "picture.svg")
    assert (tmp_path / "picture.svg").read_text("utf-8").startswith("<?xml")


def test_every_picture_is_there() -> None:
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", PAGE.read_text("utf-8"))
    assert len(pictures) == 5
    for picture in pictures:
        assert (DOCS / picture).is_file()


def test_the_example_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    [example] = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(example, names)
    assert (names["close"] - names["vectors"]).square().mean() < 0.6
    assert names["same"].decode(names["codes"]).equal(names["close"])
