"""Batches of crops: their type, their sources, and the augmentation of the crops in them."""

from __future__ import annotations

import atexit
import math
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from vqcodec.errors import ConfigError

from ..config import Recipe
from ..distributed import World
from ..parallel import interruptions_wait
from . import corpora
from .augment import SPEEDS, Augment, Pair, Sound
from .pcm_cache import PcmCache, Report

T = TypeVar("T")


class Example(NamedTuple):
    """The input and the target of the codec: an item [1, sample], or a batch [batch, 1, sample]."""

    waveform: Tensor
    target: Tensor


class BatchSource(Protocol):
    """A source of a run's audio."""

    held_out: Sequence[Example]
    """Whole recordings for validation [1, sample], of speakers that training does not hear; read when asked for."""

    def batches(self, steps: range, world: World, seed: int) -> Iterator[Example]:
        """Yield this process's share of the batches of these steps [batch, 1, sample], the same in every call."""

    def describe(self) -> str:
        """The amounts of audio, in a few words."""


class HeldOut(Sequence[Example]):
    """Whole recordings for validation, read when asked for; they have effects only with `augment.denoise`.

    Args:
        readers: a function for each recording that reads it [sample].
        augment: what is done to recordings.
    """

    def __init__(self, readers: Sequence[Callable[[], Sound]], augment: Augment) -> None:
        self.readers, self.augment = list(readers), augment

    def __len__(self) -> int:
        return len(self.readers)

    def __getitem__(self, index: int) -> Example:  # type: ignore[override]
        return example(self.augment.held_out(self.readers[index](), index))


class Draw:
    """Draws numbers 0, 1, ... as often as their weights say."""

    def __init__(self, weights: Sequence[float]) -> None:
        shares = np.array(weights, np.float64)
        self.cumulative = np.cumsum(shares / shares.sum())

    def __call__(self, rng: np.random.Generator) -> int:
        """One of them."""
        drawn = int(np.searchsorted(self.cumulative, rng.random(), side="right"))
        return min(drawn, len(self.cumulative) - 1)


class Noise:
    """Recorded background noise; a recording is drawn as often as it is long."""

    def __init__(self, corpus: PcmCache) -> None:
        self.corpus = corpus
        self.draw = Draw([clip.samples for clip in corpus.clips])

    def crop(self, samples: int, rng: np.random.Generator) -> Sound:
        """Return some of it [sample]; a recording that is too short begins again."""
        clip = self.corpus.clips[self.draw(rng)]
        start = int(rng.integers(max(1, clip.samples - samples + 1)))
        return np.resize(self.corpus.read(clip, start, min(samples, clip.samples)), samples)


def augmentation(recipe: Recipe, noise: Sequence[Path], cache: Path, report: Report) -> Augment:
    """Make the effects that the recipe asks for; folders of noise are decoded like a corpus.

    Raises:
        AudioError: a folder is missing or holds no readable audio.
        ConfigError: folders of noise are given but not used, or the effects contradict each other.
    """
    sample_rate, background = recipe.model.sample_rate, None
    if noise:
        if not recipe.augment.noise:
            raise ConfigError("folders of noise are given, but augment.noise is 0: set the share of crops that have it")
        background = Noise(PcmCache.build(corpora.find(noise), sample_rate, cache, report))
    return Augment(recipe.augment, recipe.data.gain_db, sample_rate, background, crop_samples(recipe))


def example(pair: Pair) -> Example:
    """Turn what `Augment` returns into tensors [1, sample]."""
    waveform = torch.from_numpy(pair.waveform)[None]
    return Example(waveform, waveform if pair.target is pair.waveform else torch.from_numpy(pair.target)[None])


def crop_samples(recipe: Recipe) -> int:
    """Samples of a crop: whole frames, and the codec's delay on top."""
    config = recipe.model
    return config.hop_length * config.num_frames(round(recipe.data.crop_s * config.sample_rate))


def read_samples(recipe: Recipe) -> int:
    """Samples that are read for a crop: more than it has if it may be played faster."""
    return math.ceil(crop_samples(recipe) * (SPEEDS[1] if recipe.augment.speed else 1))


def random_batch(recipe: Recipe, device: torch.device) -> Example:
    """Make a batch of noise as large as those of a run."""
    generator = torch.Generator().manual_seed(recipe.run.seed)
    noise = torch.randn(recipe.data.batch_size, 1, crop_samples(recipe), generator=generator)
    waveform = (0.1 * noise).clamp(-1, 1).to(device)
    return Example(waveform, waveform)


def started(loader: DataLoader[T]) -> Iterator[T]:
    """Start the workers of a loader, which are deaf to Ctrl-C from the first."""
    with interruptions_wait():
        return iter(loader)


def worker_settings(workers: int) -> dict[str, Any]:
    """Settings of a `DataLoader` for its workers: new processes, as a fork of one that has computed may hang."""
    start = {"multiprocessing_context": "spawn", "worker_init_fn": obey_the_trainer} if workers else {}
    return {"num_workers": workers, **start}


def obey_the_trainer(_: int) -> None:
    """Prepare a worker to live and to end as the trainer wants.

    Ctrl-C goes to every process of a terminal: a worker that died of it would take the trainer along. And when the
    trainer has enough, a worker may still be handing a batch over in a thread, which Python before 3.14 would cut off
    in the middle of torch's code at its end: the process would abort. So it ends at once.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    atexit.register(os._exit, 0)
