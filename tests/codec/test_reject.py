"""Files that must be refused, each with the error that docs/FORMAT.md states."""

from __future__ import annotations

import re
from pathlib import Path

import format_reader
import pytest

from vqcodec import Codec, errors

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "tests" / "golden" / "reject"
PAGE = ROOT / "docs" / "FORMAT.md"
NEED_THE_MODEL = {"fingerprint", "stages", "kind_of_model", "code", "frames"}

pytestmark = pytest.mark.skipif(not PAGE.is_file(), reason="the documentation is not beside the tests")


def _listed() -> dict[str, str]:
    """The names of the files and of their errors."""
    section = PAGE.read_text("utf-8").split("### Files that a reader refuses")[-1].split("\n## ")[0]
    return dict(re.findall(r"^\| `(\w+)` \| .* \| `(\w+)` \|$", section, re.M))


ERRORS = _listed() if PAGE.is_file() else {}


@pytest.fixture(scope="module")
def codec() -> Codec:
    return Codec.load(FOLDER.parent / "context.safetensors", "cpu")


def test_the_page_lists_every_file() -> None:
    assert set(ERRORS) == {path.stem for path in FOLDER.iterdir()}


@pytest.mark.parametrize("name", ERRORS)
def test_the_package(codec: Codec, name: str, tmp_path: Path) -> None:
    path = FOLDER / f"{name}.vq"
    with pytest.raises(errors.VqcodecError) as caught:
        codec.decode(path)
    assert type(caught.value).__name__ == ERRORS[name]
    with pytest.raises(type(caught.value)) as caught:
        codec.decode_file(path, tmp_path / "out.wav")
    assert type(caught.value).__name__ == ERRORS[name]
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", sorted(set(ERRORS) - NEED_THE_MODEL))
def test_the_second_reader(codec: Codec, name: str) -> None:
    assert codec.context is not None
    context = format_reader.load_context(FOLDER.parent / "context.safetensors", codec.context.fingerprint)
    with pytest.raises(format_reader.Refused, match=f"^{ERRORS[name]}$"):
        format_reader.read((FOLDER / f"{name}.vq").read_bytes(), context)
