"""Losses and quick scores: zero where nothing differs, growing with the damage, with useful gradients."""

import itertools
import math

import numpy as np
import pytest
import torch

from synthetic import voice
from vqcodec.recipes.metrics import si_sdr
from vqcodec.recipes.training.losses.spectral import (
    FLOOR,
    MEL_BINS,
    POWER,
    compress_complex,
    energy_score,
    log_magnitude,
    log_mel,
    relative_error,
    signed_error,
    spectral_losses,
    stft,
)

RATE = 16_000


@pytest.fixture(scope="module")
def clean() -> torch.Tensor:
    return torch.from_numpy(np.stack([voice(1.0, RATE, seed) for seed in range(2)]))


def noisy(clean: torch.Tensor, level: float) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return clean + level * torch.randn(clean.shape, generator=generator)


def test_identical_signals_lose_nothing(clean: torch.Tensor) -> None:
    losses = spectral_losses(clean, clean.clone(), RATE)
    assert losses.mel == 0
    assert losses.magnitude == 0
    assert losses.complex == 0


def test_losses_grow_with_the_noise(clean: torch.Tensor) -> None:
    values = [spectral_losses(noisy(clean, level), clean, RATE) for level in (0.001, 0.01, 0.1)]
    for smaller, larger in itertools.pairwise(values):
        assert smaller.mel < larger.mel
        assert smaller.magnitude < larger.magnitude
        assert smaller.complex < larger.complex


def test_holes_in_the_spectrum_show_bin_by_bin() -> None:
    times = torch.arange(RATE) / RATE
    sparse, dense = (
        sum(torch.sin(2 * math.pi * hz * times + hz) for hz in range(4000, 7000, step)) for step in (200, 50)
    )
    sparse = 0.02 * sparse * dense.norm() / sparse.norm()
    losses = spectral_losses(sparse[None], 0.02 * dense[None], RATE)
    assert losses.magnitude > 1.5 * losses.mel


def test_a_flipped_sign_is_heard_by_the_complex_loss_alone(clean: torch.Tensor) -> None:
    losses = spectral_losses(-clean, clean, RATE)
    assert losses.mel < 1e-6
    assert losses.complex > 0.05


def test_the_floor_keeps_silence_from_owning_the_gradient(clean: torch.Tensor) -> None:
    output = noisy(clean, 0.01).requires_grad_()
    losses = spectral_losses(output, clean, RATE)
    (losses.mel + losses.complex).backward()
    assert output.grad is not None
    assert output.grad.isfinite().all()
    assert 0 < output.grad.norm() < 10


def test_silence_has_a_finite_gradient() -> None:
    output = torch.zeros(1, RATE, requires_grad=True)
    losses = spectral_losses(output, torch.zeros(1, RATE), RATE)
    (losses.mel + losses.complex).backward()
    assert output.grad is not None
    assert output.grad.isfinite().all()


@pytest.mark.parametrize("window", MEL_BINS)
def test_a_sine_peaks_in_the_band_it_belongs_to(window: int) -> None:
    bands = MEL_BINS[window]
    times = torch.arange(RATE) / RATE
    peaks = [
        int(log_mel(stft(torch.sin(2 * math.pi * hz * times)[None], window), window, RATE).mean(-1).argmax())
        for hz in (500, 2000, 6000)
    ]
    assert peaks == sorted(peaks)
    assert 0 <= peaks[0] < peaks[-1] < bands


def test_compression_keeps_the_phase(clean: torch.Tensor) -> None:
    spectrum = stft(clean, 512)
    real, imag = compress_complex(spectrum, log_magnitude(spectrum))
    before, after = torch.complex(spectrum.real, spectrum.imag), torch.complex(real, imag)
    product = after * before.conj()
    assert torch.allclose(product.imag, torch.zeros(()), atol=1e-5) and (product.real >= 0).all()
    expected = spectrum.magnitude * (spectrum.magnitude + FLOOR).pow(POWER - 1)
    assert torch.allclose(after.abs(), expected, atol=1e-3)


def test_si_sdr_of_known_mixtures() -> None:
    times = np.arange(RATE) / RATE
    signal, noise = np.sin(2 * np.pi * 100 * times), np.cos(2 * np.pi * 100 * times)  # orthogonal, alike in power
    for ratio_db in (-10.0, 0.0, 20.0):
        decoded = 3.0 * (signal + noise * 10 ** (-ratio_db / 20))
        assert si_sdr(signal, decoded) == pytest.approx(ratio_db, abs=1e-6)
    assert si_sdr(signal, 0.5 * signal) == 100.0
    assert si_sdr(signal, np.zeros(RATE)) <= 0.0


