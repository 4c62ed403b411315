"""A blind listening test with the sounds of an evaluation, after ITU-R BS.1534-3 (MUSHRA).

OUT/listen.html      the test: one page with all its sounds in it, which listeners open from disk
OUT/listen_key.json  which system is behind which sound of the page; not for listeners

The page knows its sounds and files by random names only, and so do the results that listeners send back (CSV):
`vqcodec.recipes.listening.scores` puts results and key together. No two sounds of the page are the same bit for bit,
the hidden reference and the open one included: each has dither of its own. A page that is written again, for the same
files and systems, has the names of the key that lies there; the key of another test is put aside.

What differs from the recommendation: the mid-range anchor (7 kHz) is left out up to 16 kHz, where it is hardly an
impairment; nobody adjusts the loudness of the excerpts; the practice round has the sounds of one file, not of all.
"""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import math
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vqcodec import audio
from vqcodec.errors import ConfigError
from vqcodec.files import atomic_output

from ..evaluation.store import REFERENCE, Evaluation
from ..reporting import html

PAGE_NAME = "listen.html"
KEY_NAME = "listen_key.json"

PAGE_VERSION = 2
"""Version of the procedure and of the columns of its results; results of different versions are not put together."""

MAX_CONDITIONS = 12
"""Sounds to rate in one trial, hidden reference and anchors included; BS.1534-3, 5.3."""
LONGEST_S = 12.0
"""Longest sound that is played whole; BS.1534-3, 5.1."""
EXCERPT_S = 10.0
"""Seconds that are played of a longer recording."""
FADE_S = 0.02
"""At both ends of an excerpt."""

OPEN = "open reference"
"""Stands for the reference that listeners see as such."""

Sound = NDArray[np.float32]
"""`[sample]`."""


@dataclass(frozen=True)
class Anchor:
    """A low-pass filtered reference, which ties the scale to a known quality; BS.1534-3, 5.1."""

    name: str
    title: str
    cutoff_hz: float
    above_hz: int
    """Only sounds of a higher sample rate have it: to others it would be hardly an impairment."""


LOW_ANCHOR = Anchor("anchor-3500", "Low anchor, 3.5 kHz", 3500.0, above_hz=8000)
MID_ANCHOR = Anchor("anchor-7000", "Mid-range anchor, 7 kHz", 7000.0, above_hz=16_000)


@dataclass(frozen=True, kw_only=True)
class Trial:
    """The sounds of one page of the test."""

    name: str
    """Random; stands for the file on the page and in the results."""
    file: str
    start_s: float
    """Start of the excerpt in the file."""
    duration_s: float
    gain_db: float
    """Gain of all sounds of the trial alike: below 0 where an anchor would have exceeded full scale."""
    conditions: Mapping[str, str]
    """Names of systems by random name of the sound."""


@dataclass(frozen=True, kw_only=True)
class Key:
    """The key of a test: what its random names stand for."""

    test: str
    """Random; in the results, too."""
    page_version: int
    title: str
    systems: Mapping[str, str]
    """Titles by name, hidden reference and anchors included, in the order of a table."""
    trials: tuple[Trial, ...]


def write_listening_test(
    evaluation: Evaluation, files: Sequence[str], title: str, systems: Sequence[str] | None = None
) -> Path:
    """Write the page of a listening test and its key into the folder of an evaluation.

    Args:
        files: of the evaluation, with kept sounds; each becomes a trial. BS.1534-3 (7.1) wants 5 at least, and 1.5
            times as many as there are systems.
        title: shown to listeners, so it must not tell too much.
        systems: names of those to compare, by default all.

    Returns:
        The path of the page.

    Raises:
        ConfigError: a file or system is unknown or its sound was not kept, there are too many systems for one
            trial, or the package jinja2 is missing.
    """
    names = _chosen_systems(evaluation, systems)
    made = [_make_trial(evaluation, file, names) for file in _chosen_files(evaluation, files)]
    folder = evaluation.store.folder
    key = Key(
        test=_random_name(),
        page_version=PAGE_VERSION,
        title=title,
        systems=_titles(evaluation, names),
        trials=tuple(trial for trial, _ in made),
    )
    key = _with_former_names(key, folder)
    page = _render(key, [_by_random_name(trial, coded) for trial, (_, coded) in zip(key.trials, made, strict=True)])
    with atomic_output(folder / KEY_NAME, force=True) as output:
        output.write((json.dumps(dataclasses.asdict(key), indent=1, ensure_ascii=False) + "\n").encode())
    with atomic_output(folder / PAGE_NAME, force=True) as output:
        output.write(page.encode())
    return folder / PAGE_NAME


