"""Pictures for a report: scores against bitrate, or another rate; spectrograms; how the codebooks are used.

Line drawings are SVG to be set into a page: their colours are the page's own (`var(--text)`, `var(--codec-0)`, ...),
so that they follow its light or dark theme. matplotlib is used without pyplot: nothing global changes.

matplotlib draws what a page shows without scripts and in print, spectrograms included; with scripts, the library of
plotly, which `html` sets into the page, makes the curves of the same `Chart` interactive.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..statistics import StageUsage

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = 8
"""Number of `--codec-N` that a page has to define; 0 is that of the codec which the report is about."""

SYMBOLS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "cross", "x", "star")
"""Symbols of the points of a curve, by their names in plotly."""

_MARKERS = dict(zip(SYMBOLS, ("o", "s", "D", "^", "v", "P", "X", "*"), strict=True))
_LOGARITHMIC_TICKS = (0.5, 0.7, 1, 1.5, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
_LOGARITHMIC_FROM = 4.0
"""Ratio of the highest to the lowest rate from which on the axis is logarithmic."""
_LEAST_CURVE_SHARE = 0.3
"""Least share of the height of a chart for the curves: a ceiling that would leave less is told in words."""
_SPECTROGRAM_COLUMNS = 600
_SPECTROGRAM_RANGE_DB = 75.0

# What matplotlib is told to draw in, and what a page makes of it.
_TEXT, _SOFT, _LINE = "#0001f0", "#0001f1", "#0001f2"
_CODECS = tuple(f"#0001{number:02x}" for number in range(COLOURS))
_THEME = {_TEXT: "var(--text)", _SOFT: "var(--soft)", _LINE: "var(--line)"} | {
    colour: f"var(--codec-{number})" for number, colour in enumerate(_CODECS)
}


@dataclass(frozen=True, kw_only=True)
class Point:
    """A system's score at its rate, with the ends of the 95 % interval."""

    label: str
    rate: float
    """Rate in the unit of the chart, kbit/s for instance; above 0 where its axis is logarithmic."""
    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A codec at its rates, lowest first."""

    label: str
    number: int
    """0 is the codec that the report is about."""
    points: tuple[Point, ...]
    limit: bool = False
    """Whether it is a line that was computed, not measured: dashed, grey and without symbols."""

    @property
    def colour(self) -> int:
        """Number of the page's `--codec-N`."""
        return colour_of(self.number)

    @property
    def symbol(self) -> str:
        """Symbol of the points."""
        return symbol_of(self.number)


@dataclass(frozen=True, kw_only=True)
class Ceiling:
    """A score to compare with that has no meaningful bitrate, such as that of the unprocessed sound."""

    label: str
    value: float


@dataclass(frozen=True, kw_only=True)
class Chart:
    """One score against the rate."""

    name: str
    title: str
    axis: str
    """Title of the vertical axis, with unit and direction."""
    curves: tuple[Curve, ...]
    ceilings: tuple[Ceiling, ...]
    rate_axis: str = "kbit/s"
    """Title of the horizontal axis."""
    straight: bool = False
    """Scores go with the rate, not with its logarithm, however far it reaches."""

    @property
    def logarithmic(self) -> bool:
        """Whether the rates reach so far that their axis is logarithmic."""
        low, high = self._rates
        return not self.straight and high / low >= _LOGARITHMIC_FROM

    @property
    def rate_range(self) -> tuple[float, float]:
        """Ends of the horizontal axis."""
        low, high = self._rates
        if self.logarithmic:
            margin = (high / low) ** 0.06
            return low / margin, high * margin
        margin = 0.06 * (high - low) or 0.5 * high
        return max(0.0, low - margin), high + margin

    @property
    def rate_ticks(self) -> list[float]:
        """Labelled places of the horizontal axis, at most eight."""
        low, high = self.rate_range
        if not self.logarithmic:
            return _round_ticks(low, high)
        ticks = [tick for tick in _LOGARITHMIC_TICKS if low <= tick <= high]
        return ticks[:: math.ceil(len(ticks) / 8)]

    @property
    def score_range(self) -> tuple[float, float]:
        """Ends of the vertical axis: all curves with their intervals, and the ceilings that are drawn."""
        low, high = self._span(self.drawn_ceilings)
        margin = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
        return low - margin, high + margin

    @property
    def drawn_ceilings(self) -> tuple[Ceiling, ...]:
        """The ceilings near enough to the curves to be lines."""
        low, high = self._span(())
        if high == low:
            return self.ceilings
        share = {one.value: (high - low) / (max(high, one.value) - min(low, one.value)) for one in self.ceilings}
        return tuple(one for one in self.ceilings if share[one.value] >= _LEAST_CURVE_SHARE)

    @property
    def far_ceilings(self) -> tuple[Ceiling, ...]:
        """The ceilings to be told in words."""
        return tuple(one for one in self.ceilings if one not in self.drawn_ceilings)

    @property
    def _rates(self) -> tuple[float, float]:
        rates = [point.rate for curve in self.curves for point in curve.points]
        return min(rates), max(rates)

    def _span(self, ceilings: Sequence[Ceiling]) -> tuple[float, float]:
        values = [end for curve in self.curves for point in curve.points for end in (point.low, point.high)]
        values += [one.value for one in ceilings]
        return min(values), max(values)


