"""Training of a WaveNet decoder: its terms, its validation, resuming, and sounds that are not noise."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import wavenets
from scipy.stats import norm

from synthetic import noise, voice
from vqcodec import Codec
from vqcodec.errors import ConfigError
from vqcodec.models.wavenet.mixture import LEVELS, STEP, quantized
from vqcodec.recipes import loading
from vqcodec.recipes.config import Recipe
from vqcodec.recipes.data.batches import Example, random_batch
from vqcodec.recipes.distributed import World
from vqcodec.recipes.flops import macs_per_s
from vqcodec.recipes.metrics import stoi
from vqcodec.recipes.training.checks import check
from vqcodec.recipes.training.losses.likelihood import binned_gaussian, gaussian
from vqcodec.recipes.training.step import Trainer
from vqcodec.recipes.training.train import train
from vqcodec.recipes.training.validation import validate

CPU = torch.device("cpu")
SIZES = {key: value for key, value in wavenets.config().to_dict().items() if key not in loading.OF_BOTTLENECK}
SMALL = [
    *(f"model.{key}={json.dumps(value)}" for key, value in SIZES.items()),
    "data.batch_size=4",
    "data.crop_s=0.2",
    "data.validation_s=2.0",
    "optimizer.warmup_steps=2",
    "quantizer.start_step=2",
    "quantizer.kmeans_batches=4",
    "run.tensorboard=false",
    "run.log_every=1",
    "run.validate_every=4",
    "run.steps=4",
]


def recipe(*overrides: str) -> Recipe:
    return loading.load("wavenet", [*SMALL, *overrides])


class Notes:
    """A display that remembers."""

    def __init__(self) -> None:
        self.metrics: list[Mapping[str, float]] = []
        self.scores: list[Mapping[str, float]] = []

    def message(self, text: str) -> None:
        pass

    def update(self, step: int, steps: int, metrics: Mapping[str, float], perplexities: Sequence[float]) -> None:
        self.metrics.append(metrics)

    def validation(self, step: int, metrics: Mapping[str, float]) -> None:
        self.scores.append(metrics)


def steps(trainer: Trainer, count: int) -> list[dict[str, torch.Tensor]]:
    """Steps on noise of each step's own."""
    found = []
    for _ in range(count):
        batch = random_batch(loading.change(trainer.recipe, [f"run.seed={trainer.step}"]), CPU)
        if trainer.needs_codebooks:
            trainer.initialise_codebooks([batch])
        found.append(trainer.train_step(batch))
    return found


def tensors_of(state: Any) -> list[torch.Tensor]:
    if isinstance(state, torch.Tensor):
        return [state]
    inner = state.values() if isinstance(state, dict) else state if isinstance(state, list | tuple) else ()
    return [tensor for value in inner for tensor in tensors_of(value)]


def test_the_loss_is_the_likelihood_and_the_commitment() -> None:
    trainer = Trainer(recipe("quantizer.start_step=0"), CPU, World())
    [metrics] = steps(trainer, 1)
    assert {"signed", "mel", "magnitude", "complex"}.isdisjoint(metrics)
    assert float(metrics["loss"]) == pytest.approx(float(metrics["nll"] + 0.25 * metrics["commitment"]), rel=1e-5)
    assert float(metrics["bits"]) == pytest.approx(float(metrics["nll"]) / math.log(2))


def test_every_weight_learns() -> None:
    """Several processes want a gradient for every parameter."""
    trainer = Trainer(recipe("quantizer.start_step=0", "quantizer.learning=gradient"), CPU, World())
    before = [parameter.clone() for parameter in trainer.model.parameters()]
    steps(trainer, 3)
    names = [name for name, _ in trainer.model.named_parameters()]
    same = [name for name, old, new in zip(names, before, trainer.model.parameters(), strict=True) if old.equal(new)]
    assert same == []


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_resumed_run_is_the_same_run(precision: str) -> None:
    chosen = recipe(f"run.precision={precision}")
    whole, halves, resumed = (Trainer(chosen, CPU, World()) for _ in range(3))
    steps(whole, 4)
    steps(halves, 2)
    resumed.load_state(halves.state())
    steps(resumed, 2)
    pairs = zip(tensors_of(whole.state()), tensors_of(resumed.state()), strict=True)
    assert all(torch.equal(one, two) for one, two in pairs)


