"""Writes `docs/RESULTS.md` and its picture from the measurements in `docs/results/`: `python docs/make_results.py`.

The measurements are `summary.json` of `vqcodec eval` and the file of `vqcodec bench --json`, copied there as
`eval.json` and `bench.json`. Nothing is measured here.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure
from pydantic import TypeAdapter

from vqcodec.recipes.benchmark.report import BenchmarkReport, load
from vqcodec.recipes.benchmark.tables import tables
from vqcodec.recipes.evaluation.analysis import is_ceiling
from vqcodec.recipes.evaluation.results import SystemSummary
from vqcodec.recipes.metrics import METRICS
from vqcodec.recipes.metrics.imitated import TRAINED_ON, TRAINED_ON_NOTE, marked
from vqcodec.recipes.statistics import Interval

DOCS = Path(__file__).resolve().parent
PICTURE = "results/quality.svg"
PANELS = 3
COLOURS = ("#1f5aa8", "#c4500c", "#0a8060", "#a8418f", "#7a6a00", "#4f4f4f", "#00808f", "#b02030")
MARKERS = "os^Dvp*X"


def main(folder: Path = DOCS) -> None:
    """Write the page and the picture into the folder; the measurements are read from where this file lies."""
    content = json.loads((DOCS / "results" / "eval.json").read_text(encoding="utf-8"))
    summaries = TypeAdapter(list[SystemSummary]).validate_python(content["systems"])
    speeds = load(DOCS / "results" / "bench.json")
    (folder / "results").mkdir(exist_ok=True)
    trained_on = trained_on_scores(content)
    draw(summaries, trained_on, folder / PICTURE)
    (folder / "RESULTS.md").write_text(page(content, summaries, speeds), encoding="utf-8")


def trained_on_scores(content: dict[str, Any]) -> frozenset[str]:
    """The scores that the model's losses imitate, as far as the measurements say so."""
    return frozenset(content["model"].get("trained_on_scores") or ())


def ordered_scores(summaries: Sequence[SystemSummary], trained_on: frozenset[str]) -> list[str]:
    """The scores that were measured, the independent ones first."""
    measured = [name for name in METRICS if any(name in one.scores for one in summaries)]
    return sorted(measured, key=lambda name: name in trained_on)


def draw(summaries: Sequence[SystemSummary], trained_on: frozenset[str], path: Path) -> None:
    """The first few scores against bitrate, a panel a score; only independent ones if there are any."""
    measured = ordered_scores(summaries, trained_on)
    shown = ([name for name in measured if name not in trained_on] or measured)[:PANELS]
    curves: dict[str, list[SystemSummary]] = {}
    for one in summaries:
        if not is_ceiling(one.system):
            curves.setdefault(one.system.codec, []).append(one)
    with rc_context({"font.size": 9, "svg.hashsalt": "vqcodec"}):
        figure = Figure(figsize=(3.3 * len(shown), 3.4), layout="constrained")
        for axes, name in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
            for place, (codec, points) in enumerate(curves.items()):
                found = [(one.bitrate_bps.value / 1000, one.scores[name]) for one in points if name in one.scores]
                axes.errorbar(
                    [rate for rate, _ in found],
                    [score.value for _, score in found],
                    yerr=[[s.value - s.low for _, s in found], [s.high - s.value for _, s in found]],
                    label=codec,
                    color=COLOURS[place % len(COLOURS)],
                    marker=MARKERS[place % len(MARKERS)],
                    markersize=5,
                    linewidth=2.4 if place == 0 else 1.2,
                    capsize=2,
                )
            axes.set_xscale("log")
            ticks = (1, 1.5, 3, 6, 12, 24, 32)
            axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
            axes.minorticks_off()
            axes.set_xlabel("kbit/s")
            axes.set_title(marked(METRICS[name].label, name in trained_on))
            axes.grid(color="#dddddd")
            axes.spines[["top", "right"]].set_visible(False)
        handles, labels = axes.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
        figure.savefig(path, metadata={"Date": None})


def page(content: dict[str, Any], summaries: Sequence[SystemSummary], speeds: BenchmarkReport) -> str:
    """The whole of RESULTS.md."""
    return "\n".join(
        [
            "# Results",
            "",
            "Written by `python docs/make_results.py` from the measurements in `docs/results/`; edit those instead.",
            "",
            *quality(content, summaries),
            *stages(content),
            *speed(speeds),
        ]
    )


