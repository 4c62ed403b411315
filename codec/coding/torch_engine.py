"""The networks of a model, computed by torch."""

from __future__ import annotations

from vqcodec.models.autoencoder import Autoencoder
from vqcodec.models.config import ModelConfig

from ..rates.encoders import CandidateEncoder
from ..stream import StreamDecoder, StreamEncoder


class TorchEngine:
    """Streams of a model that is in evaluation mode; see `Engine`."""

    def __init__(self, model: Autoencoder) -> None:
        self._model = model

    @property
    def config(self) -> ModelConfig:
        """The sizes of the model."""
        return self._model.config

    def encoder(self, channels: int, stages: int, effort: int) -> StreamEncoder:
        """Begin a stream to codes."""
        return StreamEncoder(self._model, channels, stages=stages, effort=effort)

    def candidates(self, channels: int, stages: int, effort: int) -> CandidateEncoder:
        """Begin a stream to the codes and errors of every number of stages."""
        return CandidateEncoder(self._model, channels, stages=stages, effort=effort)

    def decoder(self, channels: int, stages: int | None, block_frames: int, texture: float) -> StreamDecoder:
        """Begin a stream to waveforms."""
        return StreamDecoder(self._model, channels, stages=stages, block_frames=block_frames, texture=texture)