@pytest.mark.parametrize("focus", [0.0, 1.0])
def test_signed_error_is_relative(focus: float) -> None:
    target = torch.randn(2, 160, 50, generator=torch.Generator().manual_seed(0))
    assert signed_error(target, target, focus) == 0
    assert signed_error(torch.zeros_like(target), target, focus) == pytest.approx(1, abs=1e-5)
    assert signed_error(-target, target, focus) == pytest.approx(4, abs=1e-5)
    assert signed_error(torch.zeros(1, 4, 4), torch.zeros(1, 4, 4), focus) == 0


def test_focus_makes_strong_coefficients_count() -> None:
    target = torch.tensor([[[0.1, 0.8]]])
    weak_lost, strong_lost = torch.tensor([[[0.0, 0.8]]]), torch.tensor([[[0.1, 0.7]]])
    assert signed_error(weak_lost, target, 0.0) == pytest.approx(float(signed_error(strong_lost, target, 0.0)))
    assert signed_error(weak_lost, target, 1.0) < 0.3 * signed_error(strong_lost, target, 1.0)


def test_one_draw_has_its_plain_losses(clean: torch.Tensor) -> None:
    draw = noisy(clean, 0.01)
    assert energy_score(draw[None], clean, RATE) == spectral_losses(draw, clean, RATE)
    twice = energy_score(torch.stack([draw, draw]), clean, RATE)
    for found, expected in zip(twice, spectral_losses(draw, clean, RATE), strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("draws", [2, 3])
def test_the_energy_score_is_least_for_draws_that_are_distributed_as_the_target(draws: int) -> None:
    """White noise of one level, against draws of several: its mean, too little, as much, too much."""
    generator = torch.Generator().manual_seed(0)
    target = 0.1 * torch.randn(8, RATE, generator=generator)
    scores = {}
    for level in (0.0, 0.05, 0.1, 0.2):
        drawn = level * torch.randn(draws, 8, RATE, generator=generator)
        scores[level] = energy_score(drawn, target, RATE)
    for term in ("mel", "magnitude", "complex"):
        values = {level: float(getattr(score, term)) for level, score in scores.items()}
        assert min(values, key=lambda level: values[level]) == 0.1, term
    plain = {level: float(spectral_losses(torch.zeros_like(target), target, RATE).complex) for level in (0.0,)}
    assert float(scores[0.1].complex) < plain[0.0]


def test_the_energy_score_by_hand(clean: torch.Tensor) -> None:
    a, b = noisy(clean, 0.01), noisy(clean, 0.02)
    score = energy_score(torch.stack([a, b]), clean, RATE)
    apart, first, second = spectral_losses(a, b, RATE), spectral_losses(a, clean, RATE), spectral_losses(b, clean, RATE)
    for found, x, y, z in zip(score, first, second, apart, strict=True):
        torch.testing.assert_close(found, (x + y - z) / 2)


def test_the_relative_error_weighs_items_alike() -> None:
    generator = torch.Generator().manual_seed(0)
    target = torch.randn(2, 30, 40, generator=generator) * torch.tensor([1.0, 8.0])[:, None, None]
    assert relative_error(target, target) == 0
    torch.testing.assert_close(relative_error(torch.zeros_like(target), target), torch.tensor(1.0), atol=3e-3, rtol=0)
    half = torch.stack([target[0], torch.zeros_like(target[1])])
    torch.testing.assert_close(relative_error(half, target), torch.tensor(0.5), atol=3e-3, rtol=0)
    assert relative_error(torch.zeros(1, 30, 40), torch.zeros(1, 30, 40)) == 0


@pytest.mark.parametrize("focus", [0.0, 1.0, 2.0, 3.0])
def test_the_focus_is_the_exponent_of_the_weight(focus: float) -> None:
    """An error of 0.1 at a coefficient of 1, and one of 0.3 at a coefficient of 0.2: by hand."""
    target = torch.tensor([[[1.0, 0.2]]])
    error = signed_error(target + torch.tensor([[[0.1, -0.3]]]), target, focus)
    strong, weak = 1.05**focus, 0.25**focus
    expected = (strong * 0.01 + weak * 0.09) / (strong * 1.0 + weak * 0.04)
    assert float(error) == pytest.approx(expected, rel=1e-4)
