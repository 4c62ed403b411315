"""The numbers of stages of frames <-> bytes, without a model: each number is expected to be like the one before.

How often which number followed which is learnt on the way, by both sides alike. All arithmetic is in whole numbers.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from . import range_coder

_TOTAL_BITS = 16
_PRIOR = 24
"""Weight of a number to follow itself before anything is known; half as much for neighbours, a third for the next."""
_STEP = 24
"""Weight of having seen it once."""
_MOST = 1 << 13
"""Sum of the weights from which on all are halved: what was long ago counts less, and none comes to have no share."""


class _Followers:
    """How often which number followed which."""

    def __init__(self, stages: int) -> None:
        numbers = range(stages + 1)
        self._weights = [[1 + _PRIOR // (1 + abs(before - number)) for number in numbers] for before in numbers]

    def interval(self, before: int, number: int) -> tuple[int, int]:
        """First share and number of shares, out of 2^16, that a number has after another one."""
        weights = self._weights[before]
        total, below = sum(weights), sum(weights[:number])
        first = (below << _TOTAL_BITS) // total
        return first, ((below + weights[number]) << _TOTAL_BITS) // total - first

    def number_at(self, before: int, share: int) -> int:
        """The number that a share belongs to."""
        number = 0
        while sum(self.interval(before, number)) <= share:
            number += 1
        return number

    def see(self, before: int, number: int) -> None:
        """Learn that one number followed another."""
        weights = self._weights[before]
        weights[number] += _STEP
        if sum(weights) > _MOST:
            weights[:] = [(weight + 1) // 2 for weight in weights]


def encode(counts: NDArray[np.int64], stages: int) -> bytes:
    """Numbers of stages, each from 0 to `stages` [channel, frame] -> bytes."""
    followers, symbols = _Followers(stages), []
    for row in counts.tolist():
        before = stages
        for number in row:
            symbols.append(followers.interval(before, number))
            followers.see(before, number)
            before = number
    return range_coder.encode(reversed(symbols))


def decode(data: bytes, channels: int, frames: int, stages: int) -> NDArray[np.int64]:
    """Bytes -> numbers of stages [channel, frame].

    Raises:
        CorruptFile: they are not what `encode` writes.
    """
    followers, decoder = _Followers(stages), range_coder.Decoder([data])
    only = np.zeros(1, np.int64)
    counts = np.zeros((channels, frames), np.int64)
    for row in counts:
        before = stages
        for frame in range(frames):
            number = followers.number_at(before, int(decoder.shares(only)[0]))
            first, shares = followers.interval(before, number)
            decoder.advance(only, np.array([first]), np.array([shares]))
            followers.see(before, number)
            row[frame] = before = number
    decoder.finish()
    return counts
