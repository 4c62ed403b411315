"""Results of an evaluation: one record for each file and system, and their means. Nothing here touches a disk."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..statistics import Interval, ratio_interval


@dataclass(frozen=True, kw_only=True)
class SystemFacts:
    """Description of a system in a report; see `vqcodec.recipes.evaluation.systems.System`."""

    name: str
    codec: str
    setting: str
    version: str

    @property
    def title(self) -> str:
        """Codec and setting, for the reader."""
        return f"{self.codec} {self.setting}".strip()


@dataclass(frozen=True, kw_only=True)
class EvaluationResult:
    """One file through one system."""

    file: str
    """Relative to the folder of the data, with "/"."""
    system: str
    duration_s: float
    bytes: int
    encode_s: float
    """CPU seconds on one thread."""
    decode_s: float
    scores: Mapping[str, float]
    """Scores by the names of `vqcodec.recipes.metrics.METRICS`; one that is undefined for this file is left out."""

    @property
    def bitrate_bps(self) -> float:
        """Bits on disk per second of audio."""
        return 8 * self.bytes / self.duration_s


@dataclass(frozen=True, kw_only=True)
class SystemSummary:
    """All files through one system."""

    system: SystemFacts
    files: int
    duration_s: float
    bitrate_bps: Interval
    """All bits on disk over all seconds of audio."""
    encode_s: Interval
    """CPU seconds per second of audio, on one thread."""
    decode_s: Interval
    scores: Mapping[str, Interval]
    """Means over the files for which the score is defined."""


def summarise(system: SystemFacts, results: Sequence[EvaluationResult], metrics: Iterable[str]) -> SystemSummary:
    """Totals and means over one system's results, with intervals.

    Args:
        results: at least one.
        metrics: names of scores; one that no file has is left out.
    """
    seconds = np.array([one.duration_s for one in results])
    scores = {}
    for name in metrics:
        values = np.array([one.scores[name] for one in results if name in one.scores])
        if len(values):
            scores[name] = ratio_interval(values, np.ones_like(values))
    return SystemSummary(
        system=system,
        files=len(results),
        duration_s=float(seconds.sum()),
        bitrate_bps=ratio_interval(np.array([8.0 * one.bytes for one in results]), seconds),
        encode_s=ratio_interval(np.array([one.encode_s for one in results]), seconds),
        decode_s=ratio_interval(np.array([one.decode_s for one in results]), seconds),
        scores=scores,
    )
