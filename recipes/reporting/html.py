"""Parts that all HTML pages have in common: their templates, in `templates/`, and their charts."""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vqcodec.errors import ConfigError

from . import charts

if TYPE_CHECKING:
    from jinja2 import Environment

_SIGNS = dict(zip(charts.SYMBOLS, "●■◆▲▼✚✖★", strict=True))


def check_packages() -> None:
    """Refuse what could only fail at its end, when the page is written.

    Raises:
        ConfigError: a package that reports are made with is missing.
    """
    for package in ("jinja2", "matplotlib", "plotly"):
        if importlib.util.find_spec(package) is None:
            raise ConfigError(f"a report needs the package {package}: pip install 'vqcodec[eval]'")


def environment() -> Environment:
    """The templates, which escape what is put into them and refuse names that are not given.

    Raises:
        ImportError: the package jinja2 is missing.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("vqcodec.recipes.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(colour=charts.colour_of, sign=lambda number: _SIGNS[charts.symbol_of(number)])
    return environment


def render(
    template: str, charts: Sequence[dict[str, Any]], filters: Mapping[str, Any] | None = None, **values: Any
) -> str:
    """Fill in a template that extends `page.html`.

    Args:
        template: its name.
        charts: those of the page, as from `drawing`.
        filters: further filters of the template.
        values: everything else that it shows.
    """
    from vqcodec import __version__

    filled = environment()
    filled.filters.update(filters or {})
    return filled.get_template(template).render(
        version=__version__,
        plotly=plotly_script(),
        charts=charts,
        chart_data=[chart_data(one["chart"]) for one in charts],
        **values,
    )


@functools.cache
def plotly_script() -> str:
    """The script that makes charts interactive."""
    from plotly.offline import get_plotlyjs

    script: str = get_plotlyjs()
    return script


def drawing(chart: charts.Chart, words: str, far: str = "") -> dict[str, Any]:
    """A chart for the macro `chart` of the templates.

    Args:
        words: what it shows, for those who do not see it.
        far: the ceilings that are too far away to be drawn, in words.
    """
    return {"chart": chart, "svg": charts.draw_chart(chart), "words": words, "far": far}


def chart_data(chart: charts.Chart) -> dict[str, Any]:
    """Data that the interactive chart is drawn from, by `templates/charts.js`."""
    return {
        "name": chart.name,
        "axis": chart.axis,
        "curves": [
            {**dataclasses.asdict(curve), "colour": curve.colour, "symbol": curve.symbol, "main": curve.number == 0}
            for curve in chart.curves
        ],
        "ceilings": [dataclasses.asdict(ceiling) for ceiling in chart.drawn_ceilings],
        "logarithmic": chart.logarithmic,
        "rateAxis": chart.rate_axis,
        "rateRange": chart.rate_range,
        "rateTicks": chart.rate_ticks,
        "scoreRange": chart.score_range,
    }
