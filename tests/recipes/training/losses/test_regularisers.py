"""Regularisers of the latents: textbook values, gradients, one step whatever the parts, and an effect in training."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.functional import jacobian

from distributed_helpers import batch_of, recipe, take_steps
from vqcodec.models.encoder import Encoder
from vqcodec.models.layers import Stream
from vqcodec.recipes.distributed import World
from vqcodec.recipes.training.losses.regularisers import activations, contraction, sparsity
from vqcodec.recipes.training.step import Trainer

CPU = torch.device("cpu")


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def signs(*shape: int, seed: int = 0) -> Tensor:
    return random(*shape, seed=seed).sign()


# Sparse


def test_sparsity_is_the_divergence_of_two_coins() -> None:
    rho = 0.05
    inactive = torch.full((2, 3, 4), math.log(rho / (1 - rho)))
    assert sparsity(inactive, rho) == pytest.approx(0, abs=1e-6)
    half = 0.05 * math.log(0.05 / 0.5) + 0.95 * math.log(0.95 / 0.5)
    assert sparsity(torch.zeros(2, 3, 4), rho) == pytest.approx(half, rel=1e-5)
    one_of_three = torch.cat([torch.zeros(2, 1, 4), inactive[:, 1:]], 1)
    assert sparsity(one_of_three, rho) == pytest.approx(half / 3, rel=1e-5)
    assert sparsity(-8 + torch.zeros(2, 3, 4), rho) > 0.01  # too silent is no better
    assert sparsity(torch.full((2, 3, 4), 200.0), rho).isfinite()


def test_what_counts_is_the_mean_over_batch_and_frames() -> None:
    latents = torch.zeros(2, 1, 2)
    latents[0] = 100.0
    assert activations(latents).tolist() == [0.75]
    assert activations(random(4, 5, 6)).shape == (5,)


def test_sparsity_of_parts_has_the_gradient_of_the_whole() -> None:
    latents, rho = random(4, 3, 5), 0.1
    whole = latents.clone().requires_grad_()
    sparsity(whole, rho).backward()
    pieces, mean = latents.clone().requires_grad_(), activations(latents)
    terms = torch.stack([sparsity(part, rho, mean) for part in pieces.split(2)])
    terms.mean().backward()
    assert terms.tolist() == pytest.approx([float(sparsity(latents, rho))] * 2)
    torch.testing.assert_close(pieces.grad, whole.grad)


# Contractive


def test_the_norm_of_independent_latents_is_found_by_any_probe() -> None:
    gains = random(1, 6, 1).requires_grad_()
    waveform = random(2, 6, 1, seed=1)
    norm = contraction(lambda x: gains * x, waveform, signs(2, 6, 1, seed=2))
    torch.testing.assert_close(norm, gains.square().mean())
    norm.backward()
    torch.testing.assert_close(gains.grad, 2 * gains.detach() / 6)


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    torch.manual_seed(0)
    chosen = recipe("model.mdct_hop=16", "model.latent_dim=4", "model.encoder_width=8", "model.encoder_lookahead=0")
    return Encoder(chosen.model).double()


def encode(encoder: nn.Module, waveform: Tensor) -> Tensor:
    latents: Tensor = encoder(waveform, Stream())
    return latents


def norm_by(encoder: nn.Module, waveform: Tensor, probe: Tensor) -> float:
    return float(contraction(lambda x: encode(encoder, x), waveform, probe).detach())


@pytest.fixture(scope="module")
def waveform() -> Tensor:
    return 0.1 * random(1, 1, 96, seed=3).double()


def test_probes_of_one_latent_each_add_up_to_the_norm(encoder: Encoder, waveform: Tensor) -> None:
    rows = jacobian(lambda x: encode(encoder, x), waveform).reshape(-1, waveform.numel())  # [latent, sample]
    units = torch.eye(len(rows), dtype=torch.float64).reshape(len(rows), *encode(encoder, waveform).shape)
    found = sum(norm_by(encoder, waveform, unit) for unit in units)
    assert found == pytest.approx(float(rows.square().sum()) / len(rows), rel=1e-6)


def test_random_probes_find_the_norm_on_average(encoder: Encoder, waveform: Tensor) -> None:
    rows = jacobian(lambda x: encode(encoder, x), waveform).reshape(-1, waveform.numel())
    norm, shape = float(rows.square().sum()) / len(rows), encode(encoder, waveform).shape
    found = [norm_by(encoder, waveform, signs(*shape, seed=seed).double()) for seed in range(100)]
    assert sum(found) / len(found) == pytest.approx(norm, rel=0.15)


def test_its_gradient_is_the_slope(encoder: Encoder, waveform: Tensor) -> None:
    probe, weight = signs(*encode(encoder, waveform).shape).double(), encoder.project_out.weight
    [gradient] = torch.autograd.grad(contraction(lambda x: encode(encoder, x), waveform, probe), weight)
    ends = []
    for step in (1e-5, -1e-5):
        with torch.no_grad():
            weight[0, 0] += step
        ends.append(norm_by(encoder, waveform, probe))
        with torch.no_grad():
            weight[0, 0] -= step
    assert float(gradient[0, 0]) == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-4)


# In training

BOTH = ["loss.sparse=2.0", "loss.contractive=1e-3"]


def test_regularisers_take_part_where_they_weigh_something() -> None:
    _, without = take_steps(recipe(), World(), 4)
    state, metrics = take_steps(recipe(*BOTH), World())
    assert not {"sparse", "contractive"} & without[-1].keys()
    assert all({"sparse", "contractive"} <= values.keys() for values in metrics)
    assert all(values["sparse"].isfinite() and values["contractive"].isfinite() for values in metrics)
    assert state["step"] == 9


@pytest.mark.parametrize("parts", [2, 3])
def test_parts_make_the_regularised_step_of_the_whole(parts: int) -> None:
    settings = [*BOTH, "run.seed=1"]  # by which no latent lies so close between two codes that rounding decides
    whole, of_whole = take_steps(recipe(*settings), World())
    pieces, of_pieces = take_steps(recipe(*settings, f"optimizer.accumulate={parts}"), World())
    for name, tensor in whole["model"].items():
        torch.testing.assert_close(pieces["model"][name], tensor, rtol=2e-3, atol=1e-3)
    for expected, found in zip(of_whole, of_pieces, strict=True):
        for name in ("sparse", "contractive", "loss"):
            torch.testing.assert_close(found[name], expected[name], rtol=2e-3, atol=1e-3)


@pytest.mark.parametrize(("name", "weight"), [("sparse", 100.0), ("contractive", 1.0)])
def test_a_weight_brings_its_term_down(name: str, weight: float) -> None:
    def last(value: float) -> float:
        settings = ["run.steps=30", "quantizer.start_step=100", "optimizer.learning_rate=3e-3"]
        _, metrics = take_steps(recipe(*settings, f"loss.{name}={value}"), World())
        return float(torch.stack([values[name] for values in metrics[-5:]]).mean())

    assert last(weight) < 0.9 * last(1e-9)


def test_a_frozen_encoder_is_not_regularised() -> None:
    trainer = Trainer(recipe(*BOTH, "quantizer.start_step=0", "phases.decoder_only_from=1"), CPU, World())
    trainer.initialise_codebooks(batch_of(trainer.recipe, World(), number) for number in range(4))
    assert "sparse" in trainer.train_step(batch_of(trainer.recipe, World(), 0))
    assert not {"sparse", "contractive"} & trainer.train_step(batch_of(trainer.recipe, World(), 1)).keys()
