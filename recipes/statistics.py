"""Statistics over files: means with bootstrap confidence intervals, and how often codes were used."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
"""Confidence level of every interval."""
RESAMPLES = 2000
"""Resamples of the bootstrap behind every interval."""


@dataclass(frozen=True)
class Interval:
    """A value over files with the ends of its 95 % bootstrap interval."""

    value: float
    low: float
    high: float
    files: int

    @property
    def half_width(self) -> float:
        """Half the interval: what follows a plus-minus sign."""
        return (self.high - self.low) / 2


@dataclass(frozen=True, kw_only=True)
class StageUsage:
    """Usage of one stage of the codebooks, over all files."""

    counts: NDArray[np.int64] = field(repr=False)
    """`[code]`: how often each code was chosen."""

    @property
    def entropy_bits(self) -> float:
        """Entropy of the distribution of codes, 0 to log2 of the codebook's size: the cost of ideal coding."""
        shares = self.counts[self.counts > 0] / max(1, self.counts.sum())
        return float(-(shares * np.log2(shares)).sum())

    @property
    def perplexity(self) -> float:
        """2 to the entropy: as many codes, equally used, would have that entropy."""
        return float(2.0**self.entropy_bits)

    @property
    def used_share(self) -> float:
        """Share of the codes that were chosen at least once, 0 to 1."""
        return float((self.counts > 0).mean())


def ratio_interval(values: NDArray[np.floating], weights: NDArray[np.floating]) -> Interval:
    """Sum of the values over the sum of the weights, with a percentile bootstrap over the files.

    Efron and Tibshirani 1993, "An Introduction to the Bootstrap". The drawing is seeded: the same results
    give the same interval. One file alone has no interval: its ends are the value itself.

    Args:
        values: `[file]`, at least one.
        weights: `[file]`, positive.
    """
    from scipy.stats import bootstrap

    def ratio(x: NDArray[np.floating], w: NDArray[np.floating], axis: int = -1) -> NDArray[np.floating]:
        quotient: NDArray[np.floating] = x.sum(axis=axis) / w.sum(axis=axis)
        return quotient

    value = float(ratio(values, weights))
    if len(values) < 2:
        return Interval(value, value, value, len(values))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of values that are all alike, whose interval is a point
        found = bootstrap(
            (values, weights),
            ratio,
            paired=True,
            vectorized=True,
            confidence_level=CONFIDENCE,
            n_resamples=RESAMPLES,
            method="percentile",
            rng=np.random.default_rng(0),
        ).confidence_interval
    return Interval(value, float(found.low), float(found.high), len(values))


def count_codes(codes: Iterable[NDArray[np.integer]], codebook_size: int) -> list[StageUsage]:
    """Usage of each stage over the codes of many files, each `[stage, frame]`; negative numbers stand for no code."""
    total: NDArray[np.int64] | None = None
    for one in codes:
        counts = np.stack([np.bincount(row[row >= 0], minlength=codebook_size) for row in one])
        total = counts if total is None else total + counts
    return [] if total is None else [StageUsage(counts=row) for row in total]
