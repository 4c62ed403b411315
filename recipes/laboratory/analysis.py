"""Analysis of the results: which orders that theory or practice lead one to expect hold on these latents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .results import Findings, QuantizerResult

_TIE_DB = 0.01
"""Differences up to this are none."""
_ALIKE_DB = 0.15
"""Quantizers that should be alike may differ so much."""


@dataclass(frozen=True)
class _Order:
    better: str
    worse: str
    reason: str
    alike: bool = False
    """Neither should be better."""


_ORDERS = (
    _Order("additive", "residual-beam", "codebooks learnt together, rather than one after the other"),
    _Order("additive", "residual-small", "codebooks learnt together, and of one size here"),
    _Order("residual-beam", "residual-greedy", "several candidates are kept at every stage"),
    _Order("opq", "product", "the axes are turned so that the parts share what there is to code"),
    _Order("product", "scalar", "dimensions are coded together"),
    _Order("tree-full", "tree-greedy", "the nearest leaf, rather than the one at the end of the nearest branches"),
    _Order("tree-full", "kmeans", "the leaves are a codebook nearly as good", alike=True),
    _Order("kmeans", "lbg", "the same iteration from other starting points", alike=True),
    _Order("lattice-e8", "lattice-z", "rounder cells; at most 0.65 dB, and less at few bits a dimension"),
    _Order("kmeans", "lvq", "codes are moved for the sake of recognition"),
)


@dataclass(frozen=True)
class Verdict:
    """An expected order at a number of bits."""

    budget: int
    difference_db: float
    """SNR of the first over that of the second."""
    holds: bool


@dataclass(frozen=True)
class Expectation:
    """An order to expect, and whether it was found."""

    better: str
    worse: str
    reason: str
    alike: bool
    verdicts: tuple[Verdict, ...]

    @property
    def holds(self) -> bool:
        """Whether the order holds at every number of bits."""
        return all(verdict.holds for verdict in self.verdicts)

    def at(self, budget: int) -> Verdict | None:
        """The verdict at a number of bits, if there is one."""
        return next((verdict for verdict in self.verdicts if verdict.budget == budget), None)


def expectations(findings: Findings) -> list[Expectation]:
    """The expected orders of the quantizers at hand, each judged by SNR at every number of bits."""
    judged = []
    for order in _ORDERS:
        first, second = findings.of(order.better), findings.of(order.worse)
        verdicts = tuple(
            _judge(order, first[budget], second[budget])
            for budget in sorted(first.keys() & second.keys())
            if _comparable(first[budget], second[budget])
        )
        if verdicts:
            better, worse = (next(iter(results.values())).title for results in (first, second))
            judged.append(Expectation(better, worse, order.reason, order.alike, verdicts))
    return judged


def _comparable(first: QuantizerResult, second: QuantizerResult) -> bool:
    """Whether they have as many bits, in codebooks of one size where there are several."""
    sizes = [one.settings.get("codes_per_book") for one in (first, second)]
    return first.kind == "lattice" or (first.bits == second.bits and (None in sizes or sizes[0] == sizes[1]))


def _judge(order: _Order, first: QuantizerResult, second: QuantizerResult) -> Verdict:
    difference = first.snr_db - second.snr_db
    holds = abs(difference) <= _ALIKE_DB if order.alike else difference >= -_TIE_DB
    return Verdict(first.budget, difference, holds)


def best_by_budget(findings: Findings) -> list[QuantizerResult]:
    """Find, at every number of bits, the fitted quantizer of fixed-length codes with the highest SNR, by bits."""
    fitted = [one for one in findings.results if one.fit_s is not None and one.kind != "lattice"]
    budgets = sorted({one.budget for one in fitted})
    return [max((one for one in fitted if one.budget == budget), key=lambda one: one.snr_db) for budget in budgets]


def largest_bias(results: Sequence[QuantizerResult]) -> QuantizerResult | None:
    """The result whose entropy is the most too low."""
    return max(results, key=lambda one: one.entropy_bias_bits, default=None)
