"""The waveforms that scores compare: their checks, and resampling to the rate of a score."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from vqcodec import audio
from vqcodec.errors import AudioError

Waveform = NDArray[np.floating]

RATE = 16_000
"""The rate in Hz of every score but SI-SDR, STOI (10 kHz) and PESQ-NB (8 kHz)."""
LOWEST_RATE = 8000


def check(reference: Waveform, decoded: Waveform, sample_rate: int) -> None:
    for name, waveform in (("reference", reference), ("decoded", decoded)):
        if waveform.ndim != 1 or waveform.size == 0:
            raise AudioError(f"the {name} waveform must have the shape [sample], not {list(waveform.shape)}")
        if not np.isfinite(waveform).all():
            raise AudioError(f"the {name} waveform holds NaN or infinity")
    if len(reference) != len(decoded):
        raise AudioError(f"the waveforms must be equally long, not {len(reference)} and {len(decoded)} samples")
    if sample_rate < LOWEST_RATE:
        raise AudioError(f"scores need at least {LOWEST_RATE} Hz, not {sample_rate}")


def resampled_pair(
    reference: Waveform, decoded: Waveform, sample_rate: int, target_rate: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Both waveforms [sample], checked, and resampled to the target rate."""
    check(reference, decoded, sample_rate)
    return _resampled(reference, sample_rate, target_rate), _resampled(decoded, sample_rate, target_rate)


def _resampled(waveform: Waveform, source_rate: int, target_rate: int) -> NDArray[np.float32]:
    block = np.asarray(waveform, np.float32)[None]  # [channel, sample]
    resampled: NDArray[np.float32] = audio.resample(block, source_rate, target_rate)[0]
    return resampled


def refuse_silence(score: str, name: str, waveform: Waveform) -> None:
    if not waveform.any():
        raise AudioError(f"{score} is undefined: the {name} waveform is silent")


def refuse_short(score: str, waveform: Waveform, samples: int) -> None:
    if len(waveform) < samples:
        raise AudioError(f"{score} needs at least {samples / RATE:.3f} s, not {len(waveform) / RATE:.3f} s")


def finite(score: str, value: float) -> float:
    if not math.isfinite(value):
        raise AudioError(f"{score} is undefined for these waveforms")
    return float(value)