def quality(content: dict[str, Any], summaries: Sequence[SystemSummary]) -> list[str]:
    """Scores of all systems."""
    trained_on = trained_on_scores(content)
    scores = [METRICS[name] for name in ordered_scores(summaries, trained_on)]
    labels = {metric.name: marked(metric.label, metric.name in trained_on) for metric in scores}
    seconds = max(one.duration_s for one in summaries)
    directions = (f"{labels[metric.name]} {'↑' if metric.higher_is_better else '↓'}" for metric in scores)
    heads = ["codec", "kbit/s", *directions, "encode", "decode"]
    model = content["model"]
    return [
        "## Quality",
        "",
        f"Measured: {content['files']} whole recordings ({seconds / 60:.1f} minutes), none of them in the"
        f" training data, at {content['sample_rate'] // 1000} kHz, through"
        f" {model['name']} ({model['parameters'] / 1e6:.1f} M parameters, fingerprint {model['fingerprint'][:16]},"
        f" effort {model['effort']}) and other codecs.",
        "",
        "Bitrates: for vqcodec, all bytes of the file, header included; for other codecs, their packets without the"
        " container. Scores: means over the files, ± half of a 95 % bootstrap interval. Compare only rows of similar"
        " bitrate. Encode and decode: times real time on one thread of a shared CPU; for programs of other codecs their"
        " start is included.",
        "",
        f"![Scores against bitrate]({PICTURE})",
        "",
        *markdown(heads, (quality_row(one, [metric.name for metric in scores]) for one in summaries)),
        "",
        *([f"{TRAINED_ON}: {TRAINED_ON_NOTE}; the independent scores come first.", ""] if trained_on else []),
        *(f"- {labels[metric.name]}: {_first_line(metric.function.__doc__)}" for metric in scores),
        "",
        "Versions: " + "; ".join(dict.fromkeys(one.system.version for one in summaries if one.system.version)) + ".",
        *[f"- {note}" for note in content["notes"]],
        "",
    ]


def quality_row(one: SystemSummary, scores: Iterable[str]) -> list[str]:
    """One system in the table."""
    found = [one.scores.get(name) for name in scores]
    cells = [f"{score.value:.3g} ± {spread(score):.1g}" if score else "–" for score in found]
    speeds = [f"{1 / cost.value:.0f} ×" if cost.value else "–" for cost in (one.encode_s, one.decode_s)]
    return [one.system.title, f"{one.bitrate_bps.value / 1000:.2f}", *cells, *speeds]


def spread(score: Interval) -> float:
    """Half the interval, rounding errors aside."""
    return score.half_width if score.half_width > 1e-6 else 0.0


def stages(content: dict[str, Any]) -> list[str]:
    """Use of the codebooks."""
    rows = (
        [str(number), f"{one['entropy_bits']:.2f}", f"{one['perplexity']:.0f}", f"{100 * one['used_share']:.0f} %"]
        for number, one in enumerate(content["stages"], start=1)
    )
    size = content["model"]["codebook_size"]
    return [
        "## Codebooks",
        "",
        f"Each stage has {size} codes. Entropies are those of single codes, over the frames that have the stage;"
        " [context coding](CONTEXT.md) takes less.",
        "",
        *markdown(["stage", "entropy, bits", "perplexity", "codes used"], rows),
        "",
    ]


def speed(report: BenchmarkReport) -> list[str]:
    """The benchmark's own tables."""
    lines = ["## Speed", "", "Measured by `vqcodec bench`: the best of the rounds, and in brackets the median.", ""]
    for table in tables(report):
        lines += [f"### {table.title}", "", *markdown(table.columns or ("", ""), table.rows), ""]
        lines += [f"{note}." for note in table.notes]
        lines += [""] if table.notes else []
    return lines


def markdown(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A table; all columns but the first are numbers."""
    line = [f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |" for cells in (heads, *rows)]
    return [line[0], "|---|" + "---:|" * (len(heads) - 1), *line[1:]]


def _first_line(text: str | None) -> str:
    return (text or "").strip().splitlines()[0]


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
