"""`vqcodec quantizers`: the laboratory. Every quantizer on the latents of a model, at equal bits."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vqcodec.models import registry

from .messages import note, say
from .options import Force, Model, Quiet
from .progress import bar

if TYPE_CHECKING:
    from vqcodec.recipes.laboratory import Findings

COLUMN_WIDTH = 12
UNLIMITED = 10_000


def quantizers(
    out: Annotated[Path, typer.Option("--out", metavar="REPORT", help="Folder for the latents, results and report.")],
    data: Annotated[
        list[Path], typer.Option("--data", metavar="DIR", help="Folder of recordings to measure on; repeatable.")
    ],
    fit: Annotated[
        list[Path] | None,
        typer.Option("--fit", metavar="DIR", help="Folder to fit on; by default other speakers of --data. Repeatable."),
    ] = None,
    model: Model = None,
    bits: Annotated[
        str, typer.Option(metavar="N,...", help="Bits a vector, of fixed-length codes.")
    ] = "10,20,40,80,120",
    kinds: Annotated[
        str | None,
        typer.Option(
            metavar="KIND,...",
            help="Which quantizers: trained (the model's own), scalar, kmeans, lbg, tree, lvq, product, opq, residual,"
            " additive, composite, lattice; all by default.",
        ),
    ] = None,
    minutes: Annotated[float, typer.Option(metavar="N", help="Minutes of sound to fit on.")] = 30,
    scores: Annotated[
        bool, typer.Option("--scores/--no-scores", help="Decode what is quantized, and score the sound.")
    ] = True,
    jobs: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Worker processes, of up to 1 GB each; by default one a core."),
    ] = None,
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Compare quantizers on the latents of a model, at equal bits.

    Fits every quantizer on one part of the recordings and measures it on another. The same command goes on after
    Ctrl-C, and computes nothing twice; --force begins anew.
    """
    budgets = _budgets(bits)
    from vqcodec.recipes import cpus, laboratory
    from vqcodec.recipes.reporting import html

    html.check_packages()
    with bar(1.0, quiet) as update:
        found = laboratory.run(
            data,
            out,
            fit=fit or [],
            model=model or registry.DEFAULT,
            bits=budgets,
            kinds=[kind.strip() for kind in kinds.split(",")] if kinds else [],
            minutes=minutes,
            scores=scores,
            jobs=jobs or cpus.usable_cpus(),
            force=force,
            progress=update,
        )
    _show(found)
    if not quiet:
        for text in found.notes:
            note(text)
    for failure in found.failures:
        note(f"{failure.title} at {failure.budget} bits failed: {failure.reason}")
    from vqcodec.recipes.laboratory import report

    say(f"report: {report.write_page(found, out)}")


def _budgets(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise typer.BadParameter("bits are whole numbers, as in 20,40,80", param_hint="--bits") from None


def _show(found: Findings) -> None:
    """Print the results on standard output, in as many tables as its width needs."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from vqcodec.recipes.imitated import TRAINED_ON, TRAINED_ON_NOTE
    from vqcodec.recipes.laboratory.tables import columns, row_heads

    console = Console(width=None if sys.stdout.isatty() else UNLIMITED)
    heads, rest = row_heads(found), columns(found)
    if any(TRAINED_ON in column.heading for column in rest):
        note(f"{TRAINED_ON}: {TRAINED_ON_NOTE}")
    room = console.width - max((len(head) for head, _ in heads), default=0) - COLUMN_WIDTH
    while rest:
        fitting = max(1, room // COLUMN_WIDTH)
        shown, rest = rest[:fitting], rest[fitting:]
        table = Table("quantizer", box=box.SIMPLE_HEAD)
        for heading in ("bits", *(column.heading for column in shown)):
            table.add_column(heading, justify="right", no_wrap=True)
        for place, (head, bits) in enumerate(heads):
            table.add_row(head, bits, *(column.cells[place] for column in shown))
        console.print(table)
