"""The reference of settings in docs/training.md is what the code says."""

import runpy
from pathlib import Path
from typing import Any

import pytest
from annotated_types import Ge, Gt, Le, Lt

from vqcodec.recipes import config, loading

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = DOCS / "training.md"

pytestmark = pytest.mark.skipif(not PAGE.is_file(), reason="the documentation is not beside the tests")


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(DOCS / "make_settings.py"))


def test_the_reference_is_up_to_date(script: dict[str, Any]) -> None:
    page = PAGE.read_text("utf-8")
    assert page.count(script["BEGIN"]) == page.count(script["END"]) == 1
    assert script["filled"](page) == page, "run python docs/make_settings.py"


def test_every_setting_is_in_it(script: dict[str, Any]) -> None:
    rows = {(section, setting.name) for section, (_, settings) in script["sections"]().items() for setting in settings}
    assert rows == {(section, name) for section, values in config.Recipe().to_dict().items() for name in values}


def test_defaults_can_be_written_into_a_recipe(script: dict[str, Any]) -> None:
    settings = [
        f"{section}.{setting.name}={script['toml'](setting.default)}"
        for section, (_, settings) in script["sections"]().items()
        for setting in settings
        if setting.default is not None
    ]
    assert loading.change(loading.load("tiny"), settings) == config.Recipe()


def test_a_setting_without_a_meaning_is_an_error(script: dict[str, Any]) -> None:
    class Bare:
        known: int = 1
        """What it is."""
        bare: int = 2

    with pytest.raises(KeyError, match=r"Bare\.bare has no docstring"):
        script["docstrings"](Bare)


def test_ranges_in_words(script: dict[str, Any]) -> None:
    values = script["values"]
    assert values(float, [Gt(0), Lt(1)]) == "number > 0, < 1"
    assert values(config.Share, []) == "number ≥ 0, ≤ 1"
    assert values(tuple[config.AtLeastOne, ...], []) == "list of whole numbers ≥ 1"
    assert values(int | None, [Ge(2), Le(3)]) == "whole number ≥ 2, ≤ 3"
