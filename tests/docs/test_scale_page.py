"""docs/scale.md names the fields that are read, and settings and files that exist."""

from pathlib import Path

import pytest

from vqcodec.recipes.tokenization import fields, job, outputs, plan

PAGE = Path(__file__).resolve().parents[2] / "docs" / "scale.md"

pytestmark = pytest.mark.skipif(not PAGE.is_file(), reason="the documentation is not beside the tests")


@pytest.mark.parametrize(
    "names", [fields.PATH, fields.OFFSET, fields.DURATION, fields.ID, fields.SPEAKER, fields.TEXT], ids=lambda x: x[0]
)
def test_names_of_fields(names: tuple[str, ...]) -> None:
    cell = ", ".join(f"`{name}`" for name in names)
    assert f"| {cell}" in PAGE.read_text("utf-8")


def test_forms_and_files() -> None:
    text = PAGE.read_text("utf-8")
    for form, suffix in outputs.FORMS.items():
        assert f"| `{form}` | `part-000000{suffix}`" in text
    for name in (plan.PLAN, plan.ITEMS, job.ALL_FAILED, f"{job.PARTS}/part-000000"):
        assert f"tokens/{name}" in text
