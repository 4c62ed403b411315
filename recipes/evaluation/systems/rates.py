"""Systems at a bitrate, and bitrates as they are written and checked, in kbit/s."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from vqcodec.errors import ConfigError

from .base import System


@dataclass(frozen=True)
class AtBitrate(System):
    """A system that has nothing to set but its bitrate."""

    rate_kbps: float

    family: ClassVar[str]
    """The name on the command line."""

    @property
    def name(self) -> str:
        return f"{self.family}-{self.rate_kbps:g}"

    @property
    def setting(self) -> str:
        return text(self.rate_kbps)


def text(rate_kbps: float) -> str:
    """ "9 kbit/s"."""
    return f"{rate_kbps:g} kbit/s"


def check_one_of(codec: str, rate_kbps: float, possible: Sequence[float]) -> None:
    """Raise ConfigError, with the choice there is, unless the rate is a possible one."""
    if rate_kbps not in possible:
        choice = ", ".join(f"{rate:g}" for rate in sorted(possible))
        raise ConfigError(f"{codec} has no bitrate of {text(rate_kbps)}; choose from {choice}")


def check_within(codec: str, rate_kbps: float, lowest: float, highest: float) -> None:
    """Raise ConfigError unless the rate lies within the limits."""
    if not lowest <= rate_kbps <= highest:
        raise ConfigError(f"{codec} has bitrates from {lowest:g} to {text(highest)}, not {text(rate_kbps)}")
