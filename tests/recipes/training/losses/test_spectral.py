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
    log_magnitude,
    log_mel,
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
