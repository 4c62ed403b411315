"""Pure reconstruction losses between waveforms, lower is better. The adversarial ones belong beside the discriminators.

Magnitudes are those of an unnormalised Hann STFT of a waveform in [-1, 1]. All of them are floored at
`FLOOR`, without which the quietest, inaudible bins own the gradient.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import torch
from torch import Tensor

FLOOR = 0.1
POWER = 0.3
MEL_BINS = {64: 8, 128: 16, 256: 32, 512: 48, 1024: 64, 2048: 80}
"""Mel bands for each window of the log-mel loss, in samples."""
COMPLEX_WINDOWS = (256, 512, 1024)
"""Windows of the compressed complex loss, in samples."""
MAGNITUDE_WINDOWS = (512, 1024)
"""Windows of the log-magnitude loss, in samples: narrow enough bands to see every MDCT coefficient."""

FOCUS_FLOOR = 0.05
"""Added to a compressed MDCT magnitude before it becomes a weight."""


def signed_error(coefficients: Tensor, target: Tensor, focus: float) -> Tensor:
    """Squared error of compressed, signed MDCT coefficients over their energy, so 1 for silence []. Both of one shape.

    Args:
        coefficients: of the output.
        target: of the input.
        focus: how much strong coefficients count more than weak ones: the weight is |target|^focus, floored. With 0
            the quantizer spends as many bits on the signs of faint noise as on the voice.
    """
    weight = (target.abs() + FOCUS_FLOOR).pow(focus)
    return (weight * (coefficients - target).square()).sum() / ((weight * target.square()).sum() + 1e-6)


class SpectralLosses(NamedTuple):
    """Means over everything, all []."""

    mel: Tensor
    """L1 distance of floored log-mel spectra, mean over the windows."""
    magnitude: Tensor
    """L1 distance of floored log magnitudes, bin by bin, mean over the windows."""
    complex: Tensor
    """L1 distance of power-compressed complex STFTs, phase kept, mean over the windows."""


def spectral_losses(output: Tensor, target: Tensor, sample_rate: int) -> SpectralLosses:
    """The spectral losses of [batch, sample] against [batch, sample], sharing their transforms."""
    mel, magnitude, phase = [], [], []
    for window in MEL_BINS:
        a, b = stft(output, window), stft(target, window)
        mel.append((log_mel(a, window, sample_rate) - log_mel(b, window, sample_rate)).abs().mean())
        if window in MAGNITUDE_WINDOWS:
            magnitude.append((log_magnitude(a) - log_magnitude(b)).abs().mean())
        if window in COMPLEX_WINDOWS:
            phase.append((compress_complex(a) - compress_complex(b)).abs().mean())
    return SpectralLosses(*(torch.stack(terms).mean() for terms in (mel, magnitude, phase)))


def stft(waveform: Tensor, window: int) -> Tensor:
    """[batch, sample] -> real and imaginary parts [batch, bin, frame, 2]; hop a quarter of the window."""
    hann = _hann(window, waveform.device)
    spectrum = torch.stft(waveform, window, window // 4, window=hann, center=False, return_complex=True)
    return torch.view_as_real(spectrum)


def log_mel(spectrum: Tensor, window: int, sample_rate: int) -> Tensor:
    """log(FLOOR + mel magnitude) of an `stft`: [batch, bin, frame, 2] -> [batch, band, frame]."""
    filters = _mel_filters(window, sample_rate, spectrum.device)
    return (FLOOR + filters @ magnitude_of(spectrum)).log()


def log_magnitude(spectrum: Tensor) -> Tensor:
    """log(FLOOR + magnitude) of an `stft`: [batch, bin, frame, 2] -> [batch, bin, frame]."""
    return (FLOOR + magnitude_of(spectrum)).log()


def compress_complex(spectrum: Tensor) -> Tensor:
    """Power law on the magnitude, phase kept: z (|z| + FLOOR)^(POWER - 1), shape as given."""
    return spectrum * (magnitude_of(spectrum) + FLOOR).pow(POWER - 1).unsqueeze(-1)


def magnitude_of(spectrum: Tensor) -> Tensor:
    """[..., 2] -> [...], with a finite gradient at 0."""
    return (spectrum.square().sum(-1) + 1e-8).sqrt()


@functools.cache
def _hann(window: int, device: torch.device) -> Tensor:
    return torch.hann_window(window, device=device)


@functools.cache
def _mel_filters(window: int, sample_rate: int, device: torch.device) -> Tensor:
    """Triangles with a sum of 1 over each band [band, bin]."""
    import librosa

    filters = torch.from_numpy(
        librosa.filters.mel(sr=sample_rate, n_fft=window, n_mels=MEL_BINS[window], norm=None, fmin=0.0)
    )
    return (filters / filters.sum(1, keepdim=True).clamp_min(1e-6)).to(device)
