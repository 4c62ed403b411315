"""Bitrates as they are written and checked, in kbit/s."""

from __future__ import annotations

from collections.abc import Sequence

from vqcodec.errors import ConfigError


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
