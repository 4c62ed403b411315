"""What can be asked of the bitrate, and what that means for a model: so many stages, or a target that varies."""

from __future__ import annotations

import math
from dataclasses import dataclass

from vqcodec.models.config import ModelConfig

from ..errors import ConfigError
from ..payloads.codings import CONTEXT, VARYING
from ..payloads.plain import PLAIN
from .target import Packing, RateMode, Target

DEFAULT_BITRATE_BPS = 3000
"""Bitrate per channel, where none is asked for."""

BEST_QUALITY = 10.0


@dataclass(frozen=True)
class Rate:
    """A wish for the bitrate; None where nothing is said.

    Raises:
        ConfigError: parts of it contradict each other, or are out of range.
    """

    bitrate_bps: float | None = None
    """Bits a second and channel: of the whole file in the mean where the bitrate varies, of the codes where it is
    constant."""
    stages: int | None = None
    """Codes per frame, at a constant bitrate."""
    quality: float | None = None
    """0 to 10: as many bits as that takes, at a bitrate that varies."""
    max_bitrate_bps: float | None = None
    """Bits a second and channel that no second is expected to exceed, at a bitrate that varies."""
    mode: RateMode | None = None
    """Either "variable" or "constant"."""
    packing: Packing | None = None
    """With "context", codes are coded by what a context model expects, which takes fewer bits; with "plain" not.
    By default the former if the bitrate varies and the model has a context model."""

    def __post_init__(self) -> None:
        asked = [name for name in ("bitrate_bps", "stages", "quality") if getattr(self, name) is not None]
        if len(asked) > 1:
            raise ConfigError("choose either a bitrate or a number of stages or a quality, not both")
        _check_choice("rate mode", self.mode, ("variable", "constant"))
        _check_choice("packing", self.packing, ("plain", "context"))
        if self.quality is not None and not 0 <= self.quality <= BEST_QUALITY:
            raise ConfigError(f"a quality is a number from 0 to {BEST_QUALITY:g}, not {self.quality}")
        if self.mode == "variable" and self.stages is not None:
            raise ConfigError("a number of stages is for a constant bitrate; choose a bitrate or a quality")
        if self.mode == "constant" and self.quality is not None:
            raise ConfigError("a quality is for a variable bitrate; choose a bitrate or a number of stages")
        if self.max_bitrate_bps is not None and (self.mode == "constant" or self.stages is not None):
            raise ConfigError("a highest bitrate is for a variable bitrate")

    @property
    def wants_variable(self) -> bool:
        """Whether a bitrate that varies is asked for."""
        return self.mode == "variable" or self.quality is not None or self.max_bitrate_bps is not None

    @property
    def wants_constant(self) -> bool:
        """Whether a constant bitrate is asked for."""
        return self.mode == "constant" or self.stages is not None


@dataclass(frozen=True)
class Plan:
    """A wish for the bitrate, in terms of a model."""

    stages: int
    """Codes per frame; the most of any frame if the bitrate varies."""
    target: Target | None
    """What a bitrate that varies is to be like; None if it is constant."""
    packing: Packing | None

    @property
    def wants_context(self) -> bool:
        """Whether codes are to be packed by a context model, if there is one."""
        return self.packing == "context" or (self.packing is None and self.target is not None)

    def payload_coding(self, has_context: bool) -> int:
        """Return the number of the payload coding, for a model with or without a context model.

        Raises:
            ConfigError: context coding is asked for, but there is no context model.
        """
        if self.packing == "context" and not has_context:
            raise ConfigError("the model has no context model; choose plain packing, or train one with train-context")
        if self.wants_context and has_context:
            return CONTEXT
        return PLAIN if self.target is None else VARYING


def plan_of(
    config: ModelConfig, bitrate_bps: float | None, stages: int | None, rate: Rate | None, varies: bool
) -> Plan:
    """Translate a wish, or the two settings that stand for one, into terms of a model.

    Args:
        config: of the model.
        bitrate_bps, stages: as in `Rate`, instead of one.
        rate: the wish.
        varies: whether the bitrate varies where nothing is said about that, and the model can do it.

    Raises:
        ConfigError: the model has no codes, or cannot do it; or settings contradict each other; or the bitrate is less
            than a quarter of the lowest, or more than four times the highest.
    """
    if rate is None:
        rate = Rate(bitrate_bps, stages)
    elif bitrate_bps is not None or stages is not None:
        raise ConfigError("choose either a rate, or a bitrate or a number of stages, not both")
    config.require_codes()
    if rate.bitrate_bps is not None:
        config.check_bitrate(rate.bitrate_bps)
    if rate.wants_variable and not config.kind.can_vary:
        raise ConfigError(f"the frames of {config.name} ({config.bottleneck}) all have the same number of stages")
    if rate.wants_constant or not (rate.wants_variable or (varies and config.kind.can_vary)):
        return Plan(_constant_stages(rate, config), None, rate.packing)
    target = _target(rate)
    return Plan(_most_stages(target, config), target, rate.packing)


def _constant_stages(rate: Rate, config: ModelConfig) -> int:
    if rate.stages is None:
        return config.stages_for(DEFAULT_BITRATE_BPS if rate.bitrate_bps is None else rate.bitrate_bps)
    config.check_stages(rate.stages)
    return rate.stages


def _target(rate: Rate) -> Target:
    if rate.quality is not None:
        return Target(price=_price_of(rate.quality), max_bitrate_bps=rate.max_bitrate_bps)
    bitrate = DEFAULT_BITRATE_BPS if rate.bitrate_bps is None else rate.bitrate_bps
    return Target(bitrate_bps=bitrate, max_bitrate_bps=rate.max_bitrate_bps)


def _most_stages(target: Target, config: ModelConfig) -> int:
    """The most stages that a frame may get: a search for more would be in vain at low bitrates."""
    if target.bitrate_bps is None:
        return config.num_stages
    mean = target.bitrate_bps / (config.bits_per_code * config.frame_rate)
    return min(config.num_stages, math.ceil(2.5 * mean + 4))


def _price_of(quality: float) -> float:
    """Price of a bit: two steps of quality halve it."""
    return 0.01 * 2 ** (-quality / 2)


def _check_choice(name: str, value: str | None, choices: tuple[str, ...]) -> None:
    if value is not None and value not in choices:
        raise ConfigError(f"the {name} is {' or '.join(choices)}, not {value!r}")
