"""The example that trains a language model on codes: it learns, looks into no future, and speaks."""

import re
import runpy
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch

import synthetic
from vqcodec.tokens import Vocabulary

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "examples" / "language_model.py"
TINY = ROOT / "tests" / "golden" / "tiny.safetensors"

pytestmark = pytest.mark.skipif(not SCRIPT.is_file(), reason="the examples are not beside the tests")


@pytest.fixture(scope="module")
def example() -> dict[str, Any]:
    return runpy.run_path(str(SCRIPT))


def test_it_trains_and_speaks(example: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in range(3):
        soundfile.write(tmp_path / f"{seed}.wav", synthetic.voice(2.0, seed=seed), 16_000)
    settings = ["--stages", "3", "--batch", "2", "--steps", "26", "--seconds", "0.5"]
    example["main"]([str(tmp_path), "--out", str(tmp_path / "out.wav"), "--model", str(TINY), *settings])
    losses = [float(loss) for loss in re.findall(r"step \d+: (\S+) nats", capsys.readouterr().out)]
    assert len(losses) == 2
    assert losses[1] < losses[0] - 0.3
    sound = soundfile.read(tmp_path / "out.wav")[0]
    assert len(sound) == 8000
    assert sound.std() > 1e-4


def test_it_looks_into_no_future(example: dict[str, Any]) -> None:
    vocabulary = Vocabulary(codebook_size=10, num_stages=3)
    torch.manual_seed(0)
    model = example["LanguageModel"](vocabulary, context=12, width=16, layers=2).eval()
    tokens = torch.randint(len(vocabulary), (2, 3, 12))
    changed = tokens.clone()
    changed[..., 7:] = 0
    with torch.no_grad():
        before, after = model(tokens), model(changed)
    torch.testing.assert_close(before[:, :7], after[:, :7])
    assert not torch.allclose(before[:, 7:], after[:, 7:])


def test_it_says_codes_only(example: dict[str, Any]) -> None:
    vocabulary = Vocabulary(codebook_size=10, num_stages=3)
    codes = example["LanguageModel"](vocabulary, context=11, width=16, layers=1).generate(9)
    assert codes.shape == (3, 9)
    assert codes.min() >= 0 and codes.max() < 10
