"""Streams from waveforms to `Candidates`, and to codes of which each frame has as many as its bits are worth."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from vqcodec.models.autoencoder import Autoencoder
from vqcodec.models.layers import Stream

from ..stream import StreamEncoder
from .candidates import Candidates


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
