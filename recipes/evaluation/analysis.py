"""Analysis of an evaluation: which codecs are compared, and how many bits the others need.

Pure, and without a word of how it is shown, but for the decimals of a score.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vqcodec.errors import ConfigError

from ..metrics import METRICS, Metric
from ..metrics.imitated import marked
from ..statistics import Interval
from .results import EvaluationResult, SystemFacts, SystemSummary
from .store import REFERENCE, Evaluation

_BAND_LIMIT = "band-"


@dataclass(frozen=True, kw_only=True)
class ComparedCodec:
    """A codec with its settings that were measured."""

    label: str
    number: int
    """Its place in a report, by which it gets colour and symbol; 0 is the codec that the report is about."""
    ceiling: bool
    """A reference to compare codecs with, not a codec: the unprocessed sound, or a part of its band."""
    systems: tuple[SystemFacts, ...]
    summaries: tuple[SystemSummary, ...]
    """Means by bitrate, lowest first; empty where no file was measured with all systems."""

    @property
    def main(self) -> bool:
        """The report is about it."""
        return self.number == 0 and not self.ceiling

    def curve(self, metric: Metric) -> list[SystemSummary]:
        """The summaries that have this score."""
        return [one for one in self.summaries if metric.name in one.scores]


@dataclass(frozen=True, kw_only=True)
class ReportedScore:
    """A metric as the page shows it."""

    metric: Metric
    decimals: int
    trained_on: bool = False
    """The evaluated model was trained on a loss that imitates it."""

    @property
    def label(self) -> str:
        """The name in the report, marked if the model was trained on it."""
        return marked(self.metric.label, self.trained_on)

    @property
    def direction(self) -> str:
        """Which way is good."""
        return f"{'higher' if self.metric.higher_is_better else 'lower'} is better"

    @property
    def definition(self) -> str:
        """Range, direction and source, as the metric's function documents them."""
        prose = (inspect.getdoc(self.metric.function) or "").partition("\nRaises:")[0]
        labels = {name: metric.label for name, metric in METRICS.items()}
        return re.sub(r"`([^`]*)`", lambda found: labels.get(found[1], found[1]), " ".join(prose.split()))

    def number(self, value: float) -> str:
        """A score."""
        return f"{value:.{self.decimals}f}"

    def interval(self, interval: Interval) -> str:
        """A mean, with half its interval if it is of several files."""
        half = f" ± {self.number(interval.half_width)}" if interval.files > 1 else ""
        return self.number(interval.value) + half


