"""Training of context models: recordings -> the codes of a model -> a network that predicts them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..display import Display
    from .train import Bits

CHECKPOINT = "checkpoint.pt"
"""Name of the file in the cache that a training goes on from."""


@dataclass(frozen=True, kw_only=True)
class Trained:
    """How a training went."""

    bits: tuple[Bits, ...]
    """What held-out codes cost."""
    notes: tuple[str, ...]
    """Why recordings were left out."""


def run(
    model: Path,
    folders: Sequence[Path],
    out: Path,
    *,
    cache: Path,
    steps: int,
    resume: bool,
    device: str,
    force: bool,
    display: Display,
) -> Trained:
    """Train a context model for a model file, and write both into one.

    Args:
        model: the file; its own context model, if any, makes no difference.
        folders: of recordings.
        out: the file to write.
        cache: folder for the codes, which are computed once, and for the checkpoint.
        steps: of training.
        resume: go on from the checkpoint.
        device: to compute on, as in `Codec.load`.
        force: overwrite `out`, and a checkpoint of another training.
        display: is told how it goes.

    Raises:
        ConfigError: the model has no stack of codebooks, or there is nothing to resume, or too little to train on.
        AudioError: there are no recordings.
        VqcodecError: something cannot be written.
    """
    import numpy as np

    from vqcodec.codec import Codec
    from vqcodec.errors import ConfigError
    from vqcodec.models.context import store

    from . import codes
    from .train import Settings, fit, measure, start

    checkpoint = cache / CHECKPOINT
    if checkpoint.exists() and not (resume or force):
        raise ConfigError(f"{checkpoint} exists already; add --resume to go on with it, or --force to begin anew")
    codec = Codec.load(model, device, "float32")
    recordings, others = codes.find(folders)
    amount = len(recordings) + len(others)
    display.message(f"{amount} recordings, {len(others)} of them held out")
    taught, notes = codes.collect(codec, recordings, cache, lambda share: display.update(share, "encoding"))
    held, more = codes.collect(codec, others, cache, lambda share: display.update(share, "encoding"))
    vectors = np.stack([book.vectors.half().cpu().numpy() for book in codec.model.quantizer.books])
    settings = Settings(steps=steps)
    network = start(taught, vectors, settings.seed).to(next(codec.model.parameters()).device)
    fit(network, taught, settings, checkpoint, display, resume)
    store.attach(model, out, network.config, network.tensors(), force)
    return Trained(bits=tuple(measure(network, held)), notes=(*notes, *more))
