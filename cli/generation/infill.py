"""`vqcodec infill`: a recording with a gap -> the same with something in it that fits."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..options import Device, Force, Model, Quiet, Threads, use_threads
from ..terminal.progress import bar
from .common import PriorFile, Repetition, Seed, Speaker, Temperature, Text, TopK, TopP, generator


def infill(
    recording: Annotated[Path, typer.Argument(metavar="IN", help="Sound file.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Sound file: IN, coded, and the gap filled.")],
    prior: PriorFile,
    start: Annotated[float, typer.Option("--from", metavar="S", min=0.0, help="Where the gap begins, in seconds.")],
    end: Annotated[float, typer.Option("--to", metavar="S", min=0.0, help="Where it ends.")],
    temperature: Temperature = 1.0,
    top_k: TopK = None,
    top_p: TopP = 1.0,
    repetition: Repetition = 1.0,
    seed: Seed = 0,
    speaker: Speaker = None,
    text: Text = None,
    model: Model = None,
    device: Device = "auto",
    threads: Threads = None,
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Fill a gap of a recording from what is on both sides of it. All other codes stay as they are."""
    from vqcodec.files import check_output

    check_output(out, force)
    use_threads(threads)
    settings = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "repetition_share": repetition}
    made = generator(prior, model, device, settings, speaker=speaker, text=text)
    codes = made.codes_of(recording)
    with bar(1.0, quiet) as update:
        filled = made.fill(codes, start, end, seed, lambda share: update(share, "sampling"))
    made.write(out, filled[0], force)
