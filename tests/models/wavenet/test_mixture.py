"""Mixtures of logistics: probabilities that add up, numbers that stay finite, and draws that follow them."""

from __future__ import annotations

import math

import pytest
import torch

from vqcodec.models.texture import uniforms
from vqcodec.models.wavenet.mixture import HIGHEST, LEVELS, LOWEST, STEP, Mixture, quantized

EVERY = torch.arange(-LEVELS // 2, LEVELS // 2).double() * STEP


def random_mixture(seed: int, scale: float, components: int = 5) -> Mixture:
    """One for all samples [1, component], whose components lie anywhere, also beyond the ends."""
    random = torch.Generator().manual_seed(seed)
    logits, means, log_scales = torch.randn(3, 1, components, generator=random, dtype=torch.float64)
    return Mixture(2 * logits, means, math.log(scale) + log_scales)


def repeated(mixture: Mixture, count: int) -> Mixture:
    return Mixture(*(parameter.expand(count, -1) for parameter in mixture))


@pytest.mark.parametrize("scale", [1e-6, 1e-4, 1e-2, 1.0, 100.0])
@pytest.mark.parametrize("seed", range(3))
def test_all_values_together_are_certain(seed: int, scale: float) -> None:
    likelihoods = random_mixture(seed, scale).log_likelihood(EVERY)
    assert float(likelihoods.exp().sum()) == pytest.approx(1.0, abs=1e-9)


def test_a_value_has_the_integral_over_its_bin() -> None:
    mixture = random_mixture(0, 0.01)

    def below(place: torch.Tensor) -> torch.Tensor:
        shares = torch.sigmoid((place[:, None] - mixture.means) / mixture.log_scales.exp())
        return (mixture.logits.softmax(-1) * shares).sum(-1)

    inner = EVERY[1:-1]
    expected = below(inner + STEP / 2) - below(inner - STEP / 2)
    torch.testing.assert_close(mixture.log_likelihood(inner).exp(), expected, rtol=1e-6, atol=1e-15)
    ends = mixture.log_likelihood(torch.tensor([LOWEST, HIGHEST], dtype=torch.float64)).exp()
    torch.testing.assert_close(ends[:1], below(torch.tensor([LOWEST + STEP / 2], dtype=torch.float64)))
    torch.testing.assert_close(ends[1:], 1 - below(torch.tensor([HIGHEST - STEP / 2], dtype=torch.float64)))


@pytest.mark.parametrize("log_scale", [-11.0, -5.0, 0.0, 8.0])
def test_float32_is_near_float64_and_has_gradients(log_scale: float) -> None:
    """Far out in the tails as well, where a difference of two sigmoids would be 0."""
    samples = quantized(torch.linspace(-1, 1, 41))
    means = torch.zeros(41, 2) + torch.tensor([-0.3, 0.2])
    parameters = [torch.zeros(41, 2), means, torch.full((41, 2), log_scale)]
    for parameter in parameters:
        parameter.requires_grad_()
    found = Mixture(*parameters).log_likelihood(samples)
    expected = Mixture(*(p.detach().double() for p in parameters)).log_likelihood(samples.double())
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-3)
    found.sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in parameters)


def test_mean_and_variance() -> None:
    mixture = random_mixture(1, 0.002)
    weights = mixture.log_likelihood(EVERY).exp()
    inside = Mixture(mixture.logits, 0.1 * mixture.means, mixture.log_scales)  # nothing beyond the ends
    weights = inside.log_likelihood(EVERY).exp()
    mean = (weights * EVERY).sum()
    assert float(inside.mean) == pytest.approx(float(mean), abs=1e-7)
    assert float(inside.variance) == pytest.approx(float((weights * (EVERY - mean).square()).sum()), rel=1e-4)


def test_draws_are_distributed_as_the_likelihood_says() -> None:
    count = 20_000
    mixture = random_mixture(2, 0.2)
    drawn = repeated(mixture, count).draw(uniforms(0, 0, count, 2))
    edges = torch.linspace(-1, 1, 21, dtype=torch.float64)
    frequencies = torch.histogram(drawn, edges)[0] / count
    weights = mixture.log_likelihood(EVERY).exp()
    expected = torch.histogram(EVERY, edges, weight=weights)[0]
    assert (frequencies - expected).abs().max() < 0.012
    assert expected.max() > 0.1


def test_without_spread_only_the_means_are_drawn() -> None:
    mixture = random_mixture(3, 0.01)
    drawn = repeated(mixture, 500).draw(uniforms(0, 0, 500, 2), spread=0.0)
    assert set(drawn.tolist()) <= set(quantized(mixture.means)[0].tolist())


def test_quantized() -> None:
    found = quantized(torch.tensor([-2.0, -1.0, 0.4 * STEP, 0.6 * STEP, 0.5, 1.0]))
    assert found.tolist() == [-1.0, -1.0, 0.0, STEP, 0.5, HIGHEST]


def test_uniforms_depend_on_their_place_alone() -> None:
    whole = uniforms(0, 1, 1000, 2)
    assert torch.equal(whole[600:], uniforms(0, 601, 400, 2))
    assert whole.min() > 0 and whole.max() < 1
    assert float(whole.mean()) == pytest.approx(0.5, abs=0.02)
    assert float(whole.var()) == pytest.approx(1 / 12, abs=0.005)
    assert not torch.equal(whole, uniforms(1, 1, 1000, 2))
