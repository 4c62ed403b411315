"""Whether somebody speaks: the level of a block against that of the background, which is followed all the time."""

from __future__ import annotations

import math
from collections import deque

from ..audio.waveform import Waveform

SILENT_DB = -60.0
"""Level in dBFS below which nothing counts as speech."""
ABOVE_BACKGROUND_DB = 9.0
"""How far speech stands out of the background."""
HANGOVER_S = 0.3
"""How long sound still counts as speech after the last loud block: ends of words are soft."""
_BACKGROUND_S = 4.0
"""The background is the softest stretch of so many seconds."""
_STRETCH_S = 0.1
_LOWEST_DB = -100.0


class ActivityDetector:
    """Tells speech from background, block by block.

    The background's level is the least mean level of 0.1 s within the last 4 s (minimum statistics, after Martin
    2001, "Noise power spectral density estimation based on optimal smoothing and minimum statistics", without the
    smoothing): whoever speaks for longer than that without a pause is still well above the softest of it.

    Args:
        block_s: length of a block in seconds.
    """

    def __init__(self, block_s: float) -> None:
        stretch = max(1, round(_STRETCH_S / block_s))
        self._recent: deque[float] = deque(maxlen=stretch)
        self._softest: deque[float] = deque(maxlen=max(1, round(_BACKGROUND_S / block_s)))
        self._hangover = max(1, round(HANGOVER_S / block_s))
        self._left = self._hangover
        self.level_db = _LOWEST_DB
        """Of the last block, in dBFS."""

    def push(self, block: Waveform) -> bool:
        """Take a block [channel, sample], and tell whether speech goes on."""
        power = float((block.astype("float64") ** 2).mean()) if block.size else 0.0
        self.level_db = max(_LOWEST_DB, 10 * math.log10(power + 1e-12))
        self._recent.append(power)
        self._softest.append(sum(self._recent) / len(self._recent))
        background_db = 10 * math.log10(min(self._softest) + 1e-12)
        if self.level_db > max(SILENT_DB, background_db + ABOVE_BACKGROUND_DB):
            self._left = self._hangover
        else:
            self._left = max(0, self._left - 1)
        return self._left > 0
