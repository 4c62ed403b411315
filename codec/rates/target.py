"""What a bitrate that varies is to be like. Needs no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

from ..errors import ConfigError

RateMode: TypeAlias = Literal["variable", "constant"]
Packing: TypeAlias = Literal["plain", "context"]


@dataclass(frozen=True, kw_only=True)
class Target:
    """What a bitrate that varies is to be like: either a mean bitrate or a price, and perhaps a limit."""

    bitrate_bps: float | None = None
    """Bits a second and channel of the whole file, in the mean."""
    price: float | None = None
    """Of a bit, in squared error: the same sound quality throughout, whatever it takes."""
    max_bitrate_bps: float | None = None
    """Bits a second and channel that no second is expected to exceed, packet heads aside."""

    def __post_init__(self) -> None:
        if (self.bitrate_bps is None) == (self.price is None):
            raise ConfigError("choose either a bitrate or a quality")
        for name, value in (("bitrate", self.bitrate_bps), ("highest bitrate", self.max_bitrate_bps)):
            if value is not None and not 0 < value < math.inf:
                raise ConfigError(f"a {name} is a positive number of bits per second, not {value}")
