"""What each frame costs and loses with any number of stages, from which a bitrate that varies is chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vqcodec.models.autoencoder import Autoencoder
from vqcodec.models.layers import Stream

from ..payloads.plain import ABSENT
from ..stream import StreamEncoder


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


class CandidateEncoder(StreamEncoder):
    """Waveform -> `Candidates`, block by block; otherwise as `StreamEncoder`.

    Raises:
        ConfigError: as `StreamEncoder`, or all frames of the model's codes have the same number of stages.
    """

    def _result(self, computed: tuple[Tensor, ...]) -> Any:
        codes, errors = computed
        return Candidates(codes.cpu().numpy().astype(np.uint16), errors.cpu().numpy())

    def _nothing(self) -> tuple[Tensor, ...]:
        stages = self.most_stages
        codes = torch.zeros(self.channels, stages + 1, stages, 0, dtype=torch.int64)
        return codes, torch.zeros(self.channels, stages + 1, 0)

    def _compute(self, x: Tensor, stream: Stream) -> tuple[Tensor, ...]:
        waveform = x.unsqueeze(1)
        latents = self.model.encoder(waveform, stream)
        weights = self.model.audibility(waveform, stream)  # [channel, frame]
        codes, errors = self.model.quantizer.encode_endings(latents, self.model.silence, self.stages, self.effort)
        return codes.movedim(1, -1), (errors * weights[..., None]).mT


class VaryingEncoder(CandidateEncoder):
    """Waveform -> codes at a fixed price of a bit, block by block, looking no further ahead than the codec does.

    Args:
        model, channels, stages, effort, block_frames: as in `StreamEncoder`; `stages` is the most of any frame.
        price: of a bit, in squared error of the latents.

    `push` and `flush` return codes [channel, stage, frame], `ABSENT` in the last stages of frames that have fewer.
    """

    def __init__(self, model: Autoencoder, channels: int = 1, *, price: float, **settings: Any) -> None:
        super().__init__(model, channels, **settings)
        self._price = price

    def _result(self, computed: tuple[Tensor, ...]) -> Any:
        candidates = super()._result(computed)
        bits = self.config.bits_per_code * np.arange(self.most_stages + 1.0)
        codes = torch.from_numpy(candidates.chosen(candidates.counts(self._price, bits)))
        return self._like_input(codes)
