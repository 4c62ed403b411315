"""Waveforms of any sample rate -> codes, and codes -> waveforms of any sample rate, cut to their length."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias, TypeGuard

import numpy as np
from numpy.typing import NDArray

from vqcodec.models.config import ModelConfig

from . import audio, bitstream, files
from .audio import Place, is_file_name
from .checks import check_channels
from .errors import CorruptFile
from .packets import read_packets
from .payloads.codings import Coding
from .stream import StreamDecoder, StreamEncoder

Progress: TypeAlias = Callable[[float], None]
"""A function that is called now and then with the seconds of audio that are done."""


@dataclass(frozen=True)
class Length:
    """The length of a sound: `num_samples` per channel at `sample_rate` Hz."""

    num_samples: int
    sample_rate: int

    def at(self, sample_rate: int) -> int:
        """Count its samples at another rate, rounded up."""
        return audio.resampled_length(self.num_samples, self.sample_rate, sample_rate)


@dataclass(frozen=True, kw_only=True)
class FileResult:
    """The outcome of `Codec.encode_file` or `Codec.decode_file`."""

    num_samples: int
    """Samples per channel of the sound file read or written."""
    duration_s: float
    channels: int
    stages: int
    """Codes per frame and channel in the `.vq` file."""
    bytes_in: int
    """Size of the source; 0 if it is a sound from a pipe."""
    bytes_out: int
    """Size of the target; 0 if it is a sound to a pipe."""
    bitrate_bps: float
    """Bits of the whole `.vq` file per second of audio, all channels together; 0 without audio."""
    damage: str | None = None
    """Why a salvaged file is not complete."""


class Counter:
    """Counts the samples of waveforms as they pass, and reports the progress."""

    def __init__(self, sample_rate: int, progress: Progress | None = None) -> None:
        self.samples = 0
        self.sample_rate = sample_rate
        self._progress = progress

    @property
    def seconds(self) -> float:
        """Seconds of audio so far."""
        return self.samples / self.sample_rate

    def all_of(self, waveforms: Iterable[NDArray[Any]]) -> Iterator[NDArray[Any]]:
        """Pass on waveforms [channel, sample]."""
        for waveform in waveforms:
            yield waveform
            self.samples += waveform.shape[-1]
            if self._progress is not None:
                self._progress(self.seconds)


@dataclass(frozen=True)
class DecodedSound:
    """A `.vq` file that is open, and the sound that it decodes to."""

    reader: bitstream.Reader
    sample_rate: int
    """Of the sound, in Hz."""
    blocks: Iterator[NDArray[np.float32]]
    """The sound in parts [channel, sample], decoded as they are asked for."""

    @property
    def channels(self) -> int:
        """Number of channels."""
        return self.reader.header.channels

    @property
    def damage(self) -> str | None:
        """Why a salvaged file is not complete, once all blocks were taken."""
        return None if self.reader.damage is None else str(self.reader.damage)


def is_place(thing: object) -> TypeGuard[Place]:
    """Tell whether this is a path, or a file that is open for reading bytes.

    Raises:
        TypeError: it is a file that is open for reading text.
    """
    if isinstance(thing, io.TextIOBase):
        raise TypeError('the file is open for text; open it with open(path, "rb")')
    return isinstance(thing, str | os.PathLike) or hasattr(thing, "read")


@contextlib.contextmanager
def open_vq_input(source: Place) -> Iterator[tuple[BinaryIO, str]]:
    """Open a `.vq` file for reading, unless it is open already, and say what to call it in messages.

    Raises:
        VqcodecError: it cannot be read.
    """
    if not isinstance(source, str | os.PathLike):
        yield source, audio.name_of(source, "standard input")
        return
    with files.open_input(source) as opened:
        yield opened


@contextlib.contextmanager
def open_vq_output(target: Place, force: bool) -> Iterator[BinaryIO]:
    """Open a `.vq` file for writing, unless it is open already.

    Raises:
        VqcodecError: it cannot be written, or exists already and `force` is false.
    """
    if not isinstance(target, str | os.PathLike):
        yield target
        return
    with files.open_output(target, force) as output:
        yield output


@contextlib.contextmanager
def open_sound(source: Place) -> Iterator[audio.Reader]:
    """Open a sound file that can be encoded.

    Raises:
        AudioError: it cannot be read, or has too many channels.
    """
    with audio.Reader(source) as sound:
        check_channels(sound.channels)
        yield sound


def size_of(place: Place) -> int:
    """Return the bytes of a file, 0 for standard input or output and for files that the caller opened."""
    return Path(place).stat().st_size if is_file_name(place) else 0


def encode(blocks: Iterable[NDArray[Any]], sample_rate: int, encoder: StreamEncoder) -> Iterator[Any]:
    """Encode waveforms [channel, sample] at `sample_rate` (Hz) to what the encoder returns."""
    resampler = audio.Resampler(sample_rate, encoder.config.sample_rate, encoder.channels)
    for block in blocks:
        yield encoder.push(resampler.push(block))
    yield encoder.push(resampler.flush())
    yield encoder.flush()


def decode(
    parts: Iterable[NDArray[np.int64]], decoder: StreamDecoder, length: Callable[[], Length], sample_rate: int
) -> Iterator[NDArray[np.float32]]:
    """Decode codes [channel, stage, frame] to waveforms [channel, sample] at `sample_rate` (Hz), cut to the `length`.

    The length is asked for once all parts were taken. What exceeds it lies within the last frame, so a part is
    decoded only when another one follows.
    """
    codec_rate = decoder.config.sample_rate
    resampler = audio.Resampler(codec_rate, sample_rate, decoder.channels)
    given, held = 0, None
    for part in _pieces(parts, decoder.block_frames):
        if held is not None:
            waveform = resampler.push(decoder.push(held))
            given += waveform.shape[-1]
            yield waveform
        held = part
    end = length()
    decoder.num_samples = end.at(codec_rate)
    rest = [] if held is None else [resampler.push(decoder.push(held))]
    rest += [resampler.push(decoder.flush()), resampler.flush()]
    yield np.concatenate(rest, axis=-1)[:, : end.at(sample_rate) - given]


def codes_of(reader: bitstream.Reader, coding: Coding, config: ModelConfig) -> Iterator[NDArray[np.int64]]:
    """Read the codes of each packet, which must be this model's.

    Raises:
        CorruptFile: as `read_packets` does, or for a code beyond the codebooks.
    """
    for codes in read_packets(reader, coding):
        if codes.max() >= config.codebook_size:
            problem = f"code {codes.max()} before byte {reader.offset}"
            raise CorruptFile(f"{reader.name}: {problem}, but the codebooks have {config.codebook_size} entries")
        yield codes


def length_of(reader: bitstream.Reader, config: ModelConfig) -> Length:
    """Tell how long the sound of a file is that was read to its end, or to where it is damaged.

    Raises:
        CorruptFile: there are other frames than the sound takes, or nothing whole before the damage.
    """
    source_rate = reader.header.source_sample_rate
    if reader.damage is None:
        assert reader.num_samples is not None
        length = Length(reader.num_samples, source_rate)
        check_frames(reader.frames, length, config, reader.name)
        return length
    held = held_by(reader.frames, config)
    if held.num_samples == 0:
        raise CorruptFile(f"{reader.damage}; nothing can be saved")
    if reader.header.num_samples is None:
        return held
    whole = Length(reader.header.num_samples, source_rate)
    return whole if whole.at(config.sample_rate) <= held.num_samples else held


def held_by(frames: int, config: ModelConfig) -> Length:
    """Tell how much sound so many frames hold whole."""
    return Length(max(0, frames * config.hop_length - config.delay), config.sample_rate)


def check_frames(frames: int, length: Length, config: ModelConfig, name: str) -> None:
    """Raise CorruptFile if a sound of this length takes another number of frames."""
    samples = length.at(config.sample_rate)
    expected = config.num_frames(samples)
    if frames != expected and (samples or frames):  # no samples may take no frames at all
        raise CorruptFile(f"{name}: {length.num_samples} samples take {expected} frames, but there are {frames}")


def _pieces(parts: Iterable[NDArray[np.int64]], size: int) -> Iterator[NDArray[np.int64]]:
    """Cut parts to at most `size` frames, so that a long packet takes no more memory than a short one."""
    for part in parts:
        for start in range(0, part.shape[-1], size):
            yield part[..., start : start + size]
