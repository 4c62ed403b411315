"""Folders of recordings -> the corpus, the speaker and the official part of each recording.

LibriSpeech, LibriTTS, VCTK, Common Voice and LJSpeech are recognised by their layout, as their archives unpack, by
whatever folder in or above them is named. Anything else is a plain folder, in which each folder of files is a speaker.
"""

from __future__ import annotations

import csv
import hashlib
import itertools
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from vqcodec import audio
from vqcodec.errors import AudioError, ConfigError

# The named groups of a layout: `speaker`, and `part` where the corpus has official ones.
_LIBRI = r"/(?:(?P<part>train|dev|test)-(?:clean|other)[^/]*/)?(?P<speaker>\d+)/(?P<chapter>\d+)/"
_LAYOUTS = {
    "librispeech": re.compile(_LIBRI + r"(?P=speaker)-(?P=chapter)-\d+\.\w+$"),
    "libritts": re.compile(_LIBRI + r"(?P=speaker)_(?P=chapter)_\d+_\d+\.\w+$"),
    "vctk": re.compile(r"/wav48(?:_silence_trimmed)?/(?P<speaker>[ps]\d+)/(?P=speaker)_\d+(?:_mic\d)?\.\w+$"),
    "ljspeech": re.compile(r"/wavs/(?P<speaker>LJ)\d{3}-\d{4}\.\w+$"),
}
# Who numbered the speakers: LibriSpeech and LibriTTS are readings of the same people.
_REGISTERS = {"librispeech": "librivox", "libritts": "librivox"}
_SPLITS = {"train": "train", "dev": "validation", "test": "test"}

# Tables of Common Voice and the split of their speakers; where they disagree, the later one is right.
_VOICE_TABLES = {"validated": "train", "train": "train", "dev": "validation", "test": "test"}
_VOICE_NAME = re.compile(r"(common_voice_[^_]+)_\d+$")


@dataclass(frozen=True)
class Recording:
    """A sound file, and what its place on the disk says about it."""

    path: Path
    corpus: str
    """"librispeech", "libritts", "vctk", "common_voice_en" (or another language), "ljspeech", or a folder's name."""
    speaker: str
    """Unlike anybody else's in any corpus: "librivox/103" (of LibriSpeech and LibriTTS), "vctk/p225", "folder/anna"."""
    split: str | None
    """The official part it belongs to: "train", "validation", "test", or None where the corpus has no such parts."""


class Clip(Protocol):
    """A recording, or a part of one, that is ready to be trained on."""

    @property
    def recording(self) -> Recording:
        """The recording that it is taken from."""

    @property
    def samples(self) -> int:
        """Its length."""


AnyClip = TypeVar("AnyClip", bound=Clip)


def find(folders: Sequence[Path]) -> list[Recording]:
    """List the audio files in folders and below them, folder by folder, each sorted; none of them twice.

    Of Common Voice, clips that listeners have not confirmed are left out: those in none of its tables train.tsv,
    dev.tsv, test.tsv and validated.tsv.

    Raises:
        AudioError: a folder is missing, there is no audio in any of them, or a table of Common Voice is damaged.
    """
    recordings: dict[Path, Recording] = {}
    for folder in folders:
        if not folder.is_dir():
            raise AudioError(f"{folder}: no such folder")
        for recording in _recognised(folder):
            recordings.setdefault(recording.path.absolute(), recording)
    if not recordings:
        raise AudioError(f"no audio files under {', '.join(map(str, folders))}")
    return list(recordings.values())


