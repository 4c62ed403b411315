"""Folders of sound, or tokens that are there already -> the codes that a prior learns from."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vqcodec import Codec
from vqcodec.errors import ConfigError, ModelMismatch

from ..tokenization import local, outputs, plan
from ..tokenization.job import PARTS, Job
from .transcripts import Transcripts

EFFORT = 1
"""Width of the search for codes: with 1, the first stages are the same as without the others."""

_HELD_OUT = 0.025
"""Share of the frames that is held out."""

_PART_S, _PART_ITEMS = 1200.0, 1000


@dataclass(frozen=True, eq=False)
class Recording:
    """The codes of a channel of a recording, and what is known of it."""

    codes: NDArray[np.uint16]
    """[stage, frame]"""
    name: str
    speaker: str
    text: str = ""


@dataclass(frozen=True, eq=False)
class Corpus:
    """Recordings, those of a speaker one behind the other."""

    recordings: Sequence[Recording]

    @cached_property
    def codes(self) -> NDArray[np.uint16]:
        """Of all recordings, joined [stage, frame]."""
        return np.concatenate([recording.codes for recording in self.recordings], axis=1)

    @cached_property
    def ends(self) -> NDArray[np.int64]:
        """Frames up to the end of each recording [recording]."""
        return np.cumsum([recording.codes.shape[1] for recording in self.recordings])

    @property
    def frames(self) -> int:
        """Number of frames."""
        return int(self.ends[-1])

    @property
    def speakers(self) -> tuple[str, ...]:
        """Names of the speakers, sorted."""
        return tuple(sorted({recording.speaker for recording in self.recordings}))

    @property
    def characters(self) -> str:
        """Characters of the texts, sorted."""
        return "".join(sorted({one for recording in self.recordings for one in recording.text.lower()}))

    def at(self, frame: int) -> Recording:
        """Find the recording that a frame belongs to."""
        return self.recordings[int(np.searchsorted(self.ends, frame, side="right"))]

    def divide(self) -> tuple[Corpus, Corpus]:
        """Split into the recordings to train on, and those that are held out: of speakers who are not trained on.

        Where no speaker has little enough audio, recordings are held out one by one.

        Raises:
            ConfigError: there are fewer than two recordings.
        """
        if len({recording.name for recording in self.recordings}) < 2:
            raise ConfigError("one recording cannot be trained on and held out as well; add others")
        by_speaker, by_name = Counter[str](), Counter[str]()
        for recording in self.recordings:
            by_speaker[recording.speaker] += recording.codes.shape[1]
            by_name[recording.name] += recording.codes.shape[1]
        speakers = _held_out(by_speaker, self.frames)
        names = set() if speakers else _held_out(by_name, self.frames) or {min(by_name, key=_digest)}
        held = [one.speaker in speakers or one.name in names for one in self.recordings]
        pairs = list(zip(self.recordings, held, strict=True))
        return Corpus([one for one, out in pairs if not out]), Corpus([one for one, out in pairs if out])

    def with_texts(self) -> Corpus:
        """Find the text of each recording that was not given any, in the transcripts beside it.

        Raises:
            ConfigError: there is none for one of them.
        """
        transcripts = Transcripts()
        return Corpus([replace(one, text=one.text or transcripts.of(Path(one.name))) for one in self.recordings])


def collect(
    codec: Codec, model: Path, inputs: Sequence[Path], stages: int, cache: Path, progress: Callable[[float], None]
) -> Corpus:
    """Read tokens, and encode what is not tokens yet.

    Args:
        codec: the model, in float32.
        model: its file.
        inputs: folders that `vqcodec tokenize` wrote, or anything that it takes.
        stages: of the codes that are wanted.
        cache: folder for the tokens that are made here.
        progress: told the share that is done.

    Raises:
        ModelMismatch: tokens are of another model.
        ConfigError: they have too few stages, or an input is missing or nothing that can be read.
        AudioError: there is nothing in a folder.
    """
    tokens = [path for path in inputs if (path / PARTS).is_dir()]
    sounds = [path for path in inputs if path not in tokens]
    if sounds:
        tokens.append(_encode(codec, model, sounds, stages, cache, progress))
    recordings = [one for folder in tokens for one in _read(codec, folder, stages)]
    if not recordings:
        raise ConfigError(f"there are no codes in {', '.join(map(str, inputs))}")
    return Corpus(recordings)


def _encode(
    codec: Codec, model: Path, sounds: Sequence[Path], stages: int, cache: Path, progress: Callable[[float], None]
) -> Path:
    names = [str(path.absolute()) for path in sounds]
    digest = _digest(repr([names, codec.fingerprint, stages, EFFORT])).hex()
    settings = plan.Settings(codec.fingerprint, codec.precision, stages, EFFORT, "npy", _PART_S, _PART_ITEMS)
    made = plan.make(cache.absolute() / f"tokens_{digest[:16]}", [path.absolute() for path in sounds], settings)
    job = Job(made, str(model.absolute()), str(codec.device))
    missing = job.missing()
    for number, _ in enumerate(local.run(job, missing, 1, lambda seconds: None), 1):
        progress(number / len(missing))
    job.gather_failures()
    return made.folder


def _read(codec: Codec, folder: Path, stages: int) -> Iterator[Recording]:
    for part in sorted(path for path in (folder / PARTS).iterdir() if path.suffix in outputs.FORMS.values()):
        for facts, codes in outputs.read(part):
            if facts.get("fingerprint") != codec.fingerprint:
                made = str(facts.get("fingerprint"))[:16]
                raise ModelMismatch(f"{part} was made with the model {made}, not {codec.fingerprint[:16]}")
            if codes.shape[1] < stages:
                raise ConfigError(f"{part} has {codes.shape[1]} stages; {stages} are wanted")
            for channel in codes[:, :stages]:
                if channel.shape[1]:
                    yield Recording(channel, str(facts["path"]), facts.get("speaker") or "", facts.get("text") or "")


def _held_out(frames: Mapping[str, int], total: int) -> set[str]:
    """Choose names, in an order that depends on nothing but them, up to the share that is held out."""
    held: set[str] = set()
    count = 0
    for name in sorted(frames, key=_digest):
        if count + frames[name] <= _HELD_OUT * total:
            held.add(name)
            count += frames[name]
    return held


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
