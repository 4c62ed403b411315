"""The formats of sound files: what they are called, what they can hold, and where they lie."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import BinaryIO, NamedTuple, TypeAlias, TypeGuard

from ..errors import AudioError
from ..files import STANDARD_STREAM
from . import ffmpeg

Place: TypeAlias = str | os.PathLike[str] | BinaryIO
"""A path, "-" for standard input or output, or an open binary file."""

# libsndfile is given this many samples at least. Less is slow, and not even the same sound: soundfile seeks
# after each read, which upsets the MP3 and Opus decoders. A very long write makes Vorbis overflow the stack.
CHUNK_SAMPLES = 1 << 16


class Format(NamedTuple):
    """A kind of sound file: its name in soundfile, and how much it can hold."""

    container: str
    subtype: str = "PCM_16"
    max_channels: int = 1024
    rates: tuple[int, ...] = ()  # in Hz; empty: any
    max_bytes: int = sys.maxsize


_MAX_32_BIT = (1 << 32) - 1
_OPUS_RATES = (8000, 12000, 16000, 24000, 48000)
_MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)

FORMATS = {
    "wav": Format("WAV", max_bytes=_MAX_32_BIT),
    "flac": Format("FLAC", max_channels=8),
    "ogg": Format("OGG", "VORBIS", max_channels=255),
    "oga": Format("OGG", "VORBIS", max_channels=255),
    "opus": Format("OGG", "OPUS", max_channels=255, rates=_OPUS_RATES),
    "mp3": Format("MP3", "MPEG_LAYER_III", max_channels=2, rates=_MP3_RATES),
    "aiff": Format("AIFF", max_bytes=_MAX_32_BIT),
    "aif": Format("AIFF", max_bytes=_MAX_32_BIT),
    "au": Format("AU", max_bytes=_MAX_32_BIT),
    "caf": Format("CAF"),
    "w64": Format("W64"),
    "rf64": Format("RF64"),
}
"""The formats that can be written, by name; the name is also the suffix of a file."""

AUDIO_SUFFIXES = frozenset(f".{name}" for name in FORMATS) | ffmpeg.SUFFIXES
"""The suffixes (lower case) of what counts as audio in a folder."""


def find(folder: str | os.PathLike[str]) -> list[Path]:
    """List the audio files in `folder` and below it, sorted; by suffix, and without hidden files.

    Raises:
        AudioError: `folder` is not a folder.
    """
    root = Path(folder)
    if not root.is_dir():
        raise AudioError(f"{folder} is not a folder")
    found = (path for path in root.rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES)
    return sorted(path for path in found if not path.name.startswith(".") and path.is_file())


def format_of(target: Place, format: str | None, name: str) -> Format:
    """Look up the format of a file to be written, by its name or else by the suffix of `target`."""
    choices = ", ".join(FORMATS)
    if format is not None:
        if format.lower() not in FORMATS:
            raise AudioError(f"cannot write {name}: unknown format {format!r}; choose one of {choices}")
        _check_suffix(target, format.lower(), name)
        return FORMATS[format.lower()]
    if not is_file_name(target):
        return FORMATS["wav"]
    suffix = Path(target).suffix
    if suffix.lower()[1:] not in FORMATS:
        problem = f"the suffix {suffix!r} is not a sound format" if suffix else "the name has no suffix"
        raise AudioError(f"cannot write {name}: {problem}; choose one of {choices}")
    return FORMATS[suffix.lower()[1:]]


def _check_suffix(target: Place, format: str, name: str) -> None:
    """Raise AudioError if the name of a file promises another format; WAV may be of either kind."""
    promised = Path(target).suffix.lower()[1:] if is_file_name(target) else format
    containers = {FORMATS[known].container for known in (promised, format) if known in FORMATS}
    if len(containers) > 1 and containers != {"WAV", "RF64"}:
        better = Path(name).with_suffix(f".{format}")
        raise AudioError(
            f"cannot write {name}: the format is to be {format}; call it {better}, or leave the format out"
        )


def check_format(format: Format, sample_rate: int, channels: int, name: str) -> None:
    """Raise AudioError if the format cannot hold the rate (Hz) or the channels."""
    if format.rates and sample_rate not in format.rates:
        rates = ", ".join(map(str, format.rates))
        raise AudioError(f"cannot write {name}: the format has no rate of {sample_rate} Hz, only {rates}")
    if not 1 <= channels <= format.max_channels:
        limits = f"the format holds 1 to {format.max_channels} channels"
        raise AudioError(f"cannot write {name}: {limits}, not {channels}")


def name_of(place: Place, standard: str) -> str:
    """Return what to call a file in messages; `standard` is what "-" is called."""
    if isinstance(place, str | os.PathLike):
        return standard if os.fspath(place) == STANDARD_STREAM else os.fspath(place)
    name = getattr(place, "name", None)
    return name if isinstance(name, str) else "the open file"


def is_file_name(place: Place) -> TypeGuard[str | os.PathLike[str]]:
    """Tell whether this is a path, and not "-"."""
    return isinstance(place, str | os.PathLike) and os.fspath(place) != STANDARD_STREAM


def reason_of(error: Exception) -> str:
    """Say in one line what the system, libsndfile or soundfile refused."""
    text = getattr(error, "strerror", None) or getattr(error, "error_string", None) or str(error)
    return " ".join((text or type(error).__name__).split()).rstrip(".")
