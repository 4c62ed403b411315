"""The findings of a laboratory -> one HTML page that needs nothing else, as the evaluation report.

What the page says is computed here, how it looks is in `templates/quantizers.html`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vqcodec.files import atomic_output

from ..metrics import METRICS
from ..metrics.imitated import TRAINED_ON, TRAINED_ON_NOTE
from ..reporting import charts, html
from . import tables
from .analysis import best_by_budget, expectations, largest_bias
from .candidates import TRAINED
from .results import Findings, QuantizerResult

PAGE_NAME = "report.html"

_BOUND = "Gaussian bound"
_BOUND_POINTS = 60
_BITS, _ENTROPY = "bits a vector", "bits a vector, entropy-coded"


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """A quantizer as the page shows it; as `vqcodec.recipes.evaluation.analysis.Codec` for the templates."""

    label: str
    number: int
    results: tuple[QuantizerResult, ...]
    """Results by the number of bits."""
    ceiling: bool = False

    @property
    def main(self) -> bool:
        """The model's own."""
        return self.number == 0


@dataclass(frozen=True, kw_only=True)
class _Axes:
    """The axes of a chart, for a result and for the bound."""

    name: str
    title: str
    axis: str
    value: Callable[[QuantizerResult], float | None]
    by_entropy: bool = False
    """Bits are those of an ideal entropy coder."""
    bound: Callable[[float], float] | None = None
    """The bound as a function of bits per vector."""
    ceiling: float | None = None


def write_page(findings: Findings, folder: Path) -> Path:
    """Write the page of some findings into a folder, in place of an older one.

    Returns:
        The path of the page.

    Raises:
        ConfigError: a package is missing.
    """
    page = _render(findings)
    path = folder / PAGE_NAME
    with atomic_output(path, force=True) as output:
        output.write(page.encode())
    return path


def _render(findings: Findings) -> str:
    html.check_packages()
    contestants = _contestants(findings)
    drawn = [chart for axes in _all_axes(findings) if (chart := _chart(axes, contestants))]
    return html.render(
        "quantizers.html",
        [html.drawing(chart, _in_words(chart), _ceilings(chart.far_ceilings)) for chart in drawn],
        title=f"Quantizers on the latents of {findings.facts['model']}",
        facts=findings.facts,
        budgets=sorted({one.budget for one in findings.results}),
        compared=contestants,
        legend_label="Quantizers in the charts",
        rows=_rows(findings, contestants),
        headings=tables.columns(findings),
        best=best_by_budget(findings),
        gap=findings.gap_db,
        expectations=expectations(findings),
        scores=[findings.label(name) for name in findings.scores],
        trained_on_mark=TRAINED_ON,
        trained_on_note=TRAINED_ON_NOTE,
        scored=len(findings.files(findings.scores[0])) if findings.scores else 0,
        biased=largest_bias(findings.results),
        notes=findings.notes,
        failures=findings.failures,
    )


def _contestants(findings: Findings) -> list[Contestant]:
    """The quantizers in order; only the model's own has the number 0."""
    names = list(dict.fromkeys(one.name for one in findings.results))
    grouped = {name: sorted(findings.of(name).values(), key=lambda one: one.budget) for name in names}
    first = 0 if names and grouped[names[0]][0].kind == TRAINED else 1
    return [
        Contestant(label=grouped[name][0].title, number=number, results=tuple(grouped[name]))
        for number, name in enumerate(names, start=first)
    ]


