"""Folders of audio -> random crops.

A corpus is decoded once, at the codec's rate and in 16 bits, into one file that is mapped into memory: reading
a crop then costs next to nothing, in any number of processes.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
from collections.abc import Callable, Iterator, Sequence
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
from vqcodec.errors import AudioError

from .config import Recipe
from .distributed import World

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
    """One decoded file in the corpus."""

    path: str
    start: int
    """First sample in the corpus."""
    samples: int

    @property
    def group(self) -> str:
        """The folder it lay in: most corpora keep a speaker in a folder."""
        return os.path.dirname(self.path)


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
    def build(cls, folders: Sequence[Path], sample_rate: int, cache: Path, report: Report) -> Corpus:
        """Decode every audio file under the folders into `cache`, or find that done already.

        Channels are mixed down. Files that cannot be read are skipped, named and counted through `report`.

        Raises:
            AudioError: a folder is missing, or holds no readable audio.
        """
        paths = [path for folder in folders for path in _audio_files(folder)]
        if not paths:
            raise AudioError(f"no audio files under {', '.join(map(str, folders))}")
        stem = cache / f"corpus_{_digest(paths, sample_rate)}"
        pcm, index = stem.with_suffix(".pcm"), stem.with_suffix(".json")
        if not index.exists():
            cache.mkdir(parents=True, exist_ok=True)
            _decode_all(paths, sample_rate, pcm, index, report)
        clips = [Clip(*entry) for entry in json.loads(index.read_text(encoding="utf-8"))]
        if not clips:
            raise AudioError(f"none of the {len(paths)} audio files under {', '.join(map(str, folders))} is readable")
        return cls(pcm, clips)


def split(clips: Sequence[Clip], validation_s: float, sample_rate: int) -> tuple[list[Clip], list[Clip]]:
    """Training and validation clips: whole folders are held out, in a fixed order that depends on their names.

    A folder with more than 2 % of the audio is never held out; where that leaves none, single files are.
    """
    total = sum(clip.samples for clip in clips)
    groups: dict[str, list[Clip]] = {}
    for clip in sorted(clips, key=lambda clip: clip.path):
        groups.setdefault(clip.group, []).append(clip)
    small = [group for group in groups.values() if sum(clip.samples for clip in group) <= 0.02 * total]
    units = small or [[clip] for group in groups.values() for clip in group]
    wanted = min(validation_s * sample_rate, 0.1 * total)
    held: list[Clip] = []
    for unit in sorted(units, key=lambda unit: _shuffled(unit[0].path)):
        if sum(clip.samples for clip in held) >= wanted or len(held) + len(unit) >= len(clips):
            break
        held += unit
    kept_out = set(held)
    return [clip for clip in clips if clip not in kept_out], held


class Crops(Dataset[Example]):
    """Endless random crops: item i is drawn with a generator seeded by (seed, i), so order is part of no state."""

    def __init__(
        self, corpus: Corpus, clips: Sequence[Clip], samples: int, gain_db: tuple[float, float], seed: int
    ) -> None:
        self.corpus, self.clips = corpus, list(clips)
        self.samples, self.gain_db, self.seed = samples, gain_db, seed
        lengths = np.array([clip.samples for clip in self.clips], np.float64)
        self.cumulative = np.cumsum(lengths / lengths.sum())

    def __getitem__(self, index: int) -> Example:
        """A crop [1, sample]; a clip is chosen as often as it is long."""
        rng = np.random.default_rng([self.seed, index])
        chosen = int(np.searchsorted(self.cumulative, rng.random(), side="right"))
        clip = self.clips[min(chosen, len(self.clips) - 1)]
        start = int(rng.integers(max(1, clip.samples - self.samples + 1)))
        waveform = self.corpus.read(clip, start, self.samples) * 10 ** (rng.uniform(*self.gain_db) / 20)
        crop = torch.from_numpy(waveform.clip(-1, 1).astype(np.float32))[None]
        return Example(crop, crop)


class Recordings(Sequence[Example]):
    """Whole clips, read when asked for."""

    def __init__(self, corpus: Corpus, clips: Sequence[Clip]) -> None:
        self.corpus, self.clips = corpus, list(clips)

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> Example:  # type: ignore[override]
        waveform = torch.from_numpy(self.corpus.read(self.clips[index]))[None]
        return Example(waveform, waveform)


class Folders:
    """Folders of recordings as a source of batches."""

    def __init__(self, recipe: Recipe, folders: Sequence[Path], cache: Path, report: Report) -> None:
        rate = recipe.model.sample_rate
        self.recipe = recipe
        self.corpus = Corpus.build(folders, rate, cache, report)
        self.clips, held_out = split(self.corpus.clips, recipe.data.validation_s, rate)
        self.held_out = Recordings(self.corpus, held_out)

    def describe(self) -> str:
        """The amounts of audio, in a few words."""
        return f"{len(self.clips)} clips, {len(self.held_out)} held out"

    def batches(self, steps: range, world: World, seed: int) -> Iterator[Example]:
        """This process's share of the batches of these steps [batch, 1, sample], the same whenever asked for."""
        data = self.recipe.data
        crops = Crops(self.corpus, self.clips, crop_samples(self.recipe), data.gain_db, seed)
        mine = world.share(data.batch_size)
        loader = DataLoader(
            crops,
            batch_size=len(mine),
            sampler=[step * data.batch_size + item for step in steps for item in mine],
            num_workers=data.workers,
            pin_memory=torch.cuda.is_available(),
            worker_init_fn=_leave_signals_to_the_trainer,
        )
        return iter(loader)


