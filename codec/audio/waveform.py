"""Waveforms as arrays: their shape, and their rounding to whole numbers."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..errors import AudioError

Waveform: TypeAlias = NDArray[np.float32]
"""`[channel, sample]`, float32 in [-1, 1]."""

Pcm: TypeAlias = NDArray[np.int16]
"""Samples of 16 bits: -32768 stands for -1."""


def checked(waveform: Waveform, channels: int | None = None) -> Waveform:
    """Return a waveform as it is, or raise AudioError if it has another shape than `[channels, sample]`."""
    if waveform.ndim != 2 or channels not in (None, waveform.shape[0]):
        wanted = f"[{channels or 'channel'}, sample]"
        raise AudioError(f"a waveform must have the shape {wanted}; this one has {list(waveform.shape)}")
    return waveform


def quantized(values: NDArray[np.floating], bits: int) -> NDArray[np.int32]:
    """Round values in [-1, 1] to whole numbers of so many bits, which reading gives back unchanged; same shape.

    Full scale is 2^(bits - 1), as libsndfile has it where it reads: so a value that came from that many bits becomes
    the number that it was. A value of 1, which has no number of its own, becomes the highest that there is.
    """
    top = float(1 << (bits - 1))
    levels: NDArray[np.int32] = np.clip(np.rint(values * np.float32(top)), -top, top - 1).astype(np.int32)
    return levels


def to_pcm(values: NDArray[np.floating]) -> Pcm:
    """Round values in [-1, 1] to 16 bits; same shape."""
    return quantized(values, 16).astype(np.int16)


def from_pcm(pcm: Pcm) -> NDArray[np.float32]:
    """Turn samples of 16 bits into float32 in [-1, 1]; same shape."""
    return pcm.astype(np.float32) / np.float32(1 << 15)
