"""`vqcodec score`: how likely a prior finds recordings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..options import Device, Model, Threads, use_threads
from ..terminal.messages import show
from .common import PriorFile, Speaker, Text, generator


def score(
    recordings: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Sound files.")],
    prior: PriorFile,
    speaker: Speaker = None,
    text: Text = None,
    model: Model = None,
    device: Device = "auto",
    threads: Threads = None,
) -> None:
    """Show the likelihood of recordings under a prior: bits a code and a second, and the logarithm of the probability.

    Each code is predicted from those before it. Fewer bits mean that the recording is more like what was trained on.
    """
    use_threads(threads)
    made = generator(prior, model, device, {}, speaker=speaker, text=text)
    from vqcodec.recipes.prior.likelihood import log_likelihood

    for path in recordings:
        bits = made.bits(made.codes_of(path))
        stages = " ".join(f"{value:.2f}" for value in bits.mean(1).tolist())
        a_second = float(bits.sum()) * made.codec.frame_rate / bits.shape[1]
        show(
            f"{path}: {float(bits.mean()):.3f} bits a code ({stages}), {a_second:.0f} bits a second,"
            f" log-likelihood {log_likelihood(bits):.1f}"
        )
