"""The configuration of a model in transformers: that of the codec, and what other codecs' configurations say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transformers import PreTrainedConfig

from vqcodec.models.config import ModelConfig


class VqCodecConfig(PreTrainedConfig):  # type: ignore[misc]
    """A codec's configuration as transformers keeps it.

    Args:
        codec_config: fields of `ModelConfig` by name; those that are left out have its defaults.
        kwargs: what all configurations in transformers have.

    Raises:
        ConfigError: a field is unknown, of the wrong type or out of range.
    """

    model_type = "vqcodec"

    def __init__(self, codec_config: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        self.codec_config = ModelConfig.from_dict(codec_config or {}).to_dict()
        super().__init__(**kwargs)

    @property
    def sizes(self) -> ModelConfig:
        """The codec's own configuration."""
        return ModelConfig.from_dict(self.codec_config)

    @property
    def sampling_rate(self) -> int:
        """Samples a second."""
        return self.sizes.sample_rate

    @property
    def audio_channels(self) -> int:
        """Channels of a waveform."""
        return 1

    @property
    def hop_length(self) -> int:
        """Samples per frame."""
        return self.sizes.hop_length

    @property
    def frame_rate(self) -> float:
        """Frames a second."""
        return self.sizes.frame_rate

    @property
    def codebook_size(self) -> int:
        """Values that a code can take."""
        return self.sizes.codebook_size

    @property
    def num_quantizers(self) -> int:
        """Codes per frame at the highest bitrate."""
        return self.sizes.num_stages

    @property
    def hidden_size(self) -> int:
        """Numbers in a latent vector."""
        return self.sizes.latent_dim

    @property
    def target_bandwidths(self) -> list[float]:
        """Bitrates in kbit/s, the lowest first."""
        return [bitrate / 1000 for bitrate in self.sizes.bitrates_bps]