def crop_samples(recipe: Recipe) -> int:
    """Samples of a crop: whole frames, and the codec's delay on top."""
    config = recipe.model
    return config.hop_length * config.num_frames(round(recipe.data.crop_s * config.sample_rate))


def _leave_signals_to_the_trainer(_: int) -> None:
    """Ctrl-C goes to every process of a terminal: a worker that died of it would take the trainer along."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _shuffled(path: str) -> bytes:
    """A sort key that mixes files up, by their own and their folder's name wherever the corpus lies."""
    return hashlib.sha256("/".join(Path(path).parts[-2:]).encode()).digest()


def _audio_files(folder: Path) -> Iterator[Path]:
    if not folder.is_dir():
        raise AudioError(f"{folder}: no such folder")
    yield from audio.find(folder)


def _digest(paths: Sequence[Path], sample_rate: int) -> str:
    facts: list[Any] = [sample_rate]
    for path in paths:
        stat = path.stat()
        facts.append([str(path.resolve()), stat.st_size, stat.st_mtime_ns])
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def _decode_all(paths: Sequence[Path], sample_rate: int, pcm: Path, index: Path, report: Report) -> None:
    """Write the corpus and, last of all, its index: an index stands only beside a whole corpus."""
    clips, start, skipped = [], 0, 0
    with open(pcm, "wb") as file, ThreadPoolExecutor(os.cpu_count()) as pool:
        for number, (path, decoded) in enumerate(_in_order(pool, paths, sample_rate)):
            if isinstance(decoded, AudioError):
                skipped += 1
                report(f"skipped: {decoded}")
                continue
            file.write(decoded.tobytes())
            clips.append(Clip(str(path), start, len(decoded)))
            start += len(decoded)
            if number % 1000 == 999:
                report(f"decoded {number + 1} of {len(paths)} files")
    hours = start / sample_rate / 3600
    report(f"{len(clips)} files, {hours:.2f} h of audio" + (f"; {skipped} unreadable ones skipped" if skipped else ""))
    temporary = index.with_suffix(".tmp")
    temporary.write_text(json.dumps([[c.path, c.start, c.samples] for c in clips]), encoding="utf-8")
    os.replace(temporary, index)


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
