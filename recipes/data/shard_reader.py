"""Shards -> random crops: audio that outgrows the memory, read as a stream.

An epoch is a tape: all recordings end to end, shard after shard in a random order, cut into crops at even distances.
Every item of the batch has a stretch of the tape of its own, its lane, and reads along it; crops leave a lane in an
order that is mixed up over a bounded distance. Which crop comes when follows from (seed, step) and the lists of the
shards alone. So a run goes on at any step without reading what lies before it, and batches are the same in any number
of processes, each of which reads its own lanes only.
"""

from __future__ import annotations

import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from vqcodec import audio
from vqcodec.audio import Pcm
from vqcodec.errors import ConfigError, CorruptFile, VqcodecError

from ..config import Recipe
from ..distributed import World
from . import corpora, shard_format
from .augment import Sound
from .batches import BatchSource, Example, HeldOut, augmentation, example, read_samples, started, worker_settings
from .corpora import Recording
from .folders import Folders
from .pcm_cache import Report
from .shard_format import Entry

SAMPLE_BYTES = 2


def open_source(
    recipe: Recipe, folders: Sequence[Path], cache: Path, report: Report, noise: Sequence[Path] = ()
) -> BatchSource:
    """The source that suits the folders: shards that `prepare` wrote, or recordings of any kind.

    Arguments and errors are those of `Shards` and `Folders`.

    Raises:
        ConfigError: some of the folders hold shards, others do not.
    """
    prepared = [folder for folder in folders if shard_format.is_corpus(folder)]
    if not prepared:
        return Folders(recipe, folders, cache, report, noise)
    others = [folder for folder in folders if folder not in prepared]
    if others:
        raise ConfigError(
            f"{prepared[0]} holds shards and {others[0]} does not; prepare that one, too, or leave it out"
        )
    return Shards(recipe, folders, cache, report, noise)


class Shards:
    """Folders of shards as a source of batches.

    Validation is on the official validation parts that are in them; of the other corpora, speakers are held out.
    Recordings that are damaged are named and passed over: the one behind them on the tape takes their place.

    Args:
        recipe: how much is held out, weights of the corpora, crops and what is done to them.
        folders: as `prepare` wrote them.
        cache: folder for decoded noise.
        report: takes lines of news.
        noise: folders of background noise, searched recursively.

    Raises:
        AudioError: nothing in the shards may be trained on.
        ConfigError: the shards have another sample rate than the model; a weight is of an unknown corpus.
        CorruptFile: an index or a list is damaged, or a shard is missing.
    """

    def __init__(
        self, recipe: Recipe, folders: Sequence[Path], cache: Path, report: Report, noise: Sequence[Path] = ()
    ) -> None:
        self.recipe, self.report = recipe, report
        self.augment = augmentation(recipe, noise, cache, report)
        self.catalogue, stored = _open(folders, recipe.model.sample_rate)
        recordings = [clip.recording for clip in stored]
        allowed = set(corpora.for_training(recordings))
        weights = corpora.weights_of((recording.corpus for recording in allowed), recipe.data.weights)
        clips = [clip for clip in stored if clip.recording in allowed and weights[clip.recording.corpus] > 0]
        official, sample_rate = corpora.for_validation(recordings), recipe.model.sample_rate
        training, held, official_s = corpora.divide(clips, official, recipe.data.validation_s, sample_rate)
        held += _first(official, stored, round(official_s * sample_rate))
        self.held_out: Sequence[Example] = HeldOut(
            [partial(self.catalogue.waveform, row) for row in self._readable(held)], self.augment
        )
        self.shares = np.zeros(len(stored))
        self._amounts = Counter[str]()
        for clip in training:
            self.shares[clip.row] = clip.samples * weights[clip.recording.corpus]
            self._amounts[clip.recording.corpus] += clip.samples

    def describe(self) -> str:
        """The amounts of audio, in a few words."""
        hour = 3600 * self.recipe.model.sample_rate
        hours = ", ".join(f"{name} {samples / hour:.2g} h" for name, samples in self._amounts.most_common())
        return f"{len(self.catalogue.tars)} shards ({hours}), {len(self.held_out)} recordings held out"

    def batches(self, steps: range, world: World, seed: int) -> Iterator[Example]:
        """Yield this process's share of the batches of these steps [batch, 1, sample], the same in every call."""
        lanes = world.share(self.recipe.data.batch_size)
        workers = min(self.recipe.data.workers, len(lanes))
        reader = _LaneReader(self, steps, lanes, seed)
        parts = started(
            DataLoader(reader, batch_size=None, **worker_settings(workers))
        )  # each step comes in as many parts as there are workers, which take turns
        told: set[str] = set()
        for _ in steps:
            together: list[_WorkerBatch] = [next(parts) for _ in range(max(1, workers))]
            for problem in [problem for part in together for problem in part.problems if problem not in told]:
                told.add(problem)
                self.report(f"skipped: {problem}")
            yield _joined([part.batch for part in together])

    def _readable(self, held: Sequence[_StoredClip]) -> list[int]:
        """The rows of those of the held-out recordings that are whole."""
        whole = []
        for clip in held:
            try:
                self.catalogue.flac(clip.row)
            except VqcodecError as error:
                self.report(f"skipped: {error}")
            else:
                whole.append(clip.row)
        return whole


