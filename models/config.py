"""The configuration of a model: its sizes, and the facts that follow from them. Imports no torch."""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vqcodec.errors import ConfigError

from .kinds import KINDS, Kind

DEFAULT_EFFORT = 2
"""Width of the beam that searches for codes: candidates kept from stage to stage."""

MAX_EFFORT = 16
"""Width of the widest beam."""

MAX_DELAY = 1 << 20
"""Samples by which the output of a model may lag behind its input, at most."""

BEYOND = 4
"""How many times lower than the lowest bitrate, or higher than the highest, a wish may be: more is another unit."""

DECODERS = ("mdct", "wavenet")
"""The kinds of decoders."""

_MAX_NAME_BYTES = 100

_LIMITS = {
    "sample_rate": (1_000, 1_000_000),
    "mdct_hop": (2, 2_048),  # the basis of the transform has twice its square of numbers
    "power": (0.05, 1.0),
    "stride": (1, 32_767),
    "latent_dim": (1, 16_384),
    "num_stages": (1, 255),
    "codebook_size": (2, 65_536),
    "lattice_levels": (1, 65_536),
    "coarse_stages": (1, 254),
    "kernel_size": (1, 1_024),
    "expansion": (1, 64),
    "encoder_width": (1, 16_384),
    "encoder_fast_blocks": (0, 256),
    "encoder_blocks": (1, 256),
    "decoder_width": (1, 16_384),
    "decoder_fast_blocks": (0, 256),
    "decoder_blocks": (1, 256),
    "decoder_spread_from_hz": (0, 1_000_000),
    "wavenet_channels": (1, 4_096),
    "wavenet_layers": (1, 256),
    "wavenet_cycle": (1, 14),
    "wavenet_mixtures": (1, 256),
    "wavenet_order": (1, 256),
}
"""The least and the largest value of sizes; what is built from them is bounded, whatever a file says."""


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Sizes of a codec model.

    "Fast" blocks run at the rate of the MDCT, the others at the rate of the latents, which is `stride`
    times lower. With `stride` 1 the two rates are the same and the fast blocks are simply further blocks.

    Raises:
        ConfigError: a size is of the wrong type or out of range.
    """

    name: str = "speech_16k"
    """Name of the model, and of the file that training writes: no path, and nothing that cannot be printed."""
    sample_rate: int = 16_000
    """Samples per second of the waveform."""
    mdct_hop: int = 160
    """Samples between MDCT frames, and coefficients in each; a window is twice as long."""
    power: float = 0.3
    """Exponent of the signed power law that compresses MDCT coefficients."""
    stride: int = 2
    """MDCT frames per latent frame."""
    latent_dim: int = 64
    """Numbers in a latent vector."""
    bottleneck: str = "rvq"
    """Kind of the layer between encoder and decoder, see `kinds`: rvq, vq, product, lattice, tree, hierarchical, vae or
    none."""
    num_stages: int = 12
    """Codes in a frame: the number of codebooks in the residual stack (rvq), of groups of dimensions (product) or of
    levels (tree); 1 (vq); or `coarse_stages` plus two for every fine stage (hierarchical)."""
    codebook_size: int = 1024
    """Values that a code can take."""
    lattice_levels: int = 4
    """Levels that each latent value is rounded to (lattice only); a code packs as many as make `codebook_size`."""
    coarse_stages: int = 4
    """Stages that code two latent frames together (hierarchical only)."""
    kernel_size: int = 7
    """Frames that a depthwise convolution sees."""
    expansion: int = 3
    """Hidden width of a block, as a multiple of its width."""
    encoder_width: int = 256
    """Channels of the encoder's blocks."""
    encoder_fast_blocks: int = 0
    """ConvNeXt blocks of the encoder at the rate of the MDCT."""
    encoder_blocks: int = 5
    """ConvNeXt blocks of the encoder at the rate of the latents."""
    encoder_lookahead: int = 1
    """Latent frames of the future that the encoder waits for."""
    decoder_width: int = 384
    """Channels of the decoder's blocks."""
    decoder_blocks: int = 6
    """ConvNeXt blocks of the decoder at the rate of the latents."""
    decoder_fast_blocks: int = 0
    """ConvNeXt blocks of the decoder at the rate of the MDCT."""
    decoder_lookahead: int = 1
    """Latent frames of the future that the decoder waits for."""
    decoder_stochastic: bool = False
    """Whether the decoder samples: beside the mean of each MDCT coefficient it gives a spread, and draws from both."""
    decoder_spread_from_hz: int = 1500
    """Frequency above which coefficients have a spread; below it the means are used alone (decoder_stochastic only)."""
    decoder_conceals: bool = False
    """Whether the decoder can go on without a frame: a vector of its own then stands in for the latent."""
    decoder_kind: str = "mdct"
    """Kind of the decoder: "mdct", which computes MDCT coefficients, or "wavenet", which draws the waveform sample by
    sample. Of the latter the settings of blocks are those of the network that turns latents into conditions."""
    wavenet_channels: int = 64
    """Channels of the gated layers (wavenet only, likewise the settings that follow)."""
    wavenet_layers: int = 16
    """Number of gated layers."""
    wavenet_cycle: int = 8
    """Layers after which dilations begin anew: in a cycle they are 1, 2, 4, ... samples."""
    wavenet_mixtures: int = 4
    """Logistic distributions that the distribution of a sample is made of."""
    wavenet_order: int = 16
    """Samples before that the linear prediction of a sample is made of."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            _check_type(field, getattr(self, field.name))
        if self.bottleneck not in KINDS:
            near = difflib.get_close_matches(self.bottleneck, KINDS, n=1, cutoff=0.0)[0]
            raise ConfigError(
                f"model.bottleneck = {self.bottleneck!r} is not a kind of bottleneck; did you mean {near!r}?"
            )
        _check_name(self.name)
        for name, (low, high) in _LIMITS.items():
            _check_range(name, getattr(self, name), low, high)
        _check_range("hop_length", self.hop_length, 2, 65_535)
        _check_range("encoder_lookahead", self.encoder_lookahead, 0, (self.kernel_size - 1) * self.encoder_blocks)
        _check_range("decoder_lookahead", self.decoder_lookahead, 0, (self.kernel_size - 1) * self.decoder_blocks)
        _check_range("delay", self.delay, 0, MAX_DELAY)
        if self.decoder_stochastic and self.spread_bins < 1:
            raise ConfigError(
                f"model.decoder_spread_from_hz = {self.decoder_spread_from_hz} leaves no coefficient with a spread"
                f" under {self.sample_rate / 2:g} Hz"
            )
        self._check_decoder()
        self.kind.check(self)

    def _check_decoder(self) -> None:
        if self.decoder_kind not in DECODERS:
            raise ConfigError(f"model.decoder_kind = {self.decoder_kind!r} is none of {', '.join(DECODERS)}")
        for name in ("decoder_stochastic", "decoder_conceals"):
            if getattr(self, name):
                self.require_mdct(f"model.{name} = true")

    def require_mdct(self, what: str) -> None:
        """Refuse `what`, which only models with an MDCT decoder can do.

        Raises:
            ConfigError: the decoder is of another kind.
        """
        if self.decoder_kind != "mdct":
            raise ConfigError(
                f"{what} needs a model that decodes to MDCT coefficients; {self.name} has"
                f" decoder_kind = {self.decoder_kind!r}"
            )

    @property
    def kind(self) -> Kind:
        """The facts that depend on the kind of bottleneck."""
        return KINDS[self.bottleneck]

    @property
    def has_codes(self) -> bool:
        """Whether there are codes, and so `.vq` files."""
        return self.kind.has_codes

    @property
    def stage_choices(self) -> tuple[int, ...]:
        """The numbers of stages that can be encoded and decoded, in ascending order; none without codes."""
        if not self.has_codes:
            return ()
        return tuple(range(1 if self.kind.has_prefixes else self.num_stages, self.num_stages + 1))

    @property
    def frames_per_code(self) -> int:
        """Latent frames that a frame of codes stands for."""
        return self.kind.frames_per_code

    @property
    def spread_bins(self) -> int:
        """Number of MDCT coefficients of a frame, the highest, that have a spread; 0 if the decoder does not sample."""
        first = round(self.decoder_spread_from_hz * 2 * self.mdct_hop / self.sample_rate)
        return max(0, self.mdct_hop - first) if self.decoder_stochastic else 0

    @property
    def latent_hop(self) -> int:
        """Samples per latent frame."""
        return self.mdct_hop * self.stride

    @property
    def hop_length(self) -> int:
        """Samples per frame of codes, or per latent frame if there are none."""
        return self.latent_hop * self.frames_per_code

    @property
    def frame_rate(self) -> float:
        """Frames of `hop_length` a second."""
        return self.sample_rate / self.hop_length

    @property
    def code_vectors(self) -> int:
        """Numbers in all codebooks."""
        return self.code_vectors_of(self.num_stages)

    def code_vectors_of(self, stages: int) -> int:
        """Numbers in the codebooks that the first `stages` stages need."""
        return self.kind.vectors(self, stages) * self.latent_dim

    @property
    def bits_per_code(self) -> int:
        """Bits of a code, packed plainly."""
        return math.ceil(math.log2(self.codebook_size))

    @property
    def bitrates_bps(self) -> tuple[int, ...]:
        """Bits per second of the raw codes with each of `stage_choices`."""
        return tuple(map(self.bitrate_of, self.stage_choices))

    def bitrate_of(self, stages: int) -> int:
        """Bits per second of the raw codes with this many stages."""
        return round(self.bits_per_code * self.frame_rate * stages)

    @property
    def lookahead(self) -> int:
        """Latent frames of the future that encoder and decoder wait for together."""
        return self.encoder_lookahead + self.decoder_lookahead

    @property
    def delay(self) -> int:
        """Samples by which the decoder's output lags behind the encoder's input."""
        return self.mdct_hop + self.lookahead * self.latent_hop

    @property
    def latency_s(self) -> float:
        """Algorithmic latency in seconds: the delay, and the frame (of codes) that must be complete first."""
        return (self.delay + self.hop_length) / self.sample_rate

    def num_frames(self, num_samples: int) -> int:
        """Frames of `hop_length` that hold `num_samples` samples whole, the delay included."""
        return -(-(num_samples + self.delay) // self.hop_length)

    def num_samples(self, frames: int) -> int:
        """Samples that so many frames of `hop_length` hold whole, the delay taken off."""
        return max(0, frames * self.hop_length - self.delay)

    def stages_for(self, bitrate_bps: float) -> int:
        """The number of stages, out of `stage_choices`, whose bitrate is nearest, the lower of two.

        Raises:
            ConfigError: the bitrate is not a positive number, or there are no codes.
        """
        self.require_codes()
        if not 0 < bitrate_bps < math.inf:
            raise ConfigError(f"a bitrate is a positive number of bits per second, not {bitrate_bps}")
        return min(self.stage_choices, key=lambda stages: abs(self.bitrate_of(stages) - bitrate_bps))

    def check_bitrate(self, bitrate_bps: float) -> None:
        """Refuse a bitrate that is far from all that the model can do.

        Raises:
            ConfigError: it is less than a quarter of the lowest, or more than four times the highest.
        """
        lowest, highest = self.bitrates_bps[0], self.bitrates_bps[-1]
        if not lowest / BEYOND <= bitrate_bps <= highest * BEYOND:
            limits = f"{lowest} to {highest} bits a second and channel"
            raise ConfigError(
                f"{self.name} encodes at {limits} ({lowest / 1000:g} to {highest / 1000:g} kbit/s),"
                f" not at {bitrate_bps:.10g}"
            )

    def require_codes(self) -> None:
        """Refuse a model that cannot encode.

        Raises:
            ConfigError: it has no codes.
        """
        if not self.has_codes:
            raise ConfigError(
                f"the model {self.name} has no codes: its bottleneck is {self.bottleneck!r}; it cannot write .vq files"
            )

    def check_stages(self, stages: int) -> None:
        """Refuse a number of stages that cannot be encoded or decoded.

        Raises:
            ConfigError: it is not in `stage_choices`.
        """
        self.require_codes()
        if stages not in self.stage_choices:
            most = self.num_stages
            whole = f"{most} stages, always all of them ({self.bottleneck})"
            possible = f"1 to {most} stages" if self.kind.has_prefixes else whole
            raise ConfigError(f"the model {self.name} has {possible}, not {stages}")

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
                raise ConfigError(f"model.{key} is not a setting of a model; did you mean model.{near}?")
        return cls(**values)


def _check_type(field: dataclasses.Field[Any], value: object) -> None:
    kinds = {"str": (str,), "bool": (bool,), "int": (int,), "float": (int, float)}[str(field.type)]
    if (isinstance(value, bool) and field.type != "bool") or not isinstance(value, kinds):
        raise ConfigError(f"model.{field.name} must be {field.type}, not {value!r}")
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"model.{field.name} must be finite, not {value!r}")


def _check_name(name: str) -> None:
    """Refuse a name that is not a plain one for a file on any system."""
    plain = name.isprintable() and not set(name) & set('/\\:*?"<>|')
    if not plain or name != name.strip(" .") or name.startswith("-") or not 0 < len(name.encode()) <= _MAX_NAME_BYTES:
        raise ConfigError(
            f"model.name = {name[:_MAX_NAME_BYTES]!r} cannot name a file: choose letters, digits, '_', '-' and '.'"
        )


def _check_range(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ConfigError(f"model.{name} = {value} must lie between {low} and {high}")