def read_key(path: Path) -> Key:
    """Read the key of a test: its file, or the folder of the evaluation.

    Raises:
        ConfigError: there is none, or it is damaged.
    """
    if path.is_dir():
        path = path / KEY_NAME
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        content["trials"] = tuple(Trial(**trial) for trial in content["trials"])
        return Key(**content)
    except OSError as error:
        raise ConfigError(f"{path}: cannot read the key of the listening test: {error.strerror}") from None
    except (ValueError, TypeError, KeyError):
        raise ConfigError(f"{path} is not the key of a listening test; it lies beside its {PAGE_NAME}") from None


def low_pass(reference: Sound, sample_rate: int, cutoff_hz: float) -> Sound:
    """An anchor: a linear-phase FIR filter whose delay is taken out; `[sample]` in, as many out.

    Flat within 0.1 dB up to the cutoff, 60 dB down from 500 Hz above it on: within the mask that BS.1534-3 (5.1)
    gives for 3.5 kHz. The result may exceed full scale.

    Args:
        cutoff_hz: at most half the sample rate less 500 Hz.
    """
    from scipy.signal import fftconvolve, firwin, kaiserord

    transition_hz = 500.0
    taps, beta = kaiserord(60.0, transition_hz / (sample_rate / 2))
    taps |= 1  # odd: the delay is a whole number of samples
    response = firwin(taps, cutoff_hz + transition_hz / 2, window=("kaiser", beta), fs=sample_rate)
    delay = taps // 2
    filtered: Sound = fftconvolve(reference, response)[delay : delay + len(reference)].astype(np.float32)
    return filtered


