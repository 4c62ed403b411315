"""A report as tables of text. Measures nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .compare import compare, differences
from .machine import Machine
from .measurement import Figure, Group
from .report import BenchmarkReport
from .settings import BenchmarkSettings


@dataclass(frozen=True)
class Table:
    """Rows of text under a title; the first column names the row. Without names of columns it is a list of facts."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    """Sentences for below."""


def tables(report: BenchmarkReport) -> list[Table]:
    """The tables of a report, in the order of the measurements."""
    return [_facts(report), *(table for make in _MAKERS if (table := make(report)).rows), *_skipped(report)]


def comparison(old: BenchmarkReport, new: BenchmarkReport) -> Table:
    """Every figure that two reports have in common, and their ratio."""
    rows = [
        (
            change.new.key,
            _value(change.old),
            _value(change.new),
            "" if change.ratio is None else f"{change.ratio:.2f}",
            f"{100 * change.margin:.0f} %",
            change.verdict,
        )
        for change in compare(old, new)
    ]
    worse = sum(row[-1] == "worse" for row in rows)
    notes = [
        f"{worse} of {len(rows)} figures are worse, beyond the noise",
        "noise: the spread of the rounds in both reports or, if more, and for times, the change of the matrix product",
        *differences(old, new),
    ]
    return Table("Compared", ("", "before", "now", "ratio", "noise", ""), tuple(rows), tuple(notes))


def to_text(table: Table) -> str:
    """A table in plain text, columns aligned."""
    lines = [row for row in (table.columns, *table.rows) if any(row)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    sides = [">" if column else "<" for column in table.columns]
    texts = []
    for row in lines:
        cells = [f"{cell:{side}{width}}" for cell, side, width in zip(row, sides, widths, strict=True)]
        texts.append("  ".join(cells).rstrip())
    return "\n".join([table.title, *(f"  {text}" for text in (*texts, *table.notes))])


def _facts(report: BenchmarkReport) -> Table:
    m, model, settings = report.machine, report.model, report.settings
    rows = {
        "model": f"{model.name}, {model.parameters / 1e6:.2f} M parameters, fingerprint {model.fingerprint[:16]}",
        "arithmetic": model.precision,
        "processor": f"{m.cpu}, {m.instructions}, {m.cpus} usable",
        "GPU": ", ".join(m.gpus),
        "software": f"vqcodec {m.vqcodec}, torch {m.torch}, Python {m.python}, {m.platform}",
        "signal": f"{settings.seconds:g} s",
        "rounds": f"{settings.repeat}; each figure is the best of them (in brackets: the median)",
        "load average before the run": "" if m.load is None else f"{m.load:.1f}{_busy(m, settings)}",
    }
    return Table("Benchmark", ("", ""), tuple((name, text) for name, text in rows.items() if text))


def _busy(machine: Machine, settings: BenchmarkSettings) -> str:
    """A warning where others want the CPUs that the benchmark uses."""
    free = machine.cpus - max(settings.threads)
    return "; speeds may be underestimated" if (machine.load or 0) > free + 0.5 else ""


def _whole(report: BenchmarkReport) -> Table:
    note = "encode: waveform to the bytes of a .vq file, at a constant bitrate and packed plainly; decode: back"
    file = "file: a WAV file to a .vq file as `vqcodec encode` makes it, and back"
    return _pivot("Whole waveform, times real time", _of(report, "whole"), _best_and_median, _row, [note, file])


def _steps(report: BenchmarkReport) -> Table:
    figures = _of(report, "steps")
    totals: dict[tuple[str, str], float] = {}
    for each in figures:
        key = (each.name.partition(",")[0], each.place)
        totals[key] = totals.get(key, 0.0) + each.best

    def cell(figure: Figure) -> str:
        total = totals[figure.name.partition(",")[0], figure.place]
        return f"{_number(figure.best)} ({100 * figure.best / total:.0f} %)"

    note = "rest: the time of the whole minus that of its steps"
    return _pivot(f"Steps of the data path{_at(figures)}, ms per second of audio (share)", figures, cell, _name, [note])


def _streaming(report: BenchmarkReport) -> Table:
    figures = [each for each in _of(report, "streaming") if each.place]
    fixed = {each.name: each.best for each in _of(report, "streaming") if not each.place}
    block_ms = fixed.get("block", math.nan)

    def cell(figure: Figure) -> str:
        return f"{_best_and_median(figure)}, {100 * figure.best / block_ms:.0f} %"

    notes = [f"{name}: {_number(value)} ms" for name, value in fixed.items()]
    return _pivot(f"Streaming{_at(figures)}, ms for each block (median), % of its length", figures, cell, _name, notes)


def _arithmetic(report: BenchmarkReport) -> Table:
    figures = [each for each in _of(report, "arithmetic") if each.place]
    counts = [each for each in _of(report, "arithmetic") if not each.place]
    operations = "million multiply-accumulate operations per second of audio"
    notes = [f"{_row(each)}: {_number(each.best)} {operations}" for each in counts]
    return _pivot(f"Arithmetic{_at(figures)}", figures, _value, _name, notes)


def _start(report: BenchmarkReport) -> Table:
    figures = _of(report, "start")
    note = "each in its own process, OMP_NUM_THREADS=1"
    rows = [(_row(each), f"{each.best:.2f} ({each.median:.2f})") for each in figures]
    return Table("Start-up, s", ("", "s"), tuple(rows), (note,))


def _memory(report: BenchmarkReport) -> Table:
    rows = [(_row(each), f"{each.best:.0f}") for each in _of(report, "memory")]
    return Table("Memory, largest resident set of the command", ("", "MB"), tuple(rows))


def _neural(report: BenchmarkReport) -> Table:
    figures = {(each.setting, each.name): each for each in _of(report, "neural")}
    names = tuple(dict.fromkeys(name for _, name in figures))
    rows = []
    for setting in dict.fromkeys(setting for setting, _ in figures):
        found = [figures.get((setting, name)) for name in names]
        rows.append((setting, *("" if each is None else _best_and_median(each) for each in found)))
    note = "default architectures of transformers, with random weights; one thread, in the same rounds"
    return Table("Other neural codecs, times real time", ("", *names), tuple(rows), (note,))


_MAKERS: tuple[Callable[[BenchmarkReport], Table], ...] = (
    _whole,
    _steps,
    _streaming,
    _arithmetic,
    _start,
    _memory,
    _neural,
)


def _skipped(report: BenchmarkReport) -> list[Table]:
    rows = tuple((reason,) for reason in report.skipped)
    return [Table("Not measured", ("",), rows)] if rows else []


def _pivot(
    title: str,
    figures: Sequence[Figure],
    cell: Callable[[Figure], str],
    name: Callable[[Figure], str],
    notes: Sequence[str],
) -> Table:
    """A row for everything measured, a column for every place."""
    places = tuple(dict.fromkeys(each.place for each in figures))
    cells = {(name(each), each.place): cell(each) for each in figures}
    rows = [(row, *(cells.get((row, place), "") for place in places)) for row in dict.fromkeys(row for row, _ in cells)]
    return Table(title, ("", *places), tuple(rows), tuple(notes))


def _at(figures: Sequence[Figure]) -> str:
    """The one bitrate of some figures, as part of a title."""
    settings = sorted({each.setting for each in figures} - {""})
    return f" at {settings[0]}" if settings else ""


def _of(report: BenchmarkReport, group: Group) -> list[Figure]:
    return [each for each in report.figures if each.group == group]


def _name(figure: Figure) -> str:
    return figure.name


def _row(figure: Figure) -> str:
    """The name and the setting."""
    return ", ".join(filter(None, (figure.name, figure.setting)))


def _value(figure: Figure) -> str:
    return f"{_number(figure.best)} {figure.unit}"


def _best_and_median(figure: Figure) -> str:
    return f"{_number(figure.best)} ({_number(figure.median)})"


def _number(value: float) -> str:
    """Three digits, or all before the point."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
