"""Folders of audio -> random crops.

A corpus is decoded once, at the codec's rate and in 16 bits, into one file that is mapped into memory: reading
a crop then costs next to nothing, in any number of processes.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from vqcodec import audio
from vqcodec.errors import AudioError, ConfigError
from vqcodec.files import atomic_output

from ..config import Recipe
from ..distributed import World
from . import corpora
from .augment import Augment, Pair
from .corpora import Recording

Report = Callable[[str], None]

PCM_SCALE = 32_768


class Example(NamedTuple):
    """What the codec hears and what it is to give back: of one item [1, sample], or of a batch [batch, 1, sample]."""

    waveform: Tensor
    target: Tensor


class Source(Protocol):
    """Where a run's audio comes from."""

    held_out: Sequence[Example]
    """Whole recordings for validation [1, sample], of speakers that training does not hear; read when asked for."""

    def batches(self, steps: range, world: World, seed: int) -> Iterator[Example]:
        """This process's share of the batches of these steps [batch, 1, sample], the same whenever asked for."""

    def describe(self) -> str:
        """The amounts of audio, in a few words."""


@dataclass(frozen=True)
class Clip:
    """One decoded recording in the corpus."""

    recording: Recording
    start: int
    """First sample in the corpus."""
    samples: int


class Corpus:
    """Decoded audio files, mono and end to end, at one sample rate."""

    def __init__(self, file: Path, clips: Sequence[Clip]) -> None:
        self._pcm: NDArray[np.int16] = np.memmap(file, dtype="<i2", mode="r")
        self.clips = list(clips)

    def read(self, clip: Clip, start: int = 0, samples: int | None = None) -> NDArray[np.float32]:
        """Samples `start`, `start + 1`, ... of a clip [sample], zero-padded behind its end."""
        wanted = clip.samples - start if samples is None else samples
        end = min(start + wanted, clip.samples)
        pcm = self._pcm[clip.start + start : clip.start + end]
        waveform = np.zeros(wanted, np.float32)
        waveform[: len(pcm)] = pcm.astype(np.float32) / PCM_SCALE
        return waveform

    @classmethod
    def build(cls, recordings: Sequence[Recording], sample_rate: int, cache: Path, report: Report) -> Corpus:
        """Decode recordings into `cache`, or find that done already.

        Channels are mixed down. Files that cannot be read are skipped, named and counted through `report`.

        Raises:
            AudioError: none of them is readable.
        """
        paths = [recording.path for recording in recordings]
        stem = cache / f"corpus_{_digest(paths, sample_rate)}"
        pcm, index = stem.with_suffix(".pcm"), stem.with_suffix(".json")
        if not index.exists():
            cache.mkdir(parents=True, exist_ok=True)
            _decode_all(paths, sample_rate, pcm, index, report)
        by_path = {str(recording.path): recording for recording in recordings}
        entries = json.loads(index.read_text(encoding="utf-8"))
        clips = [Clip(by_path[path], start, samples) for path, start, samples in entries]
        if not clips:
            raise AudioError(f"none of the {len(paths)} audio files is readable, such as {paths[0]}")
        return cls(pcm, clips)


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

    def __init__(self, corpus: Corpus) -> None:
        self.corpus = corpus
        self.draw = Draw([clip.samples for clip in corpus.clips])

    def crop(self, samples: int, rng: np.random.Generator) -> NDArray[np.float32]:
        """Some of it [sample]; a recording that is too short begins again."""
        clip = self.corpus.clips[self.draw(rng)]
        start = int(rng.integers(max(1, clip.samples - samples + 1)))
        return np.resize(self.corpus.read(clip, start, min(samples, clip.samples)), samples)