def test_a_run_validates_by_likelihoods_and_its_weights_decode(speech: Path, tmp_path: Path) -> None:
    notes = Notes()
    weights = train(recipe(), [speech], tmp_path / "run", display=notes, cache=tmp_path / "cache")
    assert weights is not None
    [scores] = notes.scores
    assert {f"{name}@{stages}" for name in ("nll", "gaussian", "local_gaussian") for stages in (1, 2)} < scores.keys()
    assert not any(name.startswith(("mel", "si_sdr")) for name in scores)
    assert all(metrics["nll"] > 0 for metrics in notes.metrics)
    codec = Codec.load(weights, "cpu")
    sound = voice(0.3, 8000)
    decoded = codec.decode(codec.encode(sound, stages=2))
    assert decoded.shape == (1, len(sound)) and np.isfinite(decoded).all()
    assert macs_per_s(codec, 2)["decode"] > 8000 * 6 * 24 * 16  # six layers of 24 times 16 products a sample
    assert json.loads((tmp_path / "run" / "checkpoints" / "best.json").read_text())["by"] == "nll"


def test_the_target_is_what_is_learnt() -> None:
    """With `augment.denoise` the input is another sound than the target."""
    model = wavenets.model()
    clean = 0.1 * torch.randn(1, 1, 800, generator=torch.Generator().manual_seed(0))
    other = torch.zeros(1, 1, 800)
    own, told = model(clean).log_likelihood, model(clean, target=other).log_likelihood
    assert own is not None and told is not None
    assert not torch.allclose(own, told)
    assert torch.equal(own, model(clean, target=clean).log_likelihood)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("run.best_by=mel", "run.best_by = 'mel' is not a score"),
        ("phases.adversarial_from=2", "phases.adversarial_from needs a model that decodes to MDCT"),
        ("model.decoder_stochastic=true", "model.decoder_stochastic = true needs a model that decodes to MDCT"),
        ("model.decoder_conceals=true", "model.decoder_conceals = true needs a model that decodes to MDCT"),
        ("model.decoder_kind=wave", "model.decoder_kind = 'wave' is none of mdct, wavenet"),
        ("model.wavenet_layers=0", "model.wavenet_layers = 0 must lie between"),
    ],
)
def test_what_does_not_go_together_is_refused(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check(recipe(override))


def test_a_binned_gaussian() -> None:
    values = torch.arange(-LEVELS // 2, LEVELS // 2).double() * STEP
    for mean, deviation in ((0.0, 0.01), (0.99, 0.1), (-0.3, STEP / 5)):
        shape = torch.ones_like(values)
        found = binned_gaussian(mean * shape, deviation**2 * shape, values)
        assert float(found.exp().sum()) == pytest.approx(1.0, abs=1e-9)
        inner = slice(1, -1)
        edges = norm.logcdf(values[inner] + STEP / 2, mean, deviation)
        edges_below = norm.logcdf(values[inner] - STEP / 2, mean, deviation)
        expected = np.exp(edges) - np.exp(edges_below)
        np.testing.assert_allclose(found[inner].exp(), expected, atol=1e-12)


def test_the_likelihood_of_a_gaussian_of_the_residual() -> None:
    noise = torch.randn(50_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 0.02
    samples = quantized(noise)
    variance = samples.square().mean()
    found = binned_gaussian(torch.zeros_like(samples), variance.expand_as(samples), samples)
    assert float(gaussian(variance)) == pytest.approx(-float(found.mean()), abs=1e-4)


def test_it_learns_a_sound() -> None:
    """What is drawn from the codes of a sound is like it, unlike what other codes make, and likelier than Gaussians."""
    sizes = ["model.num_stages=8", "model.codebook_size=64", "model.wavenet_channels=16", "model.decoder_width=32"]
    learning = ["quantizer.start_step=30", "run.steps=90", "optimizer.learning_rate=5e-3", "optimizer.weight_ema=0.9"]
    trainer = Trainer(
        recipe(*sizes, *learning, "data.batch_size=2", "data.crop_s=1.0", "run.precision=fp32"), CPU, World()
    )
    model, sound = trainer.recipe.model, voice(1.5, 8000, seed=3)
    length, random = model.num_frames(8000) * model.hop_length, np.random.default_rng(0)
    while trainer.step < trainer.recipe.run.steps:
        starts = random.integers(len(sound) - length, size=2)
        crops = torch.stack([torch.from_numpy(sound[None, start : start + length]) for start in starts])
        if trainer.needs_codebooks:
            trainer.initialise_codebooks([Example(crops, crops)])
        trainer.train_step(Example(crops, crops))
    learnt = trainer.averaged.eval()
    learnt.learn_silence()
    codec = Codec(learnt)
    scores = validate(learnt, [Example(*2 * [torch.from_numpy(sound)[None]])], quantizes=True)
    assert scores["nll@8"] < scores["local_gaussian@8"] < scores["gaussian@8"]
    decoded = codec.decode(codec.encode(sound))[0]
    of_noise = codec.decode(codec.encode(noise(1.5, 8000)))[0]
    assert stoi(sound, decoded, 8000) > 0.35
    assert stoi(sound, of_noise, 8000) < 0.25
