"""`vqcodec bench`: how fast the codec is on this machine."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from vqcodec.files import STANDARD_STREAM, check_output, open_output
from vqcodec.models import registry

from .options import Force, Model, Precision
from .terminal import progress
from .terminal.messages import printable

if TYPE_CHECKING:
    from vqcodec.recipes.benchmark.settings import BenchmarkSettings
    from vqcodec.recipes.benchmark.tables import Table

ALL = "all"

_STYLES = {"better": "green", "worse": "red"}


def bench(
    model: Model = None,
    seconds: Annotated[
        float | None, typer.Option(min=1, max=3600, help="Length of the synthetic signal; 30 by default.")
    ] = None,
    devices: Annotated[
        str | None, typer.Option("--device", metavar="cpu,cuda", help="Where to compute; all there are by default.")
    ] = None,
    precision: Precision = "auto",
    threads: Annotated[str, typer.Option(metavar="N,all", help="Numbers of threads on the CPU.")] = f"1,{ALL}",
    bitrates: Annotated[
        str | None, typer.Option(metavar="KBPS,...", help="In kbit/s; 1.5,3,6 by default. The nearest are used.")
    ] = None,
    repeat: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Rounds, of which the best is shown; 5 by default.")
    ] = None,
    neural: Annotated[
        bool | None, typer.Option("--neural/--no-neural", help="Measure EnCodec, DAC and Mimi beside, if installed.")
    ] = None,
    processes: Annotated[
        bool | None, typer.Option("--processes/--no-processes", help="Measure start-up and memory of the commands.")
    ] = None,
    minutes: Annotated[
        str | None, typer.Option(metavar="N,...", help="Lengths of files whose memory is measured; 1 by default.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="5 s, 2 rounds, no other codecs or processes, unless asked for.")
    ] = False,
    json: Annotated[
        str | None, typer.Option("--json", metavar="FILE", help="Write all figures as JSON; - is standard output.")
    ] = None,
    compare: Annotated[
        Path | None, typer.Option(metavar="OLD.json", help="Show every figure beside that of an earlier run.")
    ] = None,
    force: Force = False,
) -> None:
    """Measure speed, latency, memory and arithmetic of the codec, beside other codecs.

    What is compared runs in turn, round by round. Leave the machine alone meanwhile: it takes minutes.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # numpy's own threads would wait in loops beside torch's
    counts = [word if word == ALL else _integer(word, "--threads") for word in _words(threads)]
    given = {
        "seconds": seconds,
        "devices": None if devices is None else tuple(_words(devices)),
        "precision": precision,
        "bitrates": None if bitrates is None else tuple(_number(word, "--bitrates") for word in _words(bitrates)),
        "repeat": repeat,
        "neural": neural,
        "processes": processes,
        "minutes": None if minutes is None else tuple(_integer(word, "--minutes") for word in _words(minutes)),
    }
    if json is not None and json != STANDARD_STREAM:
        check_output(json, force)
    from vqcodec.recipes import benchmark
    from vqcodec.recipes.benchmark import report, tables

    old = None if compare is None else report.load(compare)
    settings = _settings(given, counts, quick)
    with progress.bar(1.0, quiet=False, lines=True) as update:
        new = benchmark.run(model or registry.DEFAULT, settings, update)
    if json is not None:
        with open_output(json, force) as file:
            file.write(report.to_json(new))
    shown = tables.tables(new)
    if old is not None:
        shown.append(tables.comparison(old, new))
    _show(shown, sys.stderr if json == STANDARD_STREAM else sys.stdout)


def _settings(given: Mapping[str, Any], threads: Sequence[int | str], quick: bool) -> BenchmarkSettings:
    """The defaults, changed where something was given."""
    from vqcodec.recipes import parallel
    from vqcodec.recipes.benchmark import machine
    from vqcodec.recipes.benchmark.settings import QUICK, BenchmarkSettings

    everything = {
        "devices": machine.devices(),
        "threads": tuple(dict.fromkeys(parallel.usable_cpus() if count == ALL else count for count in threads)),
        **{name: value for name, value in given.items() if value is not None},
    }
    return dataclasses.replace(QUICK if quick else BenchmarkSettings(), **everything)


def _words(text: str) -> list[str]:
    """The words of a list with commas."""
    return [word.strip() for word in text.split(",") if word.strip()]


def _number(word: str, option: str) -> float:
    try:
        return float(word)
    except ValueError:
        raise typer.BadParameter(f"{word!r} is not a number", param_hint=option) from None


def _integer(word: str, option: str) -> int:
    try:
        return int(word)
    except ValueError:
        raise typer.BadParameter(f"{word!r} is not a whole number", param_hint=option) from None


def _show(tables: Sequence[Table], stream: TextIO) -> None:
    """Print tables, with lines and colours on a terminal."""
    if stream.isatty():
        _show_on_terminal(tables, stream)
        return
    from vqcodec.recipes.benchmark.tables import to_text

    lines = "\n\n".join(to_text(table) for table in tables).split("\n")
    print("\n".join(map(printable, lines)), file=stream)


def _show_on_terminal(tables: Sequence[Table], stream: TextIO) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    console = Console(file=stream, highlight=False)
    for table in tables:
        shown = RichTable(box=box.SIMPLE_HEAD, show_header=any(table.columns), show_edge=False)
        for column in table.columns:
            shown.add_column(column, justify="right" if column else "left")
        for row in table.rows:
            shown.add_row(*(Text(printable(cell), _STYLES.get(cell, "")) for cell in row))
        console.print(table.title, style="bold", markup=False)
        console.print(shown)
        for note in table.notes:
            console.print(f"  {note}", style="dim", markup=False)
        console.print()
