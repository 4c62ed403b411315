"""Runs that begin with a trained model: of the same sizes, or smaller."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from distributed_helpers import batch_of, recipe, take_steps
from vqcodec.errors import ConfigError
from vqcodec.models import checkpoint
from vqcodec.models.autoencoder import Autoencoder
from vqcodec.models.layers import Stream
from vqcodec.recipes.distributed import World
from vqcodec.recipes.training.step import Trainer
from vqcodec.recipes.training.train import fine_tuning

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("start") / "small.safetensors"
    state, _ = take_steps(recipe(), World())
    model = Autoencoder(recipe().model)
    model.load_state_dict(state["model"])
    checkpoint.save(path, model)
    return path


def started(trained: Path, *overrides: str) -> Trainer:
    return Trainer(fine_tuning(recipe(*overrides)), CPU, World(), trained)


def means(model: Autoencoder, stages: int = 1) -> torch.Tensor:
    """The decoder's means for some latents, quantized with a few stages."""
    waveform = batch_of(recipe(), World(), 0).waveform
    with torch.no_grad():
        latents = model.encoder(waveform, Stream())
        passed = model.quantizer.decode(model.quantizer.encode(latents, stages))
        coefficients: torch.Tensor = model.decoder.coefficients(passed, Stream()).mean
    return coefficients


def test_more_blocks_and_spreads_change_little_at_first(trained: Path) -> None:
    grown = started(
        trained,
        "model.decoder_blocks=3",
        "model.encoder_blocks=2",
        "model.decoder_stochastic=true",
        "model.decoder_spread_from_hz=3000",
    )
    same, before = started(trained), means(checkpoint.load(trained))
    assert torch.equal(means(same.model), before)
    after = means(grown.model)
    assert 0 < (after - before).square().mean() < 0.01 * before.square().mean()
    assert grown.has_codebooks


def test_a_longer_stack_keeps_its_first_codebooks_and_sets_the_others(trained: Path) -> None:
    most = recipe().model.num_stages
    grown = started(trained, f"model.num_stages={most + 2}")
    assert grown.needs_codebooks
    grown.initialise_codebooks(batch_of(grown.recipe, World(), 1000 + number) for number in range(4))
    assert grown.has_codebooks and not grown.needs_codebooks
    before = checkpoint.load(trained)
    for old, new in zip(before.quantizer.books, grown.model.quantizer.books, strict=False):
        assert torch.equal(old.vectors, new.vectors)
    latents = before.encoder(batch_of(recipe(), World(), 0).waveform, Stream())
    errors = [
        (grown.model.quantizer.decode(grown.model.quantizer.encode(latents, n)) - latents).norm()
        for n in (most, most + 2)
    ]
    assert errors[1] < errors[0]
    grown.train_step(batch_of(grown.recipe, World(), 0))


@pytest.mark.parametrize("size", ["model.latent_dim=8", "model.decoder_width=40", "model.num_stages=1"])
def test_what_cannot_be_followed_is_refused(trained: Path, size: str) -> None:
    with pytest.raises(ConfigError, match=r"is a model of other sizes than the recipe's: .* -> "):
        started(trained, size)


def test_spreads_do_not_go_away(trained: Path, tmp_path: Path) -> None:
    sampled = started(trained, "model.decoder_stochastic=true")
    checkpoint.save(tmp_path / "sampled.safetensors", sampled.model)
    with pytest.raises(ConfigError, match="decoder_stochastic True -> False"):
        started(tmp_path / "sampled.safetensors")
