"""Folders of audio -> random crops."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from vqcodec import audio
from vqcodec.errors import AudioError

from ..config import Recipe
from ..distributed import World
from . import corpora
from .augment import Augment
from .batches import Draw, Example, HeldOut, augmentation, example, read_samples, started, worker_settings
from .corpora import Recording
from .pcm_cache import CachedClip, PcmCache, Report


class Crops(Dataset[Example]):
    """Endless random crops: item i is drawn with a generator seeded by (seed, i), so order is part of no state.

    Args:
        corpus: where they are read from.
        clips: those of its clips that take part. One is drawn as often as it is long, times its corpus's weight.
        samples: read for a crop.
        augment: what is done to crops.
        seed: of the run.
        weights: by the names of corpora, as `corpora.weights_of` returns them; alike if None.
    """

    def __init__(
        self,
        corpus: PcmCache,
        clips: Sequence[CachedClip],
        samples: int,
        augment: Augment,
        seed: int,
        weights: Mapping[str, float] | None = None,
    ) -> None:
        weight_of = weights or {clip.recording.corpus: 1.0 for clip in clips}
        self.draw = Draw([clip.samples * weight_of[clip.recording.corpus] for clip in clips])
        self.corpus, self.clips, self.samples, self.augment, self.seed = corpus, list(clips), samples, augment, seed

    def __getitem__(self, index: int) -> Example:
        """A crop [1, sample]."""
        rng = np.random.default_rng([self.seed, index])
        clip = self.clips[self.draw(rng)]
        start = int(rng.integers(max(1, clip.samples - self.samples + 1)))
        return example(self.augment(self.corpus.read(clip, start, self.samples), rng))


class Folders:
    """Folders of recordings as a source of batches.

    Validation is on the official parts of corpora that have them here; of the other corpora, speakers are held out.
    Official test parts are left alone.

    Args:
        recipe: how much is held out, weights of the corpora, crops and what is done to them.
        folders: of recordings, searched recursively.
        cache: folder for the decoded recordings.
        report: takes lines of news.
        noise: folders of background noise, searched recursively.

    Raises:
        AudioError: a folder is missing, or holds no readable audio, or nothing that may be trained on.
        ConfigError: a weight is of an unknown corpus; noise is given but not used; the effects contradict each other.
    """

    def __init__(
        self, recipe: Recipe, folders: Sequence[Path], cache: Path, report: Report, noise: Sequence[Path] = ()
    ) -> None:
        self.recipe = recipe
        self.augment = augmentation(recipe, noise, cache, report)
        recordings = corpora.find(folders)
        training = corpora.for_training(recordings)
        self.weights = corpora.weights_of((recording.corpus for recording in training), recipe.data.weights)
        self.corpus = PcmCache.build(training, recipe.model.sample_rate, cache, report)
        clips = [clip for clip in self.corpus.clips if self.weights[clip.recording.corpus] > 0]
        official, sample_rate = corpora.for_validation(recordings), recipe.model.sample_rate
        self.clips, held, official_s = corpora.divide(clips, official, recipe.data.validation_s, sample_rate)
        readers = [partial(self.corpus.read, clip) for clip in held]
        if chosen := _first(official, official_s):
            part = PcmCache.build(chosen, sample_rate, cache, report)
            readers += [partial(part.read, clip) for clip in part.clips]
        self.held_out: Sequence[Example] = HeldOut(readers, self.augment)

    def describe(self) -> str:
        """The amounts of audio, in a few words."""
        samples: Counter[str] = Counter()
        for clip in self.clips:
            samples[clip.recording.corpus] += clip.samples
        hour = 3600 * self.recipe.model.sample_rate
        hours = ", ".join(f"{name} {amount / hour:.2g} h" for name, amount in samples.most_common())
        return f"{len(self.clips)} clips ({hours}), {len(self.held_out)} held out"

    def batches(self, steps: range, world: World, seed: int) -> Iterator[Example]:
        """Yield this process's share of the batches of these steps [batch, 1, sample], the same in every call."""
        data = self.recipe.data
        crops = Crops(self.corpus, self.clips, read_samples(self.recipe), self.augment, seed, self.weights)
        mine = world.share(data.batch_size)
        loader = DataLoader(
            crops,
            batch_sampler=([step * data.batch_size + item for item in mine] for step in steps),
            pin_memory=torch.cuda.is_available(),
            **worker_settings(data.workers),
        )
        return started(loader)


def _first(recordings: Sequence[Recording], duration_s: float) -> list[Recording]:
    """Select the first recordings that together last so long, by their headers; unreadable files are passed over."""
    chosen: list[Recording] = []
    missing_s = duration_s
    for recording in recordings:
        if missing_s <= 0:
            break
        with contextlib.suppress(AudioError), audio.Reader(recording.path) as reader:
            missing_s -= reader.duration_s
            chosen.append(recording)
    return chosen
