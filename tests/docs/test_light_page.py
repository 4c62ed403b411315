"""docs/light.md: its code runs, and its tables name what is in the folder."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

for package in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(package, reason=f"the package {package} is not installed")

from vqcodec import light  # noqa: E402
from vqcodec.integrations.onnx import write_folder  # noqa: E402
from vqcodec.models import registry  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
PAGE_FILE = ROOT / "docs" / "light.md"
PAGE = PAGE_FILE.read_text("utf-8") if PAGE_FILE.is_file() else ""

pytestmark = [
    pytest.mark.skipif(not PAGE, reason="the documentation is not beside the tests"),
    pytest.mark.skipif(registry.DEFAULT not in registry.names(), reason="no trained weights in this build"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the page, of the model that ships."""
    folder = tmp_path_factory.mktemp("page") / "speech_16k_onnx"
    write_folder(registry.find(registry.DEFAULT), folder)
    return folder


def test_the_code_runs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    (folder.parent / "examples").symlink_to(ROOT / "examples")
    [code] = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, object] = {}
    exec(code, names)
    assert names["sound"].shape == names["waveform"].shape  # type: ignore[attr-defined]
    assert names["speech"].shape[-1] == names["codes"].shape[-1] * 320 - 800  # type: ignore[attr-defined]


def test_the_tables(folder: Path) -> None:
    for file in folder.iterdir():
        assert f"| `{file.name}` |" in PAGE
    config = light.Codec.load(folder).config
    assert f"{config.delay} samples late" in PAGE and f"{config.hop_length} samples" in PAGE
    assert f"[1, {config.latent_dim}, frame]" in PAGE
