"""What computes the networks of a model, as far as coding sounds and files needs to know. Imports no torch."""

from __future__ import annotations

from typing import Any, Protocol

from vqcodec.models.config import ModelConfig

BLOCK_FRAMES = 200
"""Frames that are computed at once by default: fast, and still small in memory."""


class FrameStream(Protocol):
    """A running signal, as `StreamEncoder`, `CandidateEncoder` and `StreamDecoder` describe it."""

    config: ModelConfig
    channels: int
    block_frames: int

    def push(self, x: Any) -> Any:
        """Take the next of what goes in, [channel, ...], and return what it completes."""

    def flush(self) -> Any:
        """Return the rest, after which the signal is over."""


class FrameDecoder(FrameStream, Protocol):
    """Codes -> waveform."""

    num_samples: int | None
    """Length of the sound at the codec's rate, if it is known."""


class Engine(Protocol):
    """The networks of a model."""

    @property
    def config(self) -> ModelConfig:
        """The sizes of the model."""

    def encoder(self, channels: int, stages: int, effort: int) -> FrameStream:
        """Waveforms -> codes of so many stages, as `StreamEncoder`."""

    def candidates(self, channels: int, stages: int, effort: int) -> FrameStream:
        """Waveforms -> codes and errors of every number of stages up to this one, as `CandidateEncoder`."""

    def decoder(self, channels: int, stages: int | None, block_frames: int, texture: float) -> FrameDecoder:
        """Codes -> waveforms, as `StreamDecoder`."""
