"""Two reports beside each other, figure by figure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .arithmetic import PEAK
from .measurement import Figure
from .report import BenchmarkReport

LEAST_MARGIN = 0.05
"""A smaller change of a figure is never more than noise."""

TIMED = frozenset({"x", "ms/s", "ms", "s", "GFLOP/s"})
"""Units of what a slower machine makes worse; counts, memory and ratios it leaves as they are."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """A figure of two reports."""

    old: Figure
    new: Figure
    ratio: float | None
    """New over old, of the best values; None where one of them is not positive."""
    margin: float
    """A change by a factor of more than 1 + margin, up or down, is beyond the noise."""

    @property
    def verdict(self) -> Literal["better", "worse", ""]:
        """Which way the figure changed, if beyond the noise."""
        if self.ratio is None or self.new.better == "neither":
            return ""
        if max(self.ratio, 1 / self.ratio) <= (1 + self.margin) * (1 + 1e-9):  # but for rounding
            return ""
        return "better" if (self.ratio > 1) == (self.new.better == "higher") else "worse"


def compare(old: BenchmarkReport, new: BenchmarkReport) -> list[Change]:
    """Every figure that both have, in the order of the new report.

    Noise is the spread of the rounds in both reports and, for times, any change of the plain matrix product: that is
    the machine's own, which may have had more to do, or another clock, on the other day.
    """
    before = {figure.key: figure for figure in old.figures}
    pairs = [(before[figure.key], figure) for figure in new.figures if figure.key in before]
    drift = max((_distance(_ratio(*pair)) for pair in pairs if pair[1].name == PEAK), default=0.0)
    changes = []
    for a, b in pairs:
        excused = drift if b.unit in TIMED else 0.0
        margin = max(LEAST_MARGIN, excused, a.spread + b.spread)
        changes.append(Change(old=a, new=b, ratio=_ratio(a, b), margin=margin))
    return changes


def differences(old: BenchmarkReport, new: BenchmarkReport) -> list[str]:
    """Lists what else differs between the two reports, and may explain a change."""
    pairs = {
        "model": (old.model.fingerprint[:16], new.model.fingerprint[:16]),
        "cpu": (old.machine.cpu, new.machine.cpu),
        "gpus": (", ".join(old.machine.gpus) or "none", ", ".join(new.machine.gpus) or "none"),
        "torch": (old.machine.torch, new.machine.torch),
        "vqcodec": (old.machine.vqcodec, new.machine.vqcodec),
        "seconds of signal": (f"{old.settings.seconds:g}", f"{new.settings.seconds:g}"),
        "rounds": (str(old.settings.repeat), str(new.settings.repeat)),
    }
    return [f"{name}: {before} before, {after} now" for name, (before, after) in pairs.items() if before != after]


def _ratio(old: Figure, new: Figure) -> float | None:
    return new.best / old.best if min(old.best, new.best) > 0 else None


def _distance(ratio: float | None) -> float:
    """Distance of a ratio from 1, up or down alike."""
    return 0.0 if ratio is None else max(ratio, 1 / ratio) - 1