class Crops(Dataset[Example]):
    """Endless random crops: item i is drawn with a generator seeded by (seed, i), so order is part of no state.

    Args:
        corpus: where they are read from.
        clips: those of its clips that take part. One is drawn as often as it is long, times its corpus's weight.
        samples: of a crop.
        augment: what is done to crops.
        seed: of the run.
        weights: by the names of corpora, as `corpora.weights_of` returns them; alike if None.
    """

    def __init__(
        self,
        corpus: Corpus,
        clips: Sequence[Clip],
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


class Recordings(Sequence[Example]):
    """Whole clips, each with the corpus it is in, read when asked for, for validation."""

    def __init__(self, clips: Sequence[tuple[Corpus, Clip]], augment: Augment) -> None:
        self.clips, self.augment = list(clips), augment

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> Example:  # type: ignore[override]
        corpus, clip = self.clips[index]
        return example(self.augment.held_out(corpus.read(clip), index))


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
        found = corpora.find(folders)
        training = corpora.for_training(found)
        self.weights = corpora.weights_of((recording.corpus for recording in training), recipe.data.weights)
        self.corpus = Corpus.build(training, recipe.model.sample_rate, cache, report)
        clips = [clip for clip in self.corpus.clips if self.weights[clip.recording.corpus] > 0]
        official, rate = corpora.for_validation(found), recipe.model.sample_rate
        self.clips, held, official_s = corpora.divide(clips, official, recipe.data.validation_s, rate)
        recordings = [(self.corpus, clip) for clip in held]
        if chosen := _first(official, official_s):
            part = Corpus.build(chosen, rate, cache, report)
            recordings += [(part, clip) for clip in part.clips]
        self.held_out: Sequence[Example] = Recordings(recordings, self.augment)

    def describe(self) -> str:
        """The amounts of audio, in a few words."""
        samples: Counter[str] = Counter()
        for clip in self.clips:
            samples[clip.recording.corpus] += clip.samples
        rate = 3600 * self.recipe.model.sample_rate
        hours = ", ".join(f"{name} {amount / rate:.2g} h" for name, amount in samples.most_common())
        return f"{len(self.clips)} clips ({hours}), {len(self.held_out)} held out"

    def batches(self, steps: range, world: World, seed: int) -> Iterator[Example]:
        """This process's share of the batches of these steps [batch, 1, sample], the same whenever asked for."""
        data = self.recipe.data
        crops = Crops(self.corpus, self.clips, crop_samples(self.recipe), self.augment, seed, self.weights)
        mine = world.share(data.batch_size)
        loader = DataLoader(
            crops,
            batch_sampler=([step * data.batch_size + item for item in mine] for step in steps),
            num_workers=data.workers,
            pin_memory=torch.cuda.is_available(),
            worker_init_fn=leave_signals_to_the_trainer,
        )
        return iter(loader)


def augmentation(recipe: Recipe, noise: Sequence[Path], cache: Path, report: Report) -> Augment:
    """What the recipe does to crops; folders of noise are decoded like a corpus.

    Raises:
        AudioError: a folder is missing or holds no readable audio.
        ConfigError: folders of noise are given but not used, or the effects contradict each other.
    """
    rate, background = recipe.model.sample_rate, None
    if noise:
        if not recipe.augment.noise:
            raise ConfigError("folders of noise are given, but augment.noise is 0: set the share of crops that have it")
        background = Noise(Corpus.build(corpora.find(noise), rate, cache, report))
    return Augment(recipe.augment, recipe.data.gain_db, rate, background)


def example(pair: Pair) -> Example:
    """What `Augment` returns, as tensors [1, sample]."""
    waveform = torch.from_numpy(pair.waveform)[None]
    return Example(waveform, waveform if pair.target is pair.waveform else torch.from_numpy(pair.target)[None])


def crop_samples(recipe: Recipe) -> int:
    """Samples of a crop: whole frames, and the codec's delay on top."""
    config = recipe.model
    return config.hop_length * config.num_frames(round(recipe.data.crop_s * config.sample_rate))


def leave_signals_to_the_trainer(_: int) -> None:
    """Ctrl-C goes to every process of a terminal: a worker that died of it would take the trainer along."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _first(recordings: Sequence[Recording], duration_s: float) -> list[Recording]:
    """As many of the first ones as together last so long, by their headers; unreadable ones are passed over."""
    chosen: list[Recording] = []
    missing_s = duration_s
    for recording in recordings:
        if missing_s <= 0:
            break
        with contextlib.suppress(AudioError), audio.Reader(recording.path) as reader:
            missing_s -= reader.duration_s
            chosen.append(recording)
    return chosen


def _digest(paths: Sequence[Path], sample_rate: int) -> str:
    facts: list[Any] = [sample_rate]
    for path in paths:
        stat = path.stat()
        facts.append([str(path.resolve()), stat.st_size, stat.st_mtime_ns])
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def _decode_all(paths: Sequence[Path], sample_rate: int, pcm: Path, index: Path, report: Report) -> None:
    """Write the corpus and, last of all, its index: an index stands only beside a whole corpus."""
    entries: list[tuple[str, int, int]] = []  # path, first sample, samples
    start, skipped = 0, 0
    with open(pcm, "wb") as file, ThreadPoolExecutor(os.cpu_count()) as pool:
        for number, (path, decoded) in enumerate(_in_order(pool, paths, sample_rate)):
            if isinstance(decoded, AudioError):
                skipped += 1
                report(f"skipped: {decoded}")
                continue
            file.write(decoded.tobytes())
            entries.append((str(path), start, len(decoded)))
            start += len(decoded)
            if number % 1000 == 999:
                report(f"decoded {number + 1} of {len(paths)} files")
    hours = start / sample_rate / 3600
    report(
        f"{len(entries)} files, {hours:.2f} h of audio" + (f"; {skipped} unreadable ones skipped" if skipped else "")
    )
    with atomic_output(index, force=True) as output:
        output.write(json.dumps(entries).encode())


def _in_order(
    pool: ThreadPoolExecutor, paths: Sequence[Path], sample_rate: int
) -> Iterator[tuple[Path, NDArray[np.int16] | AudioError]]:
    """Decode in parallel, a bounded number of files ahead of their use."""
    for first in range(0, len(paths), 256):
        part = paths[first : first + 256]
        yield from zip(part, pool.map(lambda path: _decode(path, sample_rate), part), strict=True)


def _decode(path: Path, sample_rate: int) -> NDArray[np.int16] | AudioError:
    try:
        waveform, _ = audio.read(path, sample_rate)
    except AudioError as error:
        return error
    mono = waveform.mean(0)
    pcm: NDArray[np.int16] = np.round(mono.clip(-1, 1) * (PCM_SCALE - 1)).astype("<i2")
    return pcm