@dataclass(frozen=True, kw_only=True)
class NeededBitrate:
    """The bitrate at which a codec reaches a score, and the settings around it."""

    bitrate_bps: float | None
    """None where the score is not reached, or exceeded at the lowest bitrate already."""
    below: SystemSummary | None
    """The setting before; None where the lowest bitrate has reached the score."""
    above: SystemSummary | None
    """The first setting that reaches the score; None where none does."""


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """The files by one score of one system."""

    system: SystemFacts
    metric: Metric
    worst_first: tuple[EvaluationResult, ...]

    @property
    def files(self) -> list[str]:
        """Names of the files, the worst first."""
        return [one.file for one in self.worst_first]

    def place(self, file: str) -> str:
        """Describe the place of a file in the ranking."""
        if file not in self.files:
            return f"without {self.metric.label} for {self.system.title}"
        place, count = self.files.index(file) + 1, len(self.files)
        names = {count // 2 + 1: "median", count: "best", 1: "worst"}
        return f"{names.get(place, f'{_ordinal(place)} worst')} of {count}"


def codecs_of(evaluation: Evaluation, summaries: Sequence[SystemSummary]) -> list[ComparedCodec]:
    """All codecs that have results: the one that the report is about, the others, and last the ceilings."""
    measured = {one.system for one in evaluation.results}
    families: dict[str, list[SystemFacts]] = {}
    for system in evaluation.facts.systems:
        if system.name in measured:
            families.setdefault(system.codec, []).append(system)
    ours = {system.codec for system in evaluation.facts.systems if system.name == evaluation.facts.codes_of}

    def rank(label: str) -> int:
        if all(is_ceiling(system) for system in families[label]):
            return 2
        return 0 if label in ours else 1

    return [
        ComparedCodec(
            label=label,
            number=number,
            ceiling=rank(label) == 2,
            systems=tuple(families[label]),
            summaries=tuple(
                sorted((one for one in summaries if one.system.codec == label), key=lambda one: one.bitrate_bps.value)
            ),
        )
        for number, label in enumerate(sorted(families, key=rank))
    ]


def scores_of(evaluation: Evaluation) -> list[ReportedScore]:
    """The metrics that any file has, with three significant digits of the largest mean that a codec has."""
    ceilings = {system.name for system in evaluation.facts.systems if is_ceiling(system)}
    found = []
    for metric in _metrics(evaluation):
        values: dict[str, list[float]] = {}
        for one in evaluation.results:
            if metric.name in one.scores:
                values.setdefault(one.system, []).append(abs(one.scores[metric.name]))
        if values:
            means = {system: float(np.mean(some)) for system, some in values.items()}
            largest = max([mean for system, mean in means.items() if system not in ceilings] or means.values())
            magnitude = math.floor(math.log10(largest)) if largest > 0 else 0
            trained_on = metric.name in evaluation.facts.trained_on_scores
            found.append(ReportedScore(metric=metric, decimals=min(4, max(0, 2 - magnitude)), trained_on=trained_on))
    return found


def rank_files(evaluation: Evaluation) -> Ranking | None:
    """The files by the first score of the evaluated model at its middle bitrate; None if there is no score."""
    main = next((codec for codec in codecs_of(evaluation, ()) if codec.main), None)
    if main is None:
        return None
    found = {system.name: [one for one in evaluation.results if one.system == system.name] for system in main.systems}
    by_bitrate = sorted(main.systems, key=lambda system: _bitrate_bps(found[system.name]))
    middle = by_bitrate[len(by_bitrate) // 2]
    for metric in _metrics(evaluation):
        scored = [one for one in found[middle.name] if metric.name in one.scores]
        if scored:
            scored.sort(key=lambda one: one.scores[metric.name], reverse=not metric.higher_is_better)
            return Ranking(system=middle, metric=metric, worst_first=tuple(scored))
    return None


def needed_bitrate(curve: Sequence[SystemSummary], metric: Metric, score: float) -> NeededBitrate:
    """Estimate the bitrate at which a codec reaches a score.

    Between its settings the mean is taken to change in proportion to the logarithm of the bitrate; nothing is said
    beyond them. Where a curve is not monotonic the lowest such bitrate counts.

    Args:
        curve: settings that have the score, by bitrate; at least one.
    """
    sign = 1 if metric.higher_is_better else -1
    values = [sign * one.scores[metric.name].value for one in curve]
    goal = sign * score
    place = next((place for place, value in enumerate(values) if value >= goal), None)
    if place is None:
        return NeededBitrate(bitrate_bps=None, below=curve[-1], above=None)
    if place == 0:
        return NeededBitrate(bitrate_bps=None, below=None, above=curve[0])
    share = (goal - values[place - 1]) / (values[place] - values[place - 1])
    low, high = (one.bitrate_bps.value for one in curve[place - 1 : place + 1])
    return NeededBitrate(bitrate_bps=low * (high / low) ** share, below=curve[place - 1], above=curve[place])


def best_systems(summaries: Sequence[SystemSummary], metric: Metric) -> frozenset[str]:
    """Names of the system with the best mean and of those that its interval does not tell from it.

    Empty where there is nothing to tell: fewer than two systems, one file alone, or intervals that all overlap.
    """
    scores = {one.system.name: one.scores[metric.name] for one in summaries if metric.name in one.scores}
    scores = {name: interval for name, interval in scores.items() if interval.files > 1}
    if len(scores) < 2:
        return frozenset()
    if metric.higher_is_better:
        best = max(scores.values(), key=lambda interval: interval.value)
        alike = frozenset(name for name, interval in scores.items() if interval.high >= best.low)
    else:
        best = min(scores.values(), key=lambda interval: interval.value)
        alike = frozenset(name for name, interval in scores.items() if interval.low <= best.high)
    return alike if len(alike) < len(scores) else frozenset()


def _metrics(evaluation: Evaluation) -> list[Metric]:
    for name in evaluation.facts.metrics:
        if name not in METRICS:
            raise ConfigError(f"{evaluation.store.folder} has the score {name!r}, unknown to this version of vqcodec")
    return [METRICS[name] for name in evaluation.facts.metrics]


def is_ceiling(system: SystemFacts) -> bool:
    """Whether a system is a reference to compare codecs with, not a codec."""
    return system.name == REFERENCE or system.name.startswith(_BAND_LIMIT)


def _bitrate_bps(results: Sequence[EvaluationResult]) -> float:
    return 8 * sum(one.bytes for one in results) / sum(one.duration_s for one in results)


def _ordinal(number: int) -> str:
    last = number % 10 if number % 100 not in (11, 12, 13) else 0
    return f"{number}{('th', 'st', 'nd', 'rd')[last] if last < 4 else 'th'}"
