"""The perceptual losses: they order distortions as their models do, and are finite wherever training may lead."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.signal import butter, sosfilt

from synthetic import voice
from vqcodec.recipes.training.losses.perceptual import intelligibility_loss, loudness_loss, similarity_loss

RATE = 16_000
LOSSES = [intelligibility_loss, loudness_loss, similarity_loss]
SNRS_DB = (40, 30, 20, 10, 0)

Loss = Callable[[torch.Tensor, torch.Tensor, int], torch.Tensor]


def speech(rate: int = RATE, seconds: float = 2.0) -> torch.Tensor:
    return torch.stack([torch.from_numpy(voice(seconds, rate, seed=seed, pitch_hz=110 + 60 * seed)) for seed in (0, 1)])


def noisy(clean: torch.Tensor, snr_db: float) -> torch.Tensor:
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(3))
    return clean + noise * clean.square().mean().sqrt() * 10 ** (-snr_db / 20)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("rate", [8_000, 16_000, 24_000, 44_100])
def test_more_noise_is_worse_and_none_is_nothing(loss: Loss, rate: int) -> None:
    clean = speech(rate)
    values = [float(loss(noisy(clean, snr_db), clean, rate)) for snr_db in SNRS_DB]
    assert float(loss(clean, clean, rate)) < 1e-3 < values[-1]
    assert values == sorted(values)


@pytest.mark.parametrize("loss", [intelligibility_loss, loudness_loss])
def test_level_alone_is_forgiven(loss: Loss) -> None:
    clean = speech()
    assert loss(0.5 * clean, clean, RATE) < 0.1 * loss(noisy(clean, 10), clean, RATE)


def test_similarity_sees_the_level() -> None:
    assert similarity_loss(0.1 * speech(), speech(), RATE) > 0.05


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("seconds", [0.15, 0.25, 2.0])
def test_gradients_are_finite(loss: Loss, seconds: float) -> None:
    clean = speech(seconds=2.0)[:, : int(seconds * RATE)]
    silence = torch.zeros_like(clean)
    click = silence.clone()
    click[:, 1000] = 1.0
    for target in (clean, silence, click, 1e-5 * clean):
        for start in (silence, noisy(clean, 0), 100 * clean, target):
            output = start.clone().requires_grad_()
            value = loss(output, target, RATE)
            value.backward()
            assert value.isfinite() and output.grad is not None and output.grad.isfinite().all()


@pytest.mark.parametrize("loss", LOSSES)
def test_silence_counts_as_perfect_and_leaves_the_others_alone(loss: Loss) -> None:
    clean, silence = speech(), torch.zeros(2, 2 * RATE)
    alone = loss(noisy(clean, 10), clean, RATE)
    together = loss(noisy(torch.cat([clean, silence]), 10)[:4], torch.cat([clean, silence]), RATE)
    assert loss(noisy(clean, 10), silence, RATE) == 0
    assert 0 < together < alone


@pytest.mark.parametrize("loss", LOSSES)
def test_descent_repairs_a_distortion(loss: Loss) -> None:
    clean = speech(seconds=0.5)
    output = noisy(clean, 10).requires_grad_()
    before = float(loss(output.detach(), clean, RATE))
    optimizer = torch.optim.Adam([output], 1e-3)
    for _ in range(20):
        optimizer.zero_grad()
        loss(output, clean, RATE).backward()
        optimizer.step()
    assert float(loss(output.detach(), clean, RATE)) < 0.8 * before


def test_intelligibility_is_close_to_stoi() -> None:
    pytest.importorskip("pystoi", reason="needs the extra eval")
    from vqcodec.recipes.metrics import stoi

    clean = speech()[:1]
    for snr_db in SNRS_DB:
        lost = float(intelligibility_loss(noisy(clean, snr_db), clean, RATE))
        assert 1 - lost == pytest.approx(stoi(clean[0].numpy(), noisy(clean, snr_db)[0].numpy()), abs=0.05)


def test_loudness_follows_pesq() -> None:
    pytest.importorskip("pesq", reason="needs the extra eval")
    from vqcodec.recipes.metrics import pesq_wb

    clean = speech(seconds=4.0)[:1]
    pairs = [
        (
            float(loudness_loss(noisy(clean, snr_db), clean, RATE)),
            pesq_wb(clean[0].numpy(), noisy(clean, snr_db)[0].numpy()),
        )
        for snr_db in SNRS_DB
    ]
    losses, scores = np.array(pairs).T
    assert (np.diff(losses) > 0).all() and (np.diff(scores) < 0).all()
    raw = (3.8224 - np.log(4 / (scores - 0.999) - 1)) / 1.3669  # P.862.2 mapped back
    assert np.corrcoef(losses, 4.5 - raw)[0, 1] > 0.97


def modulated(gain_db: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Noise whose octave from 1 to 2 kHz is alternately louder and softer, and the noise itself: [1, sample] both."""
    noise = np.random.default_rng(0).normal(0, 0.1, 3 * RATE)
    octave = sosfilt(butter(6, [1000, 2000], "bandpass", fs=RATE, output="sos"), noise)
    sign = np.sign(np.sin(2 * np.pi * np.arange(len(noise)) / RATE))
    changed = noise + (10 ** (gain_db * sign / 20) - 1) * octave
    first, second = (torch.tensor(sound, dtype=torch.float32)[None] for sound in (changed, noise))
    return first, second


def test_a_difference_under_a_quarter_of_the_loudness_is_masked() -> None:
    """Loudness goes with power^0.23, so 2 dB are 11 % of it, within the dead zone, and 4 dB 24 %, at its edge."""
    assert loudness_loss(*modulated(2.0), RATE) < 1e-3
    assert 0.15 < loudness_loss(*modulated(4.0), RATE) < 0.3