def _all_axes(findings: Findings) -> list[_Axes]:
    """The charts of the page."""

    def mean_of(name: str) -> Callable[[QuantizerResult], float | None]:
        def mean(one: QuantizerResult) -> float | None:
            found = findings.mean(one.scores, name)
            return None if found is None else found.value

        return mean

    variance = float(np.mean(findings.variances))
    snr = _Axes(
        name="snr",
        title="SNR",
        axis="dB, higher is better",
        value=lambda one: one.snr_db,
        bound=findings.bound_db,
    )
    gap = _Axes(name="gap", title="Under the Gaussian bound", axis="dB, lower is better", value=findings.gap_db)
    snr_entropy = dataclasses.replace(snr, name="snr-entropy", title="SNR, by entropy", by_entropy=True)
    mse = _Axes(
        name="mse",
        title="MSE",
        axis="per dimension, lower is better",
        value=lambda one: one.mse,
        bound=lambda rate: variance / 10 ** (findings.bound_db(rate) / 10),
    )
    heard = [
        _Axes(
            name=f"{name}-bits",
            title=findings.label(name),
            axis=", ".join(part for part in (METRICS[name].unit, "higher is better") if part),
            value=mean_of(name),
            ceiling=_ceiling(findings, name),
        )
        for name in findings.scores
    ]
    heard_by_entropy = [
        dataclasses.replace(
            one, name=one.name.replace("-bits", "-entropy"), title=f"{one.title}, by entropy", by_entropy=True
        )
        for one in heard
    ]
    return [snr, gap, snr_entropy, mse, *heard, *heard_by_entropy]


def _ceiling(findings: Findings, name: str) -> float | None:
    mean = findings.mean(findings.unquantized.scores, name) if findings.unquantized else None
    return None if mean is None else mean.value


def _chart(axes: _Axes, contestants: Sequence[Contestant]) -> charts.Chart | None:
    """None where there is nothing to show."""
    curves = []
    for one in contestants:
        points = [
            charts.Point(
                label=f"{one.label}, {result.bits:.4g} bits",
                rate=result.entropy_bits if axes.by_entropy else result.bits,
                value=value,
                low=value,
                high=value,
            )
            for result in one.results
            if (value := axes.value(result)) is not None
        ]
        if points:
            curves.append(charts.Curve(label=one.label, number=one.number, points=tuple(points)))
    if not curves:
        return None
    if axes.bound:
        rates = [point.rate for curve in curves for point in curve.points]
        curves.append(_bound(axes.bound, min(rates), max(rates)))
    ceilings = () if axes.ceiling is None else (charts.Ceiling(label="Not quantized", value=axes.ceiling),)
    return charts.Chart(
        name=axes.name,
        title=axes.title,
        axis=axes.axis,
        curves=tuple(curves),
        ceilings=ceilings,
        rate_axis=_ENTROPY if axes.by_entropy else _BITS,
        straight=True,
    )


def _bound(bound: Callable[[float], float], low: float, high: float) -> charts.Curve:
    points = tuple(
        charts.Point(label=_BOUND, rate=rate, value=(value := bound(rate)), low=value, high=value)
        for rate in map(float, np.linspace(low, high, _BOUND_POINTS))
    )
    return charts.Curve(label=_BOUND, number=1, points=points, limit=True)


def _in_words(chart: charts.Chart) -> str:
    curves = [
        f"{curve.label}: " + ", ".join(f"{point.value:.3g} at {point.rate:.3g}" for point in curve.points)
        for curve in chart.curves
        if not curve.limit
    ]
    words = [*curves, _ceilings(chart.ceilings)] if chart.ceilings else curves
    return f"{chart.title} against {chart.rate_axis}. {'; '.join(words)}."


def _ceilings(ceilings: Sequence[charts.Ceiling]) -> str:
    return ", ".join(f"{one.label}: {one.value:.3g}" for one in ceilings)


def _rows(findings: Findings, contestants: Sequence[Contestant]) -> list[Mapping[str, Any]]:
    """The table: by bits, and in the order of the quantizers."""
    cells = list(zip(*(column.cells for column in tables.columns(findings)), strict=True))
    numbers = {one.label: one for one in contestants}
    rows = zip(findings.results, cells, strict=True)
    return [
        {"result": one, "contestant": numbers[one.title], "cells": row}
        for one, row in sorted(rows, key=lambda pair: pair[0].budget)
    ]
