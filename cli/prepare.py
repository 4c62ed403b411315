"""`vqcodec prepare`: recordings -> shards to train on, and a report of what they hold."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import Quiet
from .terminal.messages import note, printable, say, show
from .terminal.progress import bar

if TYPE_CHECKING:
    from vqcodec.recipes.data.inventory import CorpusSummary, Inventory

WIDTH = 200
"""Width of the tables without a terminal."""


def prepare(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR", help="Folders of recordings, searched recursively.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="SHARDS", help="Folder for the shards.")],
    sample_rate: Annotated[int, typer.Option(metavar="HZ", help="Of everything in the shards.")] = 16_000,
    shard_mb: Annotated[float, typer.Option(metavar="MB", help="Size at which a shard is full.")] = 256.0,
    silence_db: Annotated[float, typer.Option(metavar="DB", help="Level, against full scale, of silence.")] = -50.0,
    longest_pause: Annotated[float, typer.Option(metavar="S", help="Cut silence that is longer than this.")] = 1.0,
    shortest: Annotated[float, typer.Option(metavar="S", help="Drop sounds that are shorter than this.")] = 0.2,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    force: Annotated[bool, typer.Option("--force", "-f", help="Begin anew where there are shards.")] = False,
    quiet: Quiet = False,
) -> None:
    """Decode, resample and clean recordings once, and pack them into shards for `vqcodec train RECIPE --data SHARDS`.

    Long silence is cut out, and silent files and duplicates are dropped. After an interruption the same command goes on
    where it was.
    """
    from vqcodec.recipes.data.cleaning import CleaningSettings
    from vqcodec.recipes.data.prepare import plan, run

    settings = CleaningSettings(sample_rate, shard_mb, silence_db, longest_pause, shortest)
    preparation = plan(folders, out, settings, force)
    files = len(preparation.recordings)
    if preparation.done and not quiet:
        note(f"going on: {preparation.sources_done} of {files} files are in {len(preparation.done)} shards already")
    report = (lambda text: None) if quiet else note
    with bar(files, quiet) as update:
        inventory = run(preparation, report, lambda done, text: update(done, f"{done} of {files} files  {text}"))
    if as_json:
        show(json.dumps(inventory.to_dict(), indent=2))
    elif not quiet:
        _show(inventory)
    if not quiet:
        size = f"{inventory.bytes / 1e6:.1f} MB in {inventory.shards} shards"
        say(f"prepared: {inventory.total.hours:.2f} h, {size}; train with --data {out}")


def _show(inventory: Inventory) -> None:
    """Print the report on standard output: how much there is of each corpus, then what it was made of."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    for cells in (_amounts, _origins):
        table = Table(box=box.SIMPLE_HEAD, show_footer=len(inventory.corpora) > 1)
        table.add_column("corpus", "all", no_wrap=True)
        for heading, footer in cells(inventory.total).items():
            table.add_column(heading, footer, justify="right")
        for name, summary in inventory.corpora.items():
            table.add_row(Text(printable(name)), *cells(summary).values())
        console.print(table)


def _amounts(summary: CorpusSummary) -> dict[str, str]:
    """The cells of a corpus by their headings: what is kept of it."""
    apart = {name: hours for name, hours in summary.hours_by_split.items() if name in ("validation", "test")}
    return {
        "files": str(summary.files),
        "kept": str(summary.kept),
        "speakers": str(summary.speakers),
        "hours": f"{summary.hours:.2f}",
        "not trained on": ", ".join(f"{name} {hours:.2f}" for name, hours in apart.items()) or "–",
        "silence cut": f"{summary.hours_silent:.2f}",
    }


def _origins(summary: CorpusSummary) -> dict[str, str]:
    """The cells of a corpus by their headings: what its files were like, and what was dropped."""
    low, median, high = summary.level_db
    return {
        "sample rates": ", ".join(f"{rate / 1000:g} kHz × {n}" for rate, n in summary.source_rates.items()) or "–",
        "level dB": f"{median:.0f} ({low:.0f} to {high:.0f})" if summary.recordings else "–",
        "clipped": f"{summary.clipped / max(1, summary.recordings):.1%}",
        "dropped": ", ".join(f"{count} {reason}" for reason, count in sorted(summary.dropped.items())) or "–",
    }