class Catalogue:
    """The places of all recordings, as columns of numbers: objects would take more memory than the audio in use."""

    def __init__(self, tars: Sequence[Path], entries: Sequence[Sequence[Entry]]) -> None:
        self.tars = list(tars)
        self.first_rows = np.cumsum([0, *map(len, entries)])
        """First row of each shard, and the row behind the last."""
        columns = [(entry.offset, entry.bytes, entry.crc32, entry.facts.samples) for part in entries for entry in part]
        self._columns = np.array(columns, np.int64).reshape(-1, 4)

    def rows(self, shard: int) -> NDArray[np.int64]:
        """The recordings of a shard, in their order."""
        return np.arange(self.first_rows[shard], self.first_rows[shard + 1])

    def flac(self, row: int) -> bytes:
        """A recording as it lies in its shard.

        Raises:
            CorruptFile: it is damaged, or the shard is cut short or cannot be read.
        """
        name, (offset, size, crc32, _) = self.name(row), self._columns[row].tolist()
        try:
            with open(self._tar(row), "rb") as file:
                file.seek(offset)
                data = file.read(size)
        except OSError as error:
            raise CorruptFile(f"{name} cannot be read ({error.strerror or error})") from error
        if zlib.crc32(data) != crc32:
            raise CorruptFile(f"{name} is damaged" if len(data) == size else f"{name} is cut short")
        return data

    def pcm(self, row: int) -> Pcm:
        """A recording [sample].

        Raises:
            CorruptFile: as `flac` does.
            AudioError: it is not a FLAC file.
        """
        return audio.from_flac(self.flac(row), self.name(row), int(self._columns[row, 3]))

    def waveform(self, row: int) -> Sound:
        """A recording as floats [sample]; the errors are those of `pcm`."""
        return audio.from_pcm(self.pcm(row))

    def name(self, row: int) -> str:
        """Return what a recording is called in messages."""
        return f"{self._tar(row)}: the recording at byte {self._columns[row, 0]}"

    def _tar(self, row: int) -> Path:
        return self.tars[int(np.searchsorted(self.first_rows, row, side="right")) - 1]


