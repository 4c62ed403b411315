"""What a model is made of: the sizes, and the facts that follow from them. Imports no torch."""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vqcodec.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Sizes of one codec model.

    "Fast" blocks run at the rate of the MDCT, the others at the rate of the latents, which is `stride`
    times lower. With `stride` 1 the two rates are the same and the fast blocks are simply further blocks.

    Raises:
        ConfigError: a size is of the wrong type or out of range.
    """

    name: str = "speech_16k"
    sample_rate: int = 16_000
    """Samples a second of the waveform."""
    mdct_hop: int = 160
    """Samples between MDCT frames, and coefficients in each; a window is twice as long."""
    power: float = 0.3
    """Exponent of the signed power law that compresses MDCT coefficients."""
    stride: int = 2
    """MDCT frames per latent frame."""
    latent_dim: int = 64
    num_stages: int = 12
    """Codebooks in the residual stack."""
    codebook_size: int = 1024
    kernel_size: int = 7
    """Frames that a depthwise convolution sees."""
    expansion: int = 3
    """Hidden width of a block over its width."""
    encoder_width: int = 256
    encoder_fast_blocks: int = 0
    encoder_blocks: int = 5
    encoder_lookahead: int = 1
    """Latent frames of the future that the encoder waits for."""
    decoder_width: int = 384
    decoder_blocks: int = 6
    decoder_fast_blocks: int = 0
    decoder_lookahead: int = 1
    """Latent frames of the future that the decoder waits for."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            _check_type(field, getattr(self, field.name))
        may_be_zero = {"encoder_fast_blocks", "decoder_fast_blocks", "encoder_lookahead", "decoder_lookahead"}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name != "name" and value < (0 if field.name in may_be_zero else 1e-6):
                raise ConfigError(f"model.{field.name} = {value} is too small")
        _check_range("num_stages", self.num_stages, 1, 255)
        _check_range("codebook_size", self.codebook_size, 2, 65_536)
        _check_range("sample_rate", self.sample_rate, 1_000, 1_000_000)
        _check_range("mdct_hop", self.mdct_hop, 2, 8_192)
        _check_range("hop_length", self.hop_length, 2, 65_535)
        _check_range("power", self.power, 0.05, 1.0)
        _check_range("encoder_lookahead", self.encoder_lookahead, 0, (self.kernel_size - 1) * self.encoder_blocks)
        _check_range("decoder_lookahead", self.decoder_lookahead, 0, (self.kernel_size - 1) * self.decoder_blocks)

    @property
    def hop_length(self) -> int:
        """Samples per latent frame."""
        return self.mdct_hop * self.stride

    @property
    def frame_rate(self) -> float:
        """Latent frames a second."""
        return self.sample_rate / self.hop_length

    @property
    def bits_per_code(self) -> int:
        """Bits of one code, packed plainly."""
        return math.ceil(math.log2(self.codebook_size))

    @property
    def bitrates_bps(self) -> tuple[int, ...]:
        """Bits a second of the raw codes with 1, 2, ... `num_stages` stages."""
        per_stage = self.bits_per_code * self.frame_rate
        return tuple(round(per_stage * stages) for stages in range(1, self.num_stages + 1))

    @property
    def lookahead(self) -> int:
        """Latent frames of the future that encoder and decoder wait for together."""
        return self.encoder_lookahead + self.decoder_lookahead

    @property
    def delay(self) -> int:
        """Samples by which the decoder's output lags behind the encoder's input."""
        return self.mdct_hop + self.lookahead * self.hop_length

    @property
    def latency_s(self) -> float:
        """Algorithmic latency in seconds: the delay, and the frame that must be complete first."""
        return (self.delay + self.hop_length) / self.sample_rate

    def num_frames(self, num_samples: int) -> int:
        """Latent frames that hold `num_samples` samples whole, the delay included."""
        return -(-(num_samples + self.delay) // self.hop_length)

    def stages_for(self, bitrate_bps: float) -> int:
        """The number of stages whose bitrate is nearest, the lower of two.

        Raises:
            ConfigError: the bitrate is not a positive number.
        """
        if not 0 < bitrate_bps < math.inf:
            raise ConfigError(f"a bitrate is a positive number of bits per second, not {bitrate_bps}")
        return 1 + min(range(self.num_stages), key=lambda index: abs(self.bitrates_bps[index] - bitrate_bps))

    def to_dict(self) -> dict[str, Any]:
        """The fields by name."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ModelConfig:
        """The inverse of `to_dict`; an unknown key raises `ConfigError` naming the nearest known one."""
        known = [field.name for field in dataclasses.fields(cls)]
        for key in values:
            if key not in known:
                near = difflib.get_close_matches(str(key), known, n=1, cutoff=0.0)[0]
                raise ConfigError(f"model.{key} is no setting of a model; did you mean model.{near}?")
        return cls(**values)


def _check_type(field: dataclasses.Field[Any], value: object) -> None:
    kinds = {"str": (str,), "int": (int,), "float": (int, float)}[str(field.type)]
    if isinstance(value, bool) or not isinstance(value, kinds):
        raise ConfigError(f"model.{field.name} must be {field.type}, not {value!r}")
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"model.{field.name} must be finite, not {value!r}")


def _check_range(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ConfigError(f"model.{name} = {value} must lie between {low} and {high}")