def digest(paths: Iterable[Path], settings: Any) -> str:
    """Return 64 hexadecimal digits that stand for files as they are now, and for settings (as JSON has them)."""
    facts = [settings]
    for path in paths:
        stat = path.stat()
        facts.append([str(path.resolve()), stat.st_size, stat.st_mtime_ns])
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def legible(name: str) -> str:
    """A file name as text: bytes that are not UTF-8, which Python keeps as halves of surrogates, as "\\xff"."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def for_training(recordings: Sequence[Recording]) -> list[Recording]:
    """Select the recordings that may be trained on: not those of official validation parts or test parts.

    Raises:
        AudioError: there are none.
    """
    chosen = [recording for recording in recordings if recording.split in (None, "train")]
    if not chosen:
        names = ", ".join(sorted({recording.corpus for recording in recordings}))
        raise AudioError(f"only dev and test parts of {names} are here, which are never trained on; add others")
    return chosen


def for_validation(recordings: Sequence[Recording]) -> list[Recording]:
    """Select the recordings of official validation parts, in a fixed order that mixes their speakers."""
    chosen = (recording for recording in recordings if recording.split == "validation")
    return sorted(chosen, key=lambda recording: _shuffled(str(recording.path)))


def weights_of(corpora: Iterable[str], weights: Mapping[str, float]) -> dict[str, float]:
    """Return how much more often than its share of the audio each corpus is drawn from; by default 1.

    Raises:
        ConfigError: a weight is of a corpus that is not here, or all of them are 0.
    """
    known = sorted(set(corpora))
    for name in weights:
        if name not in known:
            raise ConfigError(f"data.weights.{name}: no such corpus in the data; there are {', '.join(known)}")
    chosen = {name: weights.get(name, 1.0) for name in known}
    if not any(chosen.values()):
        raise ConfigError("data.weights: every corpus has the weight 0, which leaves nothing to train on")
    return chosen


def divide(
    clips: Sequence[AnyClip], official: Sequence[Recording], validation_s: float, sample_rate: int
) -> tuple[list[AnyClip], list[AnyClip], float]:
    """Hold speakers out of the corpora that have no official validation part here.

    Every corpus has its share in the validation. Who is also in a corpus with an official part is not held out.

    Args:
        clips: what `for_training` leaves of the recordings.
        official: what `for_validation` leaves of them.
        validation_s: seconds of audio that are wanted for validation.
        sample_rate: samples per second of the clips.

    Returns:
        Clips for training, clips that are held out, and the seconds that are wanted of the official parts.
    """
    settled = {recording.corpus for recording in official}
    others = {clip.recording.corpus for clip in clips} - settled
    others_s = validation_s * len(others) / max(1, len(others | settled))
    taken = {clip.recording.speaker for clip in clips if clip.recording.corpus in settled}
    held = hold_out([clip for clip in clips if clip.recording.speaker not in taken], others_s, sample_rate)[1]
    return _without(clips, held), held, validation_s - others_s


def hold_out(clips: Sequence[AnyClip], validation_s: float, sample_rate: int) -> tuple[list[AnyClip], list[AnyClip]]:
    """Training and validation clips: speakers are held out whole, in a fixed order that depends on their files' names.

    Those with up to 2 % of the audio are; or with up to 10 % where there are none; or single files where there are none
    of these either.
    """
    total = sum(clip.samples for clip in clips)
    groups: dict[str, list[AnyClip]] = {}
    for clip in sorted(clips, key=_path):
        groups.setdefault(clip.recording.speaker, []).append(clip)
    files = [list(file) for group in groups.values() for _, file in itertools.groupby(group, _path)]
    units = _up_to(0.02 * total, groups.values()) or _up_to(0.1 * total, groups.values()) or files
    wanted = min(validation_s * sample_rate, 0.1 * total)
    held: list[AnyClip] = []
    for unit in sorted(units, key=lambda unit: _shuffled(_path(unit[0]))):
        if sum(clip.samples for clip in held) >= wanted or len(held) + len(unit) >= len(clips):
            break
        held += unit
    return _without(clips, held), held


def _recognised(folder: Path) -> Iterator[Recording]:
    """The audio files of one folder, sorted."""
    real = folder.resolve()  # it may be a link to the part of a corpus; the files in it may be links to anything
    tables: dict[Path, _VoiceTables | None] = {}
    for path in audio.find(folder):
        inside = path.relative_to(folder)
        place = real / inside
        if place.parent.name == "clips":
            if place.parent not in tables:
                tables[place.parent] = _VoiceTables.read(place.parent.parent)
            voices = tables[place.parent]
            if voices is not None:
                if place.name in voices.speakers:
                    yield voices.recording(path)
                continue
        yield _of_layout(path, place) or _of_folder(path, inside, real.name)


def _of_layout(path: Path, place: Path) -> Recording | None:
    for corpus, layout in _LAYOUTS.items():
        match = layout.search(place.as_posix())
        if match is not None:
            facts = match.groupdict()
            speaker = f"{_REGISTERS.get(corpus, corpus)}/{facts['speaker']}"
            return Recording(path, corpus, speaker, _SPLITS.get(facts.get("part") or ""))
    return None


def _of_folder(path: Path, inside: Path, name: str) -> Recording:
    """A file of any folder: its folder is its speaker, and the one above that, if any, its corpus."""
    names = inside.parts[:-1] if len(inside.parts) > 2 else (name, *inside.parts[:-1])
    corpus, *speaker = map(legible, names)
    return Recording(path, corpus, "/".join([corpus, *speaker]), None)


@dataclass(frozen=True)
class _VoiceTables:
    """The speakers of the clips of a language of Common Voice, and the official parts of the speakers."""

    corpus: str
    speakers: Mapping[str, str]
    """Speakers by the file names of their clips."""
    splits: Mapping[str, str]
    """Official parts by speaker."""

    @classmethod
    def read(cls, folder: Path) -> _VoiceTables | None:
        """The tables in `folder`, which lie beside its clips; None if it has none."""
        speakers: dict[str, str] = {}
        splits: dict[str, str] = {}
        for name, split in _VOICE_TABLES.items():
            table = folder / f"{name}.tsv"
            if table.is_file():
                spoken = dict(_clients(table))
                speakers |= spoken
                splits |= dict.fromkeys(spoken.values(), split)
        if not speakers:
            return None
        match = _VOICE_NAME.match(Path(next(iter(speakers))).stem)
        return cls(match[1] if match else "common_voice", speakers, splits)

    def recording(self, path: Path) -> Recording:
        client = self.speakers[path.name]
        return Recording(path, self.corpus, f"common_voice/{client}", self.splits[client])


def _clients(table: Path) -> Iterator[tuple[str, str]]:
    """File name and speaker of each line of a table of Common Voice."""
    try:
        with open(table, encoding="utf-8", newline="") as file:
            lines = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
            columns = next(lines, [])
            client, name = columns.index("client_id"), columns.index("path")
            for line in lines:
                yield line[name], line[client]
    except (OSError, ValueError, IndexError, csv.Error) as error:
        raise AudioError(f"{table}: not a readable table of Common Voice: {error}") from None


def _path(clip: Clip) -> str:
    return str(clip.recording.path)


def _up_to(samples: float, groups: Iterable[list[AnyClip]]) -> list[list[AnyClip]]:
    return [group for group in groups if sum(clip.samples for clip in group) <= samples]


def _without(clips: Sequence[AnyClip], held: Sequence[AnyClip]) -> list[AnyClip]:
    """The clips of the files that none of the others is of."""
    kept_out = {_path(clip) for clip in held}
    return [clip for clip in clips if _path(clip) not in kept_out]


def _shuffled(path: str) -> bytes:
    """A sort key that mixes files up, by their own and their folder's name wherever the corpus lies."""
    return hashlib.sha256(os.fsencode("/".join(Path(path).parts[-2:]))).digest()
