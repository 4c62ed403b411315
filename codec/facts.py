"""What a codec says of its model."""

from __future__ import annotations

from vqcodec.models.autoencoder import Autoencoder
from vqcodec.models.config import ModelConfig


class ModelFacts:
    """Sizes and bitrates of a model, as properties of what works with it."""

    model: Autoencoder

    @property
    def config(self) -> ModelConfig:
        """The sizes of the model."""
        return self.model.config

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.config.name

    @property
    def sample_rate(self) -> int:
        """Samples a second that the model works at, in Hz."""
        return self.config.sample_rate

    @property
    def frame_rate(self) -> float:
        """Frames a second."""
        return self.config.frame_rate

    @property
    def hop_length(self) -> int:
        """Samples per frame."""
        return self.config.hop_length

    @property
    def num_stages(self) -> int:
        """Codes per frame at the highest bitrate (of no meaning for a model without codes)."""
        return self.config.num_stages

    @property
    def codebook_size(self) -> int:
        """Number of values that a code can take."""
        return self.config.codebook_size

    @property
    def bitrates(self) -> tuple[int, ...]:
        """Bits a second and channel of the codes with each possible number of stages, in ascending order."""
        return self.config.bitrates_bps

    @property
    def latency(self) -> float:
        """Algorithmic latency of a live stream (`block_frames` = 1) in seconds."""
        return self.config.latency_s

    def stages_for(self, bitrate_bps: float) -> int:
        """The number of stages whose bitrate is nearest.

        Raises:
            ConfigError: the bitrate is not a positive number, or the model has no codes.
        """
        return self.config.stages_for(bitrate_bps)
