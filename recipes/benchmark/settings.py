"""Settings of a benchmark: what is measured, and how often. Imports no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass

from vqcodec.errors import ConfigError

LONGEST_S = 3600.0


@dataclass(frozen=True, kw_only=True)
class BenchmarkSettings:
    """The choices of one benchmark.

    Raises:
        ConfigError: a choice is empty or out of range.
    """

    seconds: float = 30.0
    """Length of the signal, 1 to 3600 s."""
    devices: tuple[str, ...] = ("cpu",)
    """Names of devices as torch has them."""
    threads: tuple[int, ...] = (1,)
    """Numbers of threads on the CPU."""
    precision: str = "auto"
    """Of the arithmetic, one of `vqcodec.models.precision.PRECISIONS`."""
    bitrates: tuple[float, ...] = (1.5, 3.0, 6.0)
    """Bitrates of the codes in kbit/s; the nearest possible are used, and the middle one where one is enough."""
    repeat: int = 5
    """Rounds that count; one more goes before them."""
    neural: bool = True
    """Whether other neural codecs are measured beside, with random weights."""
    processes: bool = True
    """Whether start-up and memory are measured, in processes of their own."""
    minutes: tuple[int, ...] = (1,)
    """Lengths of the sound files whose memory is measured."""

    def __post_init__(self) -> None:
        for name in ("devices", "threads", "bitrates", "minutes"):
            if not getattr(self, name):
                raise ConfigError(f"name at least one of the {name} to measure")
        if not 1 <= self.seconds <= LONGEST_S:
            raise ConfigError(f"the signal has 1 to {LONGEST_S:g} seconds, not {self.seconds:g}")
        if not all(0 < bitrate < math.inf for bitrate in self.bitrates):
            raise ConfigError(f"bitrates are positive numbers of kbit/s, not {_listed(self.bitrates)}")
        for name, values in {"threads": self.threads, "minutes": self.minutes, "rounds": (self.repeat,)}.items():
            if min(values) < 1:
                raise ConfigError(f"{name} are counted from 1, not {_listed(values)}")


def _listed(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:g}" for value in values)


QUICK = BenchmarkSettings(seconds=5.0, repeat=2, neural=False, processes=False)
"""A first impression, in seconds."""
