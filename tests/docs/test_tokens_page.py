"""The code of docs/tokens.md runs, in order."""

import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from vqcodec.cli.main import app
from vqcodec.models import registry

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "tokens.md"

pytestmark = [
    pytest.mark.skipif(not PAGE.is_file(), reason="the documentation is not beside the tests"),
    pytest.mark.skipif(registry.DEFAULT not in registry.names(), reason="no trained weights in this build"),
]


def run(text: str, names: dict[str, Any]) -> dict[str, Any]:
    """Run the blocks of a text of the page, given the names that earlier ones defined."""
    for language, block in re.findall(r"```(python|sh)\n(.*?)```", text, flags=re.DOTALL):
        if language == "python":
            exec(block, names)
        else:
            for line in block.splitlines():
                done = CliRunner().invoke(app, shlex.split(line)[1:])
                assert done.exit_code == 0, (line, done.output)
    return names


def test_the_page_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    tokens, of_transformers = PAGE.read_text("utf-8").split("\n## transformers\n")
    names = run(tokens, {})
    assert names["vocabulary"].allowed(3).stop == names["text_tokens"] + len(names["vocabulary"])
    try:
        import transformers.audio_utils  # noqa: F401
    except (ImportError, OSError) as error:  # OSError: a torchaudio of another build than torch
        pytest.skip(f"transformers cannot be imported: {error}")
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.syspath_prepend(tmp_path / "modules")
    assert run(of_transformers, names)["model"].config.num_quantizers == 12
    assert "attribution" in (tmp_path / "speech_16k_hf" / "README.md").read_text("utf-8")
