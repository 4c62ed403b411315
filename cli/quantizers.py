"""`vqcodec quantizers`: the laboratory. Every quantizer on the latents of a model, at equal bits."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vqcodec.models import registry

from .options import Force, Model, Quiet
from .terminal.messages import note, say
from .terminal.progress import bar
from .terminal.tables import show_results

COLUMN_WIDTH = 12


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
        typer.Option(metavar="N", min=1, help="Worker processes, of up to 1 GB each; by default one for each core."),
    ] = None,
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Compare quantizers on the latents of a model, at equal bits.

    Fits every quantizer on one part of the recordings and measures it on another. The same command goes on after
    Ctrl-C, and computes nothing twice; --force begins anew.
    """
    budgets = _budgets(bits)
    from vqcodec.recipes import laboratory, parallel
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
            jobs=jobs or parallel.usable_cpus(),
            force=force,
            progress=update,
        )
    from vqcodec.recipes.laboratory.tables import columns, row_heads
    from vqcodec.recipes.metrics.imitated import TRAINED_ON, TRAINED_ON_NOTE

    if any(TRAINED_ON in column.heading for column in columns(found)):
        note(f"{TRAINED_ON}: {TRAINED_ON_NOTE}")
    shown = [(column.heading, column.cells) for column in columns(found)]
    show_results(("quantizer", "bits"), row_heads(found), shown, COLUMN_WIDTH)
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
