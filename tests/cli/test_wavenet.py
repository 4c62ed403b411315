"""The command line with a model whose decoder is a WaveNet: files there and back, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import wavenets
from typer.testing import CliRunner, Result

from synthetic import voice
from vqcodec import Codec
from vqcodec.cli.main import app
from vqcodec.models import checkpoint


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "wave.safetensors"
    checkpoint.save(path, wavenets.model())
    return path


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    """A quarter of a second of two channels at 16 kHz, twice the rate of the model."""
    path = tmp_path / "speech.wav"
    soundfile.write(path, np.stack([voice(0.25, 16_000), voice(0.25, 16_000, seed=1)], 1), 16_000)
    return path


def run(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], prog_name="vqcodec")
    assert result.exit_code == code, (result.output, result.exception)
    assert isinstance(result.exception, SystemExit | None)
    return result


def test_there_and_back(model: Path, speech: Path, tmp_path: Path) -> None:
    run("encode", speech, tmp_path / "a.vq", "--model", model)
    for name in ("one.wav", "two.wav"):
        run("decode", tmp_path / "a.vq", tmp_path / name, "--model", model)
    assert (tmp_path / "one.wav").read_bytes() == (tmp_path / "two.wav").read_bytes()
    decoded, rate = soundfile.read(tmp_path / "one.wav", always_2d=True)
    assert decoded.shape == (2000, 2) and rate == 8000
    assert decoded.std() > 1e-3
    facts = json.loads(run("info", tmp_path / "a.vq", "--json").stdout)
    assert facts["sample_rate"] == 8000 and facts["channels"] == 2


def test_a_file_is_the_sound_of_its_codes_in_any_blocks(model: Path, speech: Path, tmp_path: Path) -> None:
    codec = Codec.load(model, "cpu")
    encoded = codec.encode(speech)
    whole = codec.decode(encoded)
    for block_frames in (1, 3):
        decoder = codec.decoder(2, block_frames=block_frames, num_samples=whole.shape[-1])
        parts = [decoder.push(encoded.codes[..., :5]), decoder.push(encoded.codes[..., 5:]), decoder.flush()]
        assert np.array_equal(np.concatenate(parts, axis=-1), whole)
    reduced = Codec.load(model, "cpu", "bfloat16")
    assert np.array_equal(reduced.decode(encoded), whole)


def test_texture_is_the_spread_of_the_draws(model: Path, speech: Path, tmp_path: Path) -> None:
    run("encode", speech, tmp_path / "a.vq", "--model", model)
    sounds = []
    for texture in ("1", "0.5", "0"):
        run("decode", tmp_path / "a.vq", tmp_path / "b.wav", "--model", model, "--texture", texture, "--force")
        sounds.append(soundfile.read(tmp_path / "b.wav")[0])
    assert not np.array_equal(sounds[0], sounds[1]) and not np.array_equal(sounds[1], sounds[2])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["export", "--onnx", "folder"], "an export to ONNX needs a model that decodes to MDCT coefficients"),
        (["bench", "--seconds", "1"], "a benchmark of the steps needs a model that decodes to MDCT coefficients"),
    ],
)
def test_what_it_cannot_do_is_one_line(model: Path, arguments: list[str], message: str, tmp_path: Path) -> None:
    given = [str(tmp_path / word) if word == "folder" else word for word in arguments]
    line = run(*given, "--model", model, code=1).stderr.splitlines()[-1]
    assert line.startswith("vqcodec: error: ") and message in line


def test_a_model_file_keeps_everything(model: Path, tmp_path: Path) -> None:
    again = checkpoint.load(model)
    assert again.config == wavenets.config()
    fingerprint = checkpoint.fingerprint_of(again)
    for change in ({"wavenet_cycle": 3}, {"wavenet_layers": 5}, {"wavenet_order": 5}):
        other = wavenets.model(**change)
        assert checkpoint.fingerprint_of(other) != fingerprint
        assert checkpoint.least_numbers(other.config) <= sum(x.numel() for x in other.state_dict().values())
