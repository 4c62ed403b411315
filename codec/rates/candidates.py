"""What each frame costs and loses with any number of stages, to choose a bitrate that varies. Needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..payloads.plain import ABSENT


@dataclass(frozen=True, eq=False)
class Candidates:
    """Codes of frames for every number of stages that each might get, an "ending"; endings are 0, 1, ... stages."""

    codes: NDArray[np.uint16]
    """Codes [channel, ending, stage, frame], 0 beyond the ending"""
    errors: NDArray[np.float32]
    """Squared errors of the latents, weighed by how well they are heard [channel, ending, frame]"""

    @property
    def frames(self) -> int:
        """Number of frames."""
        return int(self.errors.shape[-1])

    def counts(self, price: float, bits: NDArray[np.float64]) -> NDArray[np.int64]:
        """Choose the number of stages of each frame: that of the least error plus price, the lowest on a tie.

        Args:
            price: of a bit.
            bits: that each number of stages takes [ending].

        Returns:
            [channel, frame].
        """
        prices = (price * bits).astype(np.float32)[:, None]
        counts: NDArray[np.int64] = (self.errors + prices).argmin(axis=1)
        return counts

    def chosen(self, counts: NDArray[np.int64]) -> NDArray[np.int64]:
        """Select codes [channel, stage, frame], `ABSENT` beyond the stages that each frame gets [channel, frame]."""
        codes = np.take_along_axis(self.codes, counts[:, None, None], axis=1)[:, 0]
        sent = np.arange(codes.shape[1])[:, None] < counts[:, None]
        return np.where(sent, codes.astype(np.int64), ABSENT)

    def part(self, frames: slice) -> Candidates:
        """Select some of the frames."""
        return Candidates(self.codes[..., frames], self.errors[..., frames])

    @classmethod
    def joined(cls, parts: Sequence[Candidates]) -> Candidates:
        """Join parts that follow each other."""
        codes = np.concatenate([part.codes for part in parts], axis=-1)
        return cls(codes, np.concatenate([part.errors for part in parts], axis=-1))
