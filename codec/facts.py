"""What a codec says of its model. Imports no torch."""

from __future__ import annotations

from vqcodec.models import registry
from vqcodec.models.config import ModelConfig

from . import bitstream
from .payloads.plain import PLAIN


class ModelFacts:
    """Sizes and bitrates of a model, as properties of what works with it."""

    fingerprint: str
    """SHA-256 of what decoding depends on, as 64 hexadecimal digits; a `.vq` file holds the first 16."""

    def __repr__(self) -> str:
        rates = " to ".join(f"{bps / 1000:g}" for bps in sorted({*self.bitrates[:1], *self.bitrates[-1:]}))
        codes = f"{rates} kbit/s" if rates else "no codes"
        return f"<{type(self).__name__} {self.name}: {self.sample_rate} Hz, {codes}{self._where()}>"

    @property
    def config(self) -> ModelConfig:
        """The sizes of the model."""
        raise NotImplementedError

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

    def header(
        self,
        num_samples: int | None,
        source_sample_rate: int,
        channels: int,
        stages: int,
        payload_coding: int = PLAIN,
    ) -> bitstream.Header:
        """Assemble the header of a `.vq` file of this model.

        Args:
            num_samples: samples per channel at the source rate; None while unknown.
            source_sample_rate: of the sound, in Hz.
            channels: number of channels.
            stages: codes per frame and channel, at most.
            payload_coding: a number of `codings.NAMES`.

        Raises:
            ValueError: the format cannot hold it.
        """
        return bitstream.Header(
            fingerprint=bytes.fromhex(self.fingerprint)[: registry.SHORT_FINGERPRINT_BYTES],
            sample_rate=self.sample_rate,
            source_sample_rate=source_sample_rate,
            channels=channels,
            num_samples=num_samples,
            hop_length=self.hop_length,
            stages=stages,
            bits_per_code=self.config.bits_per_code,
            payload_coding=payload_coding,
            kind=self.config.bottleneck,
        )

    def _where(self) -> str:
        """For display: where the model computes, behind a comma."""
        return ""
