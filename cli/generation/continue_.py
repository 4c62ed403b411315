"""`vqcodec continue`: a recording, and what a prior says next."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..options import Device, Force, Model, Quiet, Threads, use_threads
from ..terminal.progress import bar
from .common import PriorFile, Repetition, Seed, Speaker, Temperature, Text, TopK, TopP, generator


def continue_(
    prompt: Annotated[Path, typer.Argument(metavar="PROMPT", help="Sound file that is continued.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Sound file: the prompt, coded, and what follows.")],
    prior: PriorFile,
    seconds: Annotated[float, typer.Option(metavar="S", min=0.0, help="To be added.")] = 5.0,
    keep: Annotated[
        float | None, typer.Option(metavar="S", min=0.0, help="Seconds of the prompt that are kept; by default all.")
    ] = None,
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
    """Continue a recording. Prompt and continuation together are no longer than the context of the prior."""
    from vqcodec.files import check_output

    check_output(out, force)
    use_threads(threads)
    settings = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "repetition_share": repetition}
    made = generator(prior, model, device, settings, speaker=speaker, text=text)
    codes = made.codes_of(prompt)
    if keep is not None:
        codes = codes[..., : round(keep * made.codec.frame_rate)]
    with bar(1.0, quiet) as update:
        longer = made.extend(codes, seconds, [seed], lambda share: update(share, "sampling"))
    made.write(out, longer[0], force)
