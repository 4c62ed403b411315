"""Pure reconstruction losses between waveforms, lower is better. The adversarial ones belong beside the discriminators.

Magnitudes are those of an unnormalised Hann STFT of a waveform in [-1, 1]. All of them are floored at
`FLOOR`, without which the quietest, inaudible bins own the gradient.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import torch
from torch import Tensor

FLOOR = 0.1
POWER = 0.3
MEL_BINS = {64: 8, 128: 16, 256: 32, 512: 48, 1024: 64, 2048: 80}
"""Mel bands for each window of the log-mel loss, in samples at 16 kHz; see `windows`."""
COMPLEX_WINDOWS = (256, 512, 1024)
"""Windows of the compressed complex loss, in samples at 16 kHz."""
MAGNITUDE_WINDOWS = (512, 1024)
"""Windows of the log-magnitude loss, in samples at 16 kHz: narrow enough bands to see every MDCT coefficient."""

FOCUS_FLOOR = 0.05
"""Added to a compressed MDCT magnitude before it becomes a weight."""


def signed_error(coefficients: Tensor, target: Tensor, focus: float, energy: Tensor | None = None) -> Tensor:
    """Squared error of compressed, signed MDCT coefficients over their energy, so 1 for silence []. Both of one shape.

    Args:
        coefficients: of the output.
        target: of the input.
        focus: how much strong coefficients count more than weak ones: the weight is |target|^focus, floored. With 0
            the quantizer spends as many bits on the signs of faint noise as on the voice.
        energy: what the error is divided by, if not the energy of this target: its mean over the parts of a batch.
    """
    if energy is None:
        energy = signed_energy(target, focus)
    return (_emphasis(target, focus) * (coefficients - target).square()).sum() / (energy + 1e-6)


def signed_energy(target: Tensor, focus: float) -> Tensor:
    """Normalisation of `signed_error`: the weighted energy of the coefficients []."""
    return (_emphasis(target, focus) * target.square()).sum()


def relative_error(coefficients: Tensor, target: Tensor) -> Tensor:
    """Squared error over the energy of the target [], mean over items, 1 for silence; [item, coefficient, frame]."""
    energy = target.square().mean((1, 2)) + FOCUS_FLOOR**2
    return ((coefficients - target).square().mean((1, 2)) / energy).mean()


def _emphasis(target: Tensor, focus: float) -> Tensor:
    return (target.abs() + FOCUS_FLOOR).pow(focus)


class SpectralLosses(NamedTuple):
    """Means over everything, all []."""

    mel: Tensor
    """L1 distance of floored log-mel spectra, mean over the windows."""
    magnitude: Tensor
    """L1 distance of floored log magnitudes, bin by bin, mean over the windows."""
    complex: Tensor
    """L1 distance of power-compressed complex STFTs, phase kept, mean over the windows."""


class SpectralFeatures(NamedTuple):
    """Features of the spectral losses, a tensor [..., bin, frame] for each window (two of them for `complex`)."""

    mel: list[Tensor]
    magnitude: list[Tensor]
    complex: list[Tensor]


class Spectrum(NamedTuple):
    """A short-time Fourier transform in parts; the magnitude has a finite gradient at 0. All [batch, bin, frame]."""

    real: Tensor
    imag: Tensor
    magnitude: Tensor


def spectral_losses(output: Tensor, target: Tensor, sample_rate: int) -> SpectralLosses:
    """The spectral losses of [batch, sample] against [batch, sample]."""
    return energy_score(output[None], target, sample_rate)


def energy_score(draws: Tensor, target: Tensor, sample_rate: int) -> SpectralLosses:
    """The spectral losses of draws, less half of what they are from one another: the energy score.

    It is least, in the mean, when the draws are distributed as the target is; a single draw has its plain losses.
    After Gneiting and Raftery 2007, "Strictly Proper Scoring Rules, Prediction, and Estimation", section 4.3, and for
    speech Gritsenko et al. 2020, "A Spectral Energy Distance for Parallel Speech Synthesis".

    Args:
        draws: waveforms [draw, batch, sample].
        target: [batch, sample].
        sample_rate: in Hz.
    """
    count = len(draws)
    drawn = spectral_features(draws.flatten(0, 1), sample_rate)
    wanted = spectral_features(target, sample_rate)
    scores = []
    for of_draws, of_target in zip(drawn, wanted, strict=True):
        pairs = zip(of_draws, of_target, strict=True)
        scores.append(torch.stack([_score(x.reshape(count, -1, *x.shape[1:]), y) for x, y in pairs]).mean())
    return SpectralLosses(*scores)


def _score(draws: Tensor, target: Tensor) -> Tensor:
    """Energy score of draws [draw, ...] of one feature against its target [...], in the L1 distance []."""
    error = _distance(draws, target)
    count = len(draws)
    if count == 1:
        return error
    apart = [_distance(draws[i], draws[j]) for i in range(count) for j in range(i)]
    return error - 0.5 * torch.stack(apart).mean()


def spectral_features(waveform: Tensor, sample_rate: int) -> SpectralFeatures:
    """The features of [batch, sample] that the losses compare, from one transform for each window."""
    found = SpectralFeatures([], [], [])
    for at_16k, window in windows(sample_rate).items():
        spectrum = stft(waveform, window)
        found.mel.append(log_mel(spectrum, window, sample_rate))
        if at_16k not in COMPLEX_WINDOWS and at_16k not in MAGNITUDE_WINDOWS:
            continue
        logs = log_magnitude(spectrum)
        if at_16k in MAGNITUDE_WINDOWS:
            found.magnitude.append(logs)
        if at_16k in COMPLEX_WINDOWS:
            found.complex.extend(compress_complex(spectrum, logs))
    return found


@functools.cache
def windows(sample_rate: int) -> dict[int, int]:
    """Windows at a sample rate that last about as long as those at 16 kHz, by the latter; both in samples.

    Of the factors 1, 1.5, 2, 3, 4, 6, ... the nearest is taken, so that transforms stay quick.
    """
    factors = [0.5**halvings * part for halvings in range(-8, 9) for part in (1.0, 1.5)]
    factor = min(factors, key=lambda factor: abs(math.log(factor * 16_000 / sample_rate)))
    return {window: round(window * factor) for window in MEL_BINS}


def stft(waveform: Tensor, window: int, hop: int | None = None) -> Spectrum:
    """Unnormalised, with a Hann window: [batch, sample] -> [batch, bin, frame]; the hop is a quarter of the window."""
    hann = _hann(window, waveform.device)
    spectrum = torch.stft(waveform, window, hop or window // 4, window=hann, center=False, return_complex=True)
    real, imag = (part.contiguous() for part in torch.view_as_real(spectrum).unbind(-1))  # twice as fast apart
    return Spectrum(real, imag, (real * real + imag * imag + 1e-8).sqrt())


def log_mel(spectrum: Spectrum, window: int, sample_rate: int) -> Tensor:
    """log(FLOOR + mel magnitude) of an `stft` -> [batch, band, frame]."""
    filters = _mel_filters(window, sample_rate, spectrum.magnitude.device)
    return (FLOOR + filters @ spectrum.magnitude).log()


def log_magnitude(spectrum: Spectrum) -> Tensor:
    """log(FLOOR + magnitude) of an `stft` -> [batch, bin, frame]."""
    return (FLOOR + spectrum.magnitude).log()


def compress_complex(spectrum: Spectrum, log_magnitude: Tensor) -> tuple[Tensor, Tensor]:
    """Power law on the magnitude, phase kept: z (|z| + FLOOR)^(POWER - 1), real and imaginary [batch, bin, frame].

    Args:
        spectrum: z.
        log_magnitude: log(|z| + FLOOR), which the caller has at hand.
    """
    factor = ((POWER - 1) * log_magnitude).exp()
    return spectrum.real * factor, spectrum.imag * factor


def _distance(a: Tensor, b: Tensor) -> Tensor:
    return (a - b).abs().mean()


@functools.cache
def _hann(window: int, device: torch.device) -> Tensor:
    return torch.hann_window(window, device=device)


@functools.cache
def _mel_filters(window: int, sample_rate: int, device: torch.device) -> Tensor:
    """Triangles with a sum of 1 over each band [band, bin]."""
    import librosa

    bands = next(MEL_BINS[at_16k] for at_16k, scaled in windows(sample_rate).items() if scaled == window)
    filters = torch.from_numpy(librosa.filters.mel(sr=sample_rate, n_fft=window, n_mels=bands, norm=None, fmin=0.0))
    return (filters / filters.sum(1, keepdim=True).clamp_min(1e-6)).to(device)
