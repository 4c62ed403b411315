"""`vqcodec train-context`, from recordings to a model file with a context model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from typer.testing import CliRunner

from synthetic import voice
from vqcodec import Codec
from vqcodec.cli.main import app
from vqcodec.payloads.context import ContextCoder

TINY = Path(__file__).parents[1] / "golden" / "tiny.safetensors"


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    for seed in range(3):
        (tmp_path / "speech" / str(seed)).mkdir(parents=True)
        sf.write(tmp_path / "speech" / str(seed) / "a.wav", voice(3, seed=seed), 16_000)
    return tmp_path / "speech"


def test_from_recordings_to_smaller_payloads(speech: Path, tmp_path: Path) -> None:
    out = tmp_path / "with.safetensors"
    command = ["train-context", str(TINY), "--data", str(speech), "--out", str(out), "--steps", "3", "--device", "cpu"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert "4 stages: " in done.stderr and "held out" in done.stderr
    assert Codec.load(out, "cpu").fingerprint == Codec.load(TINY, "cpu").fingerprint
    coder = ContextCoder.load(out)
    assert coder is not None
    codes = np.asarray(Codec.load(out, "cpu").encode(voice(1), stages=4).codes)
    counts = np.full((1, codes.shape[-1]), 4)
    found = coder.decode(coder.encode([(codes, counts)]), [codes.shape[-1]], 1, 4)
    assert (found[0][0] == codes).all()

    again = CliRunner().invoke(app, command)
    assert again.exit_code == 1 and "exists already; add --force" in again.stderr
    out.unlink()
    again = CliRunner().invoke(app, command)
    assert again.exit_code == 1 and "--resume" in again.stderr
    resumed = CliRunner().invoke(app, [*command, "--resume", "--quiet"])
    assert resumed.exit_code == 0 and resumed.stderr == ""
    assert ContextCoder.load(out).fingerprint == coder.fingerprint  # type: ignore[union-attr]


def test_only_for_stacks_of_codebooks(speech: Path, tmp_path: Path) -> None:
    from vqcodec.models import checkpoint
    from vqcodec.models.autoencoder import Autoencoder
    from vqcodec.models.config import ModelConfig

    sizes = {"encoder_width": 16, "encoder_blocks": 1, "decoder_width": 16, "decoder_blocks": 1}
    config = ModelConfig(name="x", latent_dim=8, bottleneck="vq", num_stages=1, codebook_size=16, **sizes)
    checkpoint.save(tmp_path / "vq.safetensors", Autoencoder(config))
    command = ["train-context", str(tmp_path / "vq.safetensors"), "--data", str(speech)]
    done = CliRunner().invoke(app, [*command, "--out", str(tmp_path / "out.safetensors")])
    assert done.exit_code == 1 and "'rvq'" in done.stderr
