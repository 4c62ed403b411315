"""`vqcodec train-context`: recordings -> a context model, which makes the files of a model smaller."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vqcodec.models import registry

from .options import Device, Force, Quiet
from .terminal.messages import note, say
from .terminal.progress import News, bar

if TYPE_CHECKING:
    from vqcodec.recipes.context.train import Bits

STEPS = 4000


def train_context(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model that ships, or a .safetensors file.")],
    data: Annotated[
        list[Path],
        typer.Option("--data", metavar="DIR", help="Folder of recordings, searched recursively."),
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="The model file to write, context model included.")
    ],
    cache: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder for codes and the checkpoint; by default beside FILE, named like it."),
    ] = None,
    steps: Annotated[int, typer.Option(metavar="N", min=1, help="Steps of training.")] = STEPS,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint.")] = False,
    device: Device = "auto",
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Train a context model on the codes of speech, and write it with the model into one file.

    Files are then coded in about three quarters of the bits, and sound the same. The codec itself stays as it is.
    Ctrl-C stops with a checkpoint, from which --resume goes on; codes are computed once.
    """
    from vqcodec.files import check_output

    check_output(out, force)
    folder = cache or out.with_suffix(".context")
    from vqcodec.recipes import context

    with bar(1.0, quiet) as update:
        trained = context.run(
            registry.find(model),
            data,
            out,
            cache=folder,
            steps=steps,
            resume=resume,
            device=device,
            force=force,
            display=News(update, quiet),
        )
    if not quiet:
        for text in trained.notes:
            note(text)
        for bits in trained.bits:
            say(line(bits))


def line(bits: Bits) -> str:
    """One line about what held-out codes cost."""
    stages = " ".join("-" if math.isnan(value) else f"{value:.2f}" for value in bits.stages)
    return f"{bits.label}: {bits.share:.3f} of the bits; count {bits.count:.2f}, stages {stages}"