class Tape:
    """One epoch: recordings end to end, cut into crops at even distances.

    Args:
        catalogue: where recordings lie.
        shares: how much of the tape each has, relative to the others; 0 where it does not take part [recording].
        crops: how many there are.
        rng: draws the order of the shards and where the first crop begins.
    """

    def __init__(self, catalogue: Catalogue, shares: NDArray[np.float64], crops: int, rng: np.random.Generator) -> None:
        rows = np.concatenate([catalogue.rows(shard) for shard in rng.permutation(len(catalogue.tars))])
        self.rows = rows[shares[rows] > 0]
        ends = np.cumsum(shares[self.rows])
        self._ends = ends * (crops / ends[-1])  # in crops
        self._phase = rng.random()

    def locate(self, crops: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The places on the tape of the recordings that crops are of, and where in these they begin, 0 to 1."""
        positions = crops + self._phase
        places = np.minimum(np.searchsorted(self._ends, positions, side="right"), len(self.rows) - 1)
        begins = np.where(places > 0, self._ends[places - 1], 0.0)
        return places, ((positions - begins) / (self._ends[places] - begins)).clip(0, 1)


def mixed(crops: int, distance: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """The numbers 0, 1, ... in an order in which none is more than `distance` places from where it was."""
    return np.argsort(np.arange(crops) + rng.uniform(0, max(1, distance), crops), kind="stable")


class _WorkerBatch(NamedTuple):
    """A worker's part of the batch of a step."""

    batch: Example
    problems: list[str]
    """Descriptions of the damage on the way."""


@dataclass(frozen=True)
class _StoredClip:
    """A recording in the catalogue and what is known of it, for the time in which it is decided what is trained on."""

    recording: Recording
    row: int
    samples: int


class _LaneReader(IterableDataset[_WorkerBatch]):
    """The crops of some lanes, step by step; in a worker, of the worker's part of them."""

    def __init__(self, shards: Shards, steps: range, lanes: range, seed: int) -> None:
        data = shards.recipe.data
        self.catalogue, self.shares, self.augment = shards.catalogue, shards.shares, shards.augment
        self.steps, self.lanes, self.seed = steps, lanes, seed
        self.batch_size, self.samples = data.batch_size, read_samples(shards.recipe)
        self.lane_crops = max(1, int(self.shares.sum() / self.samples / data.batch_size))
        """Crops of a lane in an epoch."""
        self.distance = int(data.buffer_mb * 1e6 / (SAMPLE_BYTES * self.samples * data.batch_size))
        self.damaged: dict[int, str] = {}
        """Descriptions of damaged recordings, by their rows."""

    def __iter__(self) -> Iterator[_WorkerBatch]:
        info = get_worker_info()
        lanes = self.lanes
        if info is not None:
            edges = np.linspace(lanes.start, lanes.stop, info.num_workers + 1).astype(int).tolist()
            lanes = range(edges[info.id], edges[info.id + 1])
        told = 0
        for step, crops in zip(self.steps, self._crops(lanes), strict=False):
            batch = [self._example(step, lane, crop) for lane, crop in zip(lanes, crops, strict=True)]
            problems = list(self.damaged.values())[told:]
            told += len(problems)
            yield _WorkerBatch(Example(*map(torch.stack, zip(*batch, strict=True))), problems)

    def _example(self, step: int, lane: int, crop: Pcm) -> Example:
        rng = np.random.default_rng([self.seed, step * self.batch_size + lane])
        return example(self.augment(audio.from_pcm(crop), rng))

    def _crops(self, lanes: range) -> Iterator[tuple[Pcm, ...]]:
        """A crop [sample] of each lane for the first step, for the next, and so on through the epochs."""
        epoch, position = divmod(self.steps.start, self.lane_crops)
        while True:
            crops = self.lane_crops * self.batch_size
            tape = Tape(self.catalogue, self.shares, crops, np.random.default_rng([self.seed, epoch, 1]))
            yield from zip(*(self._lane(tape, lane, epoch, position) for lane in lanes), strict=True)
            epoch, position = epoch + 1, 0

    def _lane(self, tape: Tape, lane: int, epoch: int, position: int) -> Iterator[Pcm]:
        """The crops of one lane from a position in the epoch on; those that were read ahead wait for their turn."""
        order = mixed(self.lane_crops, self.distance, np.random.default_rng([self.seed, epoch, 2 + lane]))
        to_come = np.sort(order[position:])
        along = zip(to_come.tolist(), self._read(tape, lane * self.lane_crops + to_come), strict=True)
        waiting: dict[int, Pcm] = {}
        for crop in order[position:].tolist():
            while crop not in waiting:
                number, pcm = next(along)
                waiting[number] = pcm
            yield waiting.pop(crop)

    def _read(self, tape: Tape, crops: NDArray[np.int64]) -> Iterator[Pcm]:
        """Crops [sample] in the order of the tape: each recording is decoded once."""
        places, fractions = tape.locate(crops)
        last, pcm = -1, np.zeros(0, np.int16)
        for place, fraction in zip(places.tolist(), fractions.tolist(), strict=True):
            if place != last:
                last, pcm = place, self._decode(tape, place)
            start = int(fraction * max(0, len(pcm) - self.samples))
            crop = np.zeros(self.samples, np.int16)
            cut = pcm[start : start + self.samples]
            crop[: len(cut)] = cut
            yield crop

    def _decode(self, tape: Tape, place: int) -> Pcm:
        """The recording at a place of the tape or, if it is damaged, the first behind it that is not."""
        for ahead in range(len(tape.rows)):
            row = int(tape.rows[(place + ahead) % len(tape.rows)])
            if row not in self.damaged:
                try:
                    return self.catalogue.pcm(row)
                except VqcodecError as error:
                    self.damaged[row] = str(error)
        raise CorruptFile(f"no recording in {self.catalogue.tars[0].parent} is readable; prepare the corpus again")


def _open(folders: Sequence[Path], sample_rate: int) -> tuple[Catalogue, list[_StoredClip]]:
    tars: list[Path] = []
    entries: list[list[Entry]] = []
    stored: list[_StoredClip] = []
    for folder in folders:
        shard_rate, shards = shard_format.read_index(folder)
        if shard_rate != sample_rate:
            advice = f"prepare them with --sample-rate {sample_rate}"
            raise ConfigError(f"{folder}: these shards have {shard_rate} Hz, the model has {sample_rate}; {advice}")
        for tar in shards:
            part = shard_format.read_shard(tar).entries
            for row, entry in enumerate(part, len(stored)):
                facts = entry.facts
                recording = Recording(folder / facts.path, facts.corpus, facts.speaker, facts.split)
                stored.append(_StoredClip(recording, row, facts.samples))
            tars.append(tar)
            entries.append(part)
    return Catalogue(tars, entries), stored


def _first(official: Sequence[Recording], stored: Sequence[_StoredClip], samples: int) -> list[_StoredClip]:
    """Select all parts of the first files that together have this many samples."""
    parts: defaultdict[Recording, list[_StoredClip]] = defaultdict(list)
    for clip in stored:
        parts[clip.recording].append(clip)
    chosen: list[_StoredClip] = []
    missing = samples
    for recording in dict.fromkeys(official):
        if missing <= 0:
            break
        chosen += parts[recording]
        missing -= sum(part.samples for part in parts[recording])
    return chosen


def _joined(parts: Sequence[Example]) -> Example:
    """One batch out of the workers' parts of it."""
    batch = parts[0] if len(parts) == 1 else Example(*map(_concatenated, zip(*parts, strict=True)))
    return Example(*(waveform.pin_memory() for waveform in batch)) if torch.cuda.is_available() else batch


def _concatenated(waveforms: Sequence[Tensor]) -> Tensor:
    return torch.cat(list(waveforms))