def excerpt(reference: Sound, sample_rate: int) -> slice:
    """The samples that are played: all of up to 12 s, else the loudest 10 s, from a quiet moment on."""
    if len(reference) <= LONGEST_S * sample_rate:
        return slice(0, len(reference))
    hop = sample_rate // 100
    samples = round(EXCERPT_S * sample_rate)
    frames = reference[: len(reference) // hop * hop].reshape(-1, hop)
    level = np.sqrt(np.mean(frames.astype(np.float64) ** 2, axis=1))  # [frame]
    window = -(-samples // hop)
    total = np.concatenate([[0.0], np.cumsum(level)])
    loudness = total[window:] - total[:-window]  # [first frame]
    loudest = int(np.argmax(loudness))
    first = max(0, loudest - 50)
    first += int(np.argmin(level[first : min(loudest + 51, len(loudness))]))
    return slice(first * hop, first * hop + samples)


def _chosen_systems(evaluation: Evaluation, systems: Sequence[str] | None) -> list[str]:
    known = [system.name for system in evaluation.facts.systems if system.name != REFERENCE]
    if unknown := [name for name in systems or () if name not in known]:
        raise ConfigError(f"{unknown[0]}: no such system in {evaluation.store.folder}; there are {', '.join(known)}")
    chosen = [name for name in known if systems is None or name in systems]
    conditions = len(chosen) + 1 + len(_anchors(evaluation.facts.sample_rate))
    if not chosen:
        raise ConfigError(f"{evaluation.store.folder}: a listening test needs a system; there is none to compare")
    if conditions > MAX_CONDITIONS:
        raise ConfigError(
            f"{conditions} sounds in a trial, hidden reference and anchors included, are more than the "
            f"{MAX_CONDITIONS} that BS.1534-3 allows; choose fewer systems"
        )
    return chosen


def _chosen_files(evaluation: Evaluation, files: Sequence[str]) -> list[str]:
    if unknown := [file for file in files if file not in evaluation.facts.files]:
        raise ConfigError(f"{unknown[0]}: no such file in the evaluation {evaluation.store.folder}")
    if not files:
        raise ConfigError("a listening test needs a file at least")
    return list(dict.fromkeys(files))


def _anchors(sample_rate: int) -> list[Anchor]:
    return [anchor for anchor in (LOW_ANCHOR, MID_ANCHOR) if sample_rate > anchor.above_hz]


def _titles(evaluation: Evaluation, systems: Sequence[str]) -> dict[str, str]:
    titles = {system.name: system.title for system in evaluation.facts.systems if system.name in systems}
    anchors = {anchor.name: anchor.title for anchor in _anchors(evaluation.facts.sample_rate)}
    return {REFERENCE: "Hidden reference", **titles, **anchors}


def _make_trial(evaluation: Evaluation, file: str, systems: Sequence[str]) -> tuple[Trial, dict[str, str]]:
    """A trial, and its sounds (FLAC in base64) by system, with the open reference as `OPEN`."""
    sample_rate = evaluation.facts.sample_rate
    reference = _read(evaluation, file, REFERENCE)
    sounds = {REFERENCE: reference, **{name: _read(evaluation, file, name) for name in systems}}
    if odd := [name for name, sound in sounds.items() if len(sound) != len(reference)]:
        raise ConfigError(f"{file}: the sound of {odd[0]} is not as long as the reference; evaluate it again")
    for anchor in _anchors(sample_rate):
        sounds[anchor.name] = low_pass(reference, sample_rate, anchor.cutoff_hz)

    part = excerpt(reference, sample_rate)
    samples = part.stop - part.start
    ends = _fades(samples, sample_rate) if samples < len(reference) else np.ones(1, np.float32)
    gain = min(1.0, 1.0 / max(1e-9, *(float(np.abs(sound[part]).max(initial=0.0)) for sound in sounds.values())))
    heard = {name: sound[part] * np.float32(gain) * ends for name, sound in {**sounds, OPEN: reference}.items()}
    trial = Trial(
        name=_random_name(),
        file=file,
        start_s=part.start / sample_rate,
        duration_s=samples / sample_rate,
        gain_db=20 * math.log10(gain),
        conditions=dict(sorted((_random_name(), system) for system in sounds)),  # an order that says nothing
    )
    return trial, {name: _base64(_flac(_dithered(sound), sample_rate)) for name, sound in heard.items()}


def _by_random_name(trial: Trial, coded: Mapping[str, str]) -> dict[str, str]:
    """The sounds of a trial as the page has them, with the open reference as "reference"."""
    return {REFERENCE: coded[OPEN], **{name: coded[system] for name, system in trial.conditions.items()}}


def _with_former_names(key: Key, folder: Path) -> Key:
    """The key with the names of the one that lies in the folder, if that is of the same test; else put that aside."""
    path = folder / KEY_NAME
    if not path.exists():
        return key
    try:
        former = read_key(path)
    except ConfigError:  # of an earlier version
        path.rename(path.with_stem(f"{path.stem}_former"))
        return key
    same = former.page_version == key.page_version and former.systems.keys() == key.systems.keys()
    if not same or [trial.file for trial in former.trials] != [trial.file for trial in key.trials]:
        path.rename(path.with_stem(f"{path.stem}_{former.test}"))
        return key
    trials = (
        dataclasses.replace(new, name=old.name, conditions=old.conditions)
        for new, old in zip(key.trials, former.trials, strict=True)
    )
    return dataclasses.replace(key, test=former.test, trials=tuple(trials))


def _read(evaluation: Evaluation, file: str, system: str) -> Sound:
    path = evaluation.store.audio_path(file, system)
    if not path.exists():
        raise ConfigError(
            f"{file}: no sound of {system} was kept in {evaluation.store.folder}; "
            "choose another file, or evaluate with --keep-audio"
        )
    sound: Sound = audio.read(path, evaluation.facts.sample_rate)[0][0]
    return sound


def _fades(samples: int, sample_rate: int) -> Sound:
    """A gain `[sample]` that rises and falls as a raised cosine."""
    length = round(FADE_S * sample_rate)
    rise = 0.5 - 0.5 * np.cos(np.pi * (np.arange(length) + 0.5) / length)
    gain: Sound = np.concatenate([rise, np.ones(samples - 2 * length), rise[::-1]]).astype(np.float32)
    return gain


def _dithered(sound: Sound) -> Sound:
    """A sound with triangular noise of one step of 16 bits, -98 dB, which no other has."""
    random = np.random.default_rng()
    noise = random.random(len(sound), np.float32) - random.random(len(sound), np.float32)
    dithered: Sound = sound + noise / np.float32(1 << 15)
    return dithered


def _flac(sound: Sound, sample_rate: int) -> bytes:
    buffer = io.BytesIO()
    audio.write(buffer, sound[None], sample_rate, format="flac")
    return buffer.getvalue()


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _random_name() -> str:
    """12 hexadecimal digits that nothing follows from."""
    return secrets.token_hex(6)


def _render(key: Key, sounds: Sequence[Mapping[str, str]]) -> str:
    try:
        environment = html.environment()
    except ImportError:
        raise ConfigError("a listening test needs the package jinja2: pip install 'vqcodec[eval]'") from None

    test = {
        "test": key.test,
        "version": key.page_version,
        "trials": [{"file": trial.name, "conditions": list(trial.conditions)} for trial in key.trials],
    }
    played_s = sum(trial.duration_s * len(trial.conditions) for trial in key.trials)
    minutes = math.ceil(2 * played_s / 60)  # everything twice
    template = environment.get_template(PAGE_NAME)
    page: str = template.render(title=key.title, test=test, sounds=sounds, minutes=minutes)
    return page
