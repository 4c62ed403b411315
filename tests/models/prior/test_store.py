"""Priors on the disk: what is written is read again, and damage is noticed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from priors import KINDS, random_codes, tiny

from vqcodec.errors import ConfigError, CorruptFile, ModelMismatch, VqcodecError
from vqcodec.models.prior import store
from vqcodec.models.prior.base import Condition
from vqcodec.models.prior.config import PriorConfig


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_is_read_again(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "prior.safetensors"
    prior = tiny(kind, speakers=("anna",))
    store.save(path, prior, {"model": "x", "steps": 3})
    stored = store.load(path)
    assert stored.prior.config == prior.config
    assert stored.facts == {"model": "x", "steps": 3}
    codes = random_codes(prior, 1, 10)
    found, expected = (one.bits(codes, Condition()) for one in (stored.prior, prior))
    torch.testing.assert_close(found, expected, atol=0.02, rtol=0.02)
    with pytest.raises(VqcodecError, match="exists"):
        store.save(path, prior, {})


def test_of_another_model(tmp_path: Path) -> None:
    stored = store.StoredPrior(tiny(), {"model": "speech_16k"})
    stored.check_model("0" * 64, "p")
    with pytest.raises(ModelMismatch, match=r"p is a prior of the codes of speech_16k .* not of 1111111111111111"):
        stored.check_model("1" * 64, "p")


def test_damage_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "prior.safetensors"
    store.save(path, tiny(), {})
    content = path.read_bytes()
    for place in (300, len(content) // 2, len(content) - 1):
        damaged = bytearray(content)
        damaged[place] ^= 1
        path.write_bytes(bytes(damaged))
        with pytest.raises((CorruptFile, ConfigError)):
            store.load(path)
    path.write_bytes(content[:-10])
    with pytest.raises(CorruptFile):
        store.load(path)


def test_other_files_are_no_priors(tmp_path: Path) -> None:
    golden = Path(__file__).parents[2] / "golden" / "tiny.safetensors"
    with pytest.raises(CorruptFile, match="is no prior; `vqcodec train-prior` writes one"):
        store.load(golden)


def test_weights_that_do_not_fit_into_float16(tmp_path: Path) -> None:
    prior = tiny()
    next(prior.parameters()).data.fill_(1e6)
    with pytest.raises(VqcodecError, match="float16"):
        store.save(tmp_path / "prior.safetensors", prior, {})


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "lstm"},
        {"num_stages": 0},
        {"width": 15},
        {"context_frames": 1.5},
        {"frame_rate": -1},
        {"kind": "pixelcnn", "characters": "abc"},
    ],
)
def test_sizes_out_of_range(wrong: dict[str, object]) -> None:
    values = {**tiny().config.to_dict(), **wrong}
    with pytest.raises(ConfigError):
        PriorConfig.from_dict(values)
    with pytest.raises(ConfigError, match="other settings"):
        PriorConfig.from_dict({"width": 3})
