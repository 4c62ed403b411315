"""A score of thin lines in the spectrum that do not move: whistles, which a decoder may keep up through all it says."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vqcodec.errors import AudioError

from .texture import HIGH_HZ, LOW_HZ
from .waveforms import RATE, Waveform, refuse_short, resampled_pair

WINDOW, HOP = 1024, 256
SIDE = 24
"""Bins on either side, 375 Hz, above whose median a line stands."""
NEAR = 2
"""Bins by which a line of the reference may be off."""
FLOOR = 1e-12
"""Floor of the power of a bin, over the strongest of the waveform."""


def whistle_db(reference: Waveform, decoded: Waveform, sample_rate: int = RATE) -> float:
    """Whistle: how far the clearest steady line stands out, in dB over the reference; lower is better, at 16 kHz.

    The median over time of the power in every bin (64 ms Hann windows, 16 ms apart), in dB above the median of its
    surroundings (375 Hz on either side), less what the reference has there; the largest from 1.5 to 7.5 kHz. Pitch
    moves, and so does not count. No published measure. Insensitive to level. Identical waveforms: 0; Opus stays under
    6 dB or so.

    Raises:
        AudioError: one waveform is silent; under 64 ms.
    """
    x, y = resampled_pair(reference, decoded, sample_rate, RATE)
    refuse_short("the whistle", x, WINDOW)
    if not (x.any() and y.any()):
        raise AudioError("the whistle is undefined: there is nothing to compare, as one waveform is silent")
    before, now = _lines(x), _lines(y)
    allowed = np.lib.stride_tricks.sliding_window_view(np.pad(before, NEAR, mode="edge"), 2 * NEAR + 1).max(axis=1)
    first, last = (hz * WINDOW // RATE for hz in (LOW_HZ, HIGH_HZ))
    return float((now - allowed)[first:last].max())


def _lines(waveform: NDArray[np.float32]) -> NDArray[np.float64]:
    """Steady power of every bin in dB above its surroundings [bin]."""
    windows = np.lib.stride_tricks.sliding_window_view(waveform, WINDOW)[::HOP]
    power = np.abs(np.fft.rfft(windows * np.hanning(WINDOW + 1)[:-1])) ** 2
    steady = 10 * np.log10(np.median(power, axis=0) + FLOOR * power.max())
    around = np.lib.stride_tricks.sliding_window_view(np.pad(steady, SIDE, mode="edge"), 2 * SIDE + 1)
    lines: NDArray[np.float64] = steady - np.median(around, axis=1)
    return lines