def colour_of(number: int) -> int:
    """The colour of a codec, `--codec-N` of the page: only the first has 0, the others share the rest."""
    return number if number < COLOURS else 1 + (number - 1) % (COLOURS - 1)


def symbol_of(number: int) -> str:
    """The symbol of a codec."""
    return SYMBOLS[number % len(SYMBOLS)]


def draw_chart(chart: Chart) -> str:
    """Score against rate as SVG."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(_style(chart.name)):
        figure = Figure(figsize=(4.2, 2.8), layout="constrained")
        axes = figure.subplots()
        if chart.logarithmic:
            axes.set_xscale("log")
        for place, ceiling in enumerate(chart.drawn_ceilings):
            axes.axhline(ceiling.value, color=_SOFT, linewidth=1, linestyle=(0, (4, 3)))
            side = ("right", "left", "center")[place % 3]  # apart from each other
            x = {"right": 0.99, "left": 0.01, "center": 0.5}[side]
            words = f"{ceiling.label} {ceiling.value:.3g}"
            frame = axes.get_yaxis_transform()
            axes.text(x, ceiling.value, words, transform=frame, ha=side, va="bottom", color=_SOFT, fontsize=8.5)
        for curve in reversed(chart.curves):  # the main one last, on top
            points = curve.points
            rates, values = [point.rate for point in points], [point.value for point in points]
            if curve.limit:
                axes.plot(rates, values, color=_SOFT, linewidth=1.4, linestyle=(0, (4, 3)))
                continue
            axes.errorbar(
                rates,
                values,
                yerr=[[point.value - point.low for point in points], [point.high - point.value for point in points]],
                color=_CODECS[curve.colour],
                marker=_MARKERS[curve.symbol],
                markersize=7 if curve.number == 0 else 5.5,
                linewidth=2.6 if curve.number == 0 else 1.5,
                elinewidth=1.2,
                capsize=2.5,
            )
        axes.set_xticks(chart.rate_ticks, [f"{tick:g}" for tick in chart.rate_ticks])
        axes.minorticks_off()
        axes.set_xlim(chart.rate_range)
        axes.set_ylim(chart.score_range)
        axes.set_xlabel(chart.rate_axis)
        axes.grid(color=_LINE, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[:].set_visible(False)
        return _inline_svg(figure)


def draw_usage(usage: Sequence[StageUsage]) -> str:
    """Draw how often each code of each stage is used, most used first, as a heat map in SVG."""
    from matplotlib import colormaps, rc_context
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure

    counts = np.stack([np.sort(stage.counts)[::-1] for stage in usage])  # [stage, code]
    stages, codes = counts.shape
    times_uniform = counts / counts.sum(axis=1, keepdims=True).clip(1) * codes
    with rc_context(_style("usage")):
        figure = Figure(figsize=(5.6, 1.6 + 0.17 * stages), layout="constrained")
        axes = figure.subplots()
        image = axes.imshow(
            np.ma.masked_equal(times_uniform, 0.0),
            aspect="auto",
            interpolation="none",
            cmap=colormaps["cividis"].with_extremes(bad="#8888"),
            norm=LogNorm(0.1, 10.0),
            extent=(0.5, codes + 0.5, stages + 0.5, 0.5),
        )
        axes.set_yticks(range(1, stages + 1))
        axes.set_ylabel("stage")
        axes.set_xlabel("code, most used first")
        axes.set_xlim(0.5, codes + 0.5)
        axes.spines[:].set_visible(False)
        scale = figure.colorbar(image, ax=axes, extend="both", ticks=[0.1, 0.3, 1, 3, 10], pad=0.02)
        scale.set_ticklabels(["0.1", "0.3", "1", "3", "10"])
        scale.minorticks_off()
        scale.set_label("uses, 1 = equal share")
        scale.outline.set_visible(False)
        assert scale.solids is not None
        scale.solids.set_rasterized(True)
        return _inline_svg(figure)


def levels_db(waveform: NDArray[np.float32], sample_rate: int) -> NDArray[np.float32]:
    """Magnitudes of an STFT of a waveform `[sample]`: `[frequency, frame]` from 0 Hz to half the rate, in dB; a sine of
    full scale has 0.

    The windows last about 30 ms; there are at most some 600 of them.
    """
    from scipy.signal import ShortTimeFFT
    from scipy.signal.windows import hann

    size = 2 ** round(math.log2(0.03 * sample_rate))
    hop = max(size // 8, math.ceil(len(waveform) / _SPECTROGRAM_COLUMNS))
    transform = ShortTimeFFT(hann(size, sym=False), hop, sample_rate, scale_to="magnitude", fft_mode="onesided2X")
    padded = np.pad(waveform, (0, max(0, size - len(waveform))))
    levels: NDArray[np.float32] = 10 * np.log10(np.maximum(transform.spectrogram(padded), 1e-12))
    return levels


def draw_spectrogram(levels: NDArray[np.float32], top_db: float) -> bytes:
    """A spectrogram without axes as a WebP image; `top_db` gets the brightest colour, 75 dB less the darkest."""
    from matplotlib.image import imsave

    content = io.BytesIO()
    imsave(
        content,
        levels,
        format="webp",
        origin="lower",
        cmap="magma",
        vmin=top_db - _SPECTROGRAM_RANGE_DB,
        vmax=top_db,
        pil_kwargs={"quality": 70},
    )
    return content.getvalue()


def draw_stages(counts: NDArray[np.integer], most: int) -> str:
    """Numbers of stages `[frame]` over time, from 0 to `most`, as an SVG without axes that fills the width it gets."""
    steps = " ".join(f"V{most - count}h1" for count in counts)
    label = f"Stages of the frames, {min(counts, default=0)} to {max(counts, default=0)} of {most}"
    frame = f'viewBox="0 0 {max(1, len(counts))} {most}" preserveAspectRatio="none" width="100%" height="32"'
    path = f'<path d="M0 {most}{steps}V{most}z" fill="currentColor"/>'
    return f'<svg {frame} role="img" aria-label="{label}">{path}</svg>'


def _style(salt: str) -> dict[str, object]:
    """matplotlib's settings for a drawing whose identifiers must differ from those of the others on the page."""
    return {
        "font.size": 10,
        "svg.fonttype": "none",  # text stays text, in the fonts of the page
        "svg.hashsalt": salt,
        "text.parse_math": False,
        "text.color": _TEXT,
        "axes.labelcolor": _TEXT,
        "axes.facecolor": "none",
        "figure.facecolor": "none",
        "xtick.color": _TEXT,
        "ytick.color": _TEXT,
        "xtick.major.size": 0,
        "ytick.major.size": 0,
    }


def _inline_svg(figure: Figure) -> str:
    """The figure as an `<svg>` element that has the colours of the page and no identifiers but those in use."""
    content = io.StringIO()
    figure.savefig(content, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    svg = content.getvalue()
    svg = re.sub(r"<style.*?</style>", "", svg[svg.index("<svg") :], flags=re.DOTALL)  # it would style the page
    svg = re.sub(r"#0001[0-9a-f]{2}\b", lambda found: _THEME[found[0]], svg)
    used = set(re.findall(r"(?:#|url\(#)([\w-]+)", svg))
    svg = re.sub(r' id="([^"]+)"', lambda found: found[0] if found[1] in used else "", svg)
    return re.sub(r'^<svg[^>]*?(viewBox="[^"]*")[^>]*>', r'<svg \1 xmlns:xlink="http://www.w3.org/1999/xlink">', svg)


def _round_ticks(low: float, high: float) -> list[float]:
    from matplotlib.ticker import MaxNLocator

    return [float(tick) for tick in MaxNLocator(7).tick_values(low, high) if low <= tick <= high]
