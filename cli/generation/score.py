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
    import torch
    from torch import Tensor

    from vqcodec.recipes.prior.likelihood import log_likelihood

    def line(name: str, bits: Tensor) -> str:
        stages = " ".join(f"{value:.2f}" for value in bits.mean(1).tolist())
        second = float(bits.sum()) * made.codec.frame_rate / bits.shape[1]
        mean, likelihood = float(bits.mean()), log_likelihood(bits)
        return f"{name}: {mean:.3f} bits a code ({stages}), {second:.0f} bits a second, log-likelihood {likelihood:.1f}"

    found = []
    for path in recordings:
        found.append(made.bits(made.codes_of(path)))
        show(line(str(path), found[-1]))
    if len(found) > 1:
        show(line("all", torch.cat(found, 1)))
