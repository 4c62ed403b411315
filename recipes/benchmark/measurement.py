"""One measured number. Imports no torch."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import FiniteFloat

Group = Literal["whole", "steps", "streaming", "arithmetic", "start", "memory", "neural"]
Better = Literal["higher", "lower", "neither"]


@dataclass(frozen=True, kw_only=True)
class Figure:
    """The best and the median of some measurements of the same thing.

    Group, name, setting and place together are unique in a report.
    """

    group: Group
    name: str
    """The quantity measured: "encode"."""
    setting: str = ""
    """The setting: "3 kbit/s"."""
    place: str = ""
    """On what: "cpu, 1 thread"; empty where it makes no difference."""
    unit: str
    """ "x" is times real time."""
    better: Better
    best: FiniteFloat
    median: FiniteFloat
    count: int = 1
    """Number of measurements."""

    @property
    def key(self) -> str:
        """Identifies the figure in a report."""
        return ", ".join(filter(None, (self.group, self.name, self.setting, self.place)))

    @property
    def spread(self) -> float:
        """Distance of the median from the best, as a share of the best: the noise of this run."""
        return abs(self.median - self.best) / abs(self.best) if self.best else 0.0


def figure(
    group: Group,
    name: str,
    values: Sequence[float],
    unit: str,
    better: Better,
    setting: object = "",
    place: object = "",
) -> Figure:
    """A figure out of measurements. If neither direction is better, its best is the median."""
    return Figure(
        group=group,
        name=name,
        setting=str(setting),
        place=str(place),
        unit=unit,
        better=better,
        best=max(values) if better == "higher" else min(values) if better == "lower" else statistics.median(values),
        median=statistics.median(values),
        count=len(values),
    )
