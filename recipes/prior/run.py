"""From recordings or tokens to a prior: the work of `vqcodec train-prior`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vqcodec import Codec
from vqcodec.errors import ConfigError
from vqcodec.models.prior import store
from vqcodec.models.prior.base import Prior
from vqcodec.models.prior.config import PriorConfig

from ..display import Display
from . import corpus as corpora
from . import likelihood
from .corpus import Corpus
from .likelihood import Bits
from .train import Settings, fit

CHECKPOINT = "checkpoint.pt"
"""Name of the file in the cache that a training goes on from."""

_UNSEEN = 8  # uses that every code is given beside its real ones


@dataclass(frozen=True, kw_only=True)
class Work:
    """What is to be trained."""

    model: Path
    data: Sequence[Path]
    out: Path
    cache: Path
    sizes: dict[str, Any]
    """Fields of `PriorConfig` that the user chose."""
    speakers: bool = False
    """Whether the prior can be told who speaks."""
    texts: bool = False
    """Whether it can be told what is said."""
    device: str = "auto"
    resume: bool = False
    force: bool = False


def run(work: Work, settings: Settings, display: Display) -> tuple[Bits, ...]:
    """Train a prior, write it, and measure what held-out codes cost.

    Raises:
        ConfigError: the sizes do not suit the model, a transcript is missing, there is nothing to resume, a checkpoint
            is in the way, or there is too little to train on.
        VqcodecError: something cannot be read or written.
    """
    checkpoint = work.cache / CHECKPOINT
    if checkpoint.exists() and not (work.resume or work.force):
        raise ConfigError(f"{checkpoint} exists already; add --resume to go on with it, or --force to begin anew")
    codec = Codec.load(work.model, work.device, "float32")
    stages = work.sizes["num_stages"] + work.sizes.get("first_stage", 0)
    if not 1 <= stages <= codec.num_stages:
        raise ConfigError(f"{codec.name} has 1 to {codec.num_stages} stages, not {stages}")
    corpus = corpora.collect(
        codec, work.model, work.data, stages, work.cache, lambda share: display.update(share, "encoding")
    )
    if work.texts:
        corpus = corpus.with_texts()
    taught, held = corpus.divide()
    work.cache.mkdir(parents=True, exist_ok=True)
    display.message(f"{taught.frames} frames to train on, {held.frames} held out")
    prior = _prior(codec, taught, work, settings.seed)
    fit(prior, taught, settings, checkpoint, display, work.resume)
    display.update(1.0, "measuring")
    found = tuple(likelihood.compared(prior, taught, held, codec))
    facts = {
        "model": codec.name,
        "steps": settings.steps,
        "frames": settings.steps * settings.items * prior.config.context_frames,
        "held_out_bits_per_code": {bits.label: round(bits.code, 4) for bits in found},
    }
    store.save(work.out, prior, facts, work.force)
    return found


def _prior(codec: Codec, taught: Corpus, work: Work, seed: int) -> Prior:
    config = PriorConfig(
        fingerprint=codec.fingerprint,
        codebook_size=codec.codebook_size,
        frame_rate=codec.frame_rate,
        speakers=taught.speakers if work.speakers else (),
        characters=taught.characters if work.texts else "",
        **work.sizes,
    )
    torch.manual_seed(seed)
    prior = store.build(config)
    predicted = taught.codes[config.first_stage :]
    counts = [np.bincount(stage, minlength=codec.codebook_size) + _UNSEEN for stage in predicted]
    prior.begin_with(_vectors(codec, config), torch.from_numpy(np.stack(counts)))
    return prior.to(codec.device)


def _vectors(codec: Codec, config: PriorConfig) -> Tensor | None:
    """Code vectors of a stack of codebooks [stage, code, dim]; None for another bottleneck."""
    if codec.config.bottleneck != "rvq":
        return None
    books = codec.model.quantizer.books[config.first_stage : config.first_stage + config.num_stages]
    return torch.stack([book.vectors for book in books]).float()
