"""Calibration of a stochastic decoder: high frequencies have the energy of the recordings, or a share of it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from distributed_helpers import recipe
from vqcodec.models.autoencoder import Autoencoder
from vqcodec.models.layers import Stream, expand
from vqcodec.recipes.config import TextureConfig
from vqcodec.recipes.data.folders import Example
from vqcodec.recipes.distributed import World
from vqcodec.recipes.training.calibration import calibrate
from vqcodec.recipes.training.step import Trainer

RATE = 16_000


def recordings(level: float) -> list[Example]:
    """White noise of some level, three times two seconds."""
    noise = torch.from_numpy(np.random.default_rng(0).normal(0, level, (3, 1, 2 * RATE)).astype(np.float32))
    return [Example(sound, sound) for sound in noise]


@pytest.fixture
def model() -> Autoencoder:
    """A decoder whose high coefficients are nothing but spread."""
    torch.manual_seed(0)
    made = Autoencoder(recipe("model.decoder_stochastic=true").model).eval()
    torch.nn.init.zeros_(made.decoder.project_out.weight)
    torch.nn.init.zeros_(made.decoder.project_out.bias)
    return made


def decoded_db(model: Autoencoder) -> float:
    """Mean square of what decoding makes of any latents, in dB."""
    with torch.no_grad():
        waveform = model.decoder(torch.randn(1, model.config.latent_dim, 100), Stream())[..., 2000:]
    return 10 * math.log10(waveform.square().mean())


def expected_db(model: Autoencoder, level: float) -> float:
    """Mean square of noise of that level in the coefficients that have a spread."""
    return 20 * math.log10(level) + 10 * math.log10(model.config.spread_bins / model.config.mdct_hop)


@pytest.mark.parametrize(("level", "scale"), [(0.01, 0.5), (0.01, 1.0), (0.02, 0.6)])
def test_all_energy_restored(model: Autoencoder, level: float, scale: float) -> None:
    calibrate(model, recordings(level), False, TextureConfig(scale=scale, restored=1.0))
    assert decoded_db(model) == pytest.approx(expected_db(model, level), abs=0.5)
    assert torch.allclose(model.decoder.texture_scale, scale * model.decoder.texture_mean)


def test_half_of_it_restored(model: Autoencoder) -> None:
    calibrate(model, recordings(0.01), False, TextureConfig(scale=0.5, restored=0.0))
    assert torch.equal(model.decoder.texture_mean, torch.ones(model.config.spread_bins))
    without = decoded_db(model)
    calibrate(model, recordings(0.01), False, TextureConfig(scale=0.5, restored=0.5))
    assert decoded_db(model) == pytest.approx((without + expected_db(model, 0.01)) / 2, abs=0.5)


def test_silence_is_no_reason_for_endless_gain(model: Autoencoder) -> None:
    calibrate(model, recordings(0.0), False, TextureConfig(restored=1.0))
    assert model.decoder.texture_mean.isfinite().all() and (model.decoder.texture_mean > 0).all()
    with torch.no_grad():
        model.decoder.project_spread.bias.fill_(-50.0)  # type: ignore[union-attr]
    calibrate(model, recordings(0.1), False, TextureConfig(restored=1.0))
    assert model.decoder.texture_mean.isfinite().all()
    assert expand(model.decoder.texture_mean, 0.3).max() <= 101


def test_without_recordings_there_is_the_scale_alone(model: Autoencoder) -> None:
    for nothing in ([], recordings(0.0)):
        calibrate(model, nothing, False, TextureConfig(scale=0.25, restored=1.0))
        assert torch.equal(model.decoder.texture_mean, torch.ones(model.config.spread_bins))
        assert torch.equal(model.decoder.texture_scale, torch.full((model.config.spread_bins,), 0.25))


def test_model_and_average_decode_alike() -> None:
    trainer = Trainer(recipe("model.decoder_stochastic=true", "texture.scale=0.25"), torch.device("cpu"), World())
    trainer.calibrate(recordings(0.05))
    for name in ("texture_mean", "texture_scale"):
        ours, average = (getattr(model.decoder, name) for model in (trainer.model, trainer.averaged))
        assert torch.equal(ours, average)
        assert not torch.equal(ours, torch.ones_like(ours))
