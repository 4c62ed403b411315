"""Waveforms [sample] -> 16-bit files at the rate that a program wants, and back to the length they had."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vqcodec import audio
from vqcodec.errors import AudioError

Signal = NDArray[np.float32]

_MISSING_S = 0.1


def checked(signal: Signal) -> Signal:
    """The signal itself.

    Raises:
        AudioError: it is not of the shape [sample], or empty, or holds NaN or infinity.
    """
    if signal.ndim != 1 or not len(signal):
        raise AudioError(f"a waveform to be coded has the shape [sample] and some samples, not {list(signal.shape)}")
    finite = np.isfinite(signal)
    if not finite.all():
        raise AudioError(f"sample {int(np.argmin(finite))} of the waveform is NaN or infinite")
    return signal


def resample(signal: Signal, source_rate: int, target_rate: int) -> Signal:
    """Change the rate of [sample], without delay; the new length is the exact one, rounded up.

    Raises:
        AudioError: as `checked`.
    """
    resampled: Signal = audio.resample(checked(signal)[None].astype(np.float32), source_rate, target_rate)[0]
    return resampled


def padded(signal: Signal, silence: int, multiple: int = 1) -> Signal:
    """Append `silence` zeros, and further ones up to a multiple of this many samples."""
    length = len(signal) + silence
    return np.pad(signal, (0, silence + -length % multiple))


def fitted(decoded: Signal, delay: int, decoder_rate: int, sample_rate: int, length: int) -> Signal:
    """Cut the output of a decoder to [length] at `sample_rate`, without its delay.

    Args:
        decoded: [sample] at `decoder_rate`.
        delay: samples at `decoder_rate` by which it lags behind the input.
        decoder_rate, sample_rate: of the decoder and of the result, in Hz.
        length: of the result. A few samples that are missing at the end become zeros.

    Raises:
        AudioError: so much is missing that the decoder must have failed.
    """
    if len(decoded) <= delay:
        decoded = np.zeros(delay + 1, np.float32)
    signal = resample(decoded[delay:], decoder_rate, sample_rate)[:length]
    missing = length - len(signal)
    if missing > _MISSING_S * sample_rate:
        raise AudioError(f"the decoder returned {len(signal)} of {length} samples")
    return np.pad(signal, (0, missing))


def write(path: Path, signal: Signal, sample_rate: int) -> None:
    """Write [sample] to a 16-bit WAV file; what lies beyond [-1, 1] is clipped."""
    audio.write(path, signal[None], sample_rate)


def read(path: Path) -> Signal:
    """Read the only channel of a sound file, [sample] at its own rate."""
    signal: Signal = audio.read(path)[0][0]
    return signal
