"""`vqcodec sample`: a prior -> sounds out of nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..options import Device, Force, Model, Quiet, Threads, use_threads
from ..terminal.progress import bar
from .common import PriorFile, Repetition, Seed, Speaker, Temperature, Text, TopK, TopP, generator


def sample(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Sound file; with --count, OUT-1, OUT-2 and so on.")],
    prior: PriorFile,
    seconds: Annotated[float, typer.Option(metavar="S", min=0.0, help="Length of a sound.")] = 5.0,
    fine: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A prior of the later stages (`train-prior --given`)."),
    ] = None,
    count: Annotated[int, typer.Option(metavar="N", min=1, help="Sounds, made side by side.")] = 1,
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
    """Sample sounds from a prior. Each has a seed of its own, which begins with --seed and counts up."""
    from vqcodec.files import check_output

    names = [out] if count == 1 else [out.with_stem(f"{out.stem}-{number}") for number in range(1, count + 1)]
    for name in names:
        check_output(name, force)
    use_threads(threads)
    settings = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "repetition_share": repetition}
    made = generator(prior, model, device, settings, fine, speaker=speaker, text=text)
    with bar(1.0, quiet) as update:
        codes = made.sample(seconds, range(seed, seed + count), lambda share: update(share, "sampling"))
    for name, item in zip(names, codes, strict=True):
        made.write(name, item, force)
