"""Frames as they arrive, or do not -> waveform. The decoder's state runs on over every gap."""

from __future__ import annotations

from collections import deque

import numpy as np
import torch
from torch import Tensor

from vqcodec.models.layers import Stream

from ..audio.waveform import Waveform
from ..codec import Codec
from ..stream import soft_limit
from .jitter import Kind, Slot
from .payload import Codes

TRAINED_FRAMES = 10
"""The longest gap that decoders are trained with; after it there is background."""
FADE_FRAMES = 5
"""Frames in which the sound goes to silence where the decoder was not trained with gaps: 100 ms."""
_BACKGROUND_FRAMES = 12
"""Frames that the background is remembered by."""
_HANGOVER_FRAMES = 6
"""Frames before silence that are background already: the sender goes on for longer than that."""


class FrameDecoder:
    """Decodes one channel frame by frame.

    A missing frame is what the decoder learnt to put in its place, if it was trained with gaps. If not, the latent
    halfway between its neighbours where the next frame is there already, and otherwise the last one, on its way to
    silence. While nobody speaks, latents of the background follow each other at random.

    Args:
        codec: on the CPU or elsewhere.
        texture: as in `Codec.decoder`.
        seed: of the order in which latents of the background come.
    """

    def __init__(self, codec: Codec, *, texture: float = 1.0, seed: int = 0) -> None:
        self.hop_length = codec.config.hop_length
        self._model = codec.model
        self._device = codec.device
        self._texture = texture
        self._stream = Stream()
        self._random = np.random.default_rng(seed)
        self._last = self._silence = self._model.silence[None, :, None]
        self._recent: deque[Tensor] = deque(maxlen=_HANGOVER_FRAMES)
        self._background: deque[Tensor] = deque(maxlen=_BACKGROUND_FRAMES)
        self._missing = 0

    @torch.inference_mode()
    def push(self, slot: Slot) -> Waveform:
        """Return the samples of a frame's time [1, sample], `ModelConfig.delay` samples late in all."""
        latent = self._latent(slot)
        waveform = soft_limit(self._model.decoder(latent, self._stream, self._texture)[:, 0])
        played: Waveform = waveform.cpu().numpy()
        return played

    def _latent(self, slot: Slot) -> Tensor:
        """The latent of a frame [1, dim, 1]."""
        if slot.kind is Kind.LOST:
            return self._replaced(slot)
        self._missing = 0
        if slot.kind is Kind.SILENCE:
            self._last = self._noise()
            return self._last
        assert slot.codes is not None
        self._last = self._decoded(slot.codes)
        if slot.kind is Kind.NOISE:
            self._background.extend([*self._recent, self._last])
            self._recent.clear()
        elif slot.kind is Kind.SPEECH:
            self._recent.append(self._last)
        return self._last

    def _replaced(self, slot: Slot) -> Tensor:
        """What stands for a missing frame."""
        self._missing += 1
        if self._missing > TRAINED_FRAMES:
            self._last = self._noise()
        elif self._model.decoder.lost is not None:
            return self._model.decoder.lost[None, :, None].to(self._last.dtype)
        elif slot.following is not None:
            self._last = (self._last + self._decoded(slot.following)) / 2
        else:
            left = max(0, FADE_FRAMES - self._missing) / max(1, FADE_FRAMES - self._missing + 1)
            self._last = left * self._last + (1 - left) * self._silence
        return self._last

    def _noise(self) -> Tensor:
        if not self._background:
            return self._silence
        return self._background[int(self._random.integers(len(self._background)))]

    def _decoded(self, codes: Codes) -> Tensor:
        return self._model.quantizer.decode(torch.from_numpy(codes).to(self._device)[None, :, None])
