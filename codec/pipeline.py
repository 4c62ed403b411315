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
from .coding.engine import BLOCK_FRAMES, Engine, FrameDecoder, FrameStream
from .errors import AudioError, CorruptFile, ModelMismatch
from .packets import read_packets
from .payloads.codings import Coding

Progress: TypeAlias = Callable[[float], None]
"""A function that is called now and then with the seconds of audio that are done."""


BLOCK_SAMPLES = 1 << 21
"""Samples of all channels together that are decoded or resampled at once: 8 MB."""


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
    """Why the source is not complete."""


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
        check_channels(sound.channels, sound.sample_rate)
        yield sound


def check_whole(sound: audio.Reader, strict: bool) -> str | None:
    """Say what is missing of a sound that was read to its end, if anything is.

    Raises:
        AudioError: something is, and `strict` is true.
    """
    if sound.missing_samples <= 0:
        return None
    missing_s = sound.missing_samples / sound.sample_rate
    problem = f"{sound.name} is cut short: the last {missing_s:.3f} s are missing"
    if strict:
        raise AudioError(problem)
    return problem


def result_of(
    count: Counter, header: bitstream.Header, bytes_in: int, bytes_out: int, coded: int, damage: str | None
) -> FileResult:
    """Put together what came of a file; `coded` is the size of the `.vq` file."""
    return FileResult(
        num_samples=count.samples,
        duration_s=count.seconds,
        channels=header.channels,
        stages=header.stages,
        bytes_in=bytes_in,
        bytes_out=bytes_out,
        bitrate_bps=coded * 8 / count.seconds if count.samples else 0.0,
        damage=damage,
    )


def size_of(place: Place) -> int:
    """Return the bytes of a file, 0 for standard input or output and for files that the caller opened."""
    return Path(place).stat().st_size if is_file_name(place) else 0


def decoder_of(engine: Engine, channels: int, stages: int | None, texture: float) -> FrameDecoder:
    """Begin a stream for a file, in smaller blocks where many channels make them large; errors as `StreamDecoder`."""
    frames = max(1, min(BLOCK_FRAMES, BLOCK_SAMPLES // (engine.config.hop_length * channels)))
    return engine.decoder(channels, stages, frames, texture)


def encode(blocks: Iterable[NDArray[Any]], sample_rate: int, encoder: FrameStream) -> Iterator[Any]:
    """Encode waveforms [channel, sample] at `sample_rate` (Hz) to what the encoder returns."""
    resampler = audio.Resampler(sample_rate, encoder.config.sample_rate, encoder.channels)
    for block in blocks:
        yield encoder.push(resampler.push(block))
    yield encoder.push(resampler.flush())
    yield encoder.flush()


def decode(
    parts: Iterable[NDArray[np.int64]], decoder: FrameDecoder, length: Callable[[], Length], sample_rate: int
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
            for waveform in _resampled(decoder.push(held), resampler):
                given += waveform.shape[-1]
                yield waveform
        held = part
    end = length()
    decoder.num_samples = end.at(codec_rate)
    left = end.at(sample_rate) - given
    for waveform in _rest(held, decoder, resampler):
        yield waveform[:, :left]
        left = max(0, left - waveform.shape[-1])


def _rest(
    held: NDArray[np.int64] | None, decoder: FrameDecoder, resampler: audio.Resampler
) -> Iterator[NDArray[np.float32]]:
    """Decode the last codes, and take out what decoder and resampler still hold."""
    if held is not None:
        yield from _resampled(decoder.push(held), resampler)
    yield from _resampled(decoder.flush(), resampler)
    yield resampler.flush()


def _resampled(waveform: NDArray[np.float32], resampler: audio.Resampler) -> Iterator[NDArray[np.float32]]:
    """Resample a waveform [channel, sample] in parts, as a much higher rate makes it much longer."""
    size = max(1, BLOCK_SAMPLES * resampler.source_rate // (resampler.target_rate * resampler.channels))
    for start in range(0, waveform.shape[-1], size):
        yield resampler.push(waveform[:, start : start + size])


def codes_of(reader: bitstream.Reader, coding: Coding, config: ModelConfig) -> Iterator[NDArray[np.int64]]:
    """Read the codes of each packet, which must be this model's; last what is sound of a packet that the file ends in.

    Raises:
        CorruptFile: as `read_packets` does, or for a code beyond the codebooks.
    """
    for codes in read_packets(reader, coding):
        if codes.max() >= config.codebook_size:
            problem = f"code {codes.max()} before byte {reader.offset}"
            raise CorruptFile(f"{reader.name}: {problem}, but the codebooks have {config.codebook_size} entries")
        yield codes
    if reader.cut is not None and config.kind.can_vary:
        codes = _begun(reader.cut, coding, config)
        reader.frames += codes.shape[-1]
        yield codes


def _begun(cut: bitstream.Cut, coding: Coding, config: ModelConfig) -> NDArray[np.int64]:
    """Decode what there is of the packet that a file ends in: some frames, or some of the stages of all."""
    nothing = np.zeros((1, 1, 0), np.int64)
    try:
        codes = coding.begun(cut.payload, cut.length, cut.frames)
    except (CorruptFile, ModelMismatch):
        return nothing
    return codes if codes.max(initial=0) < config.codebook_size else nothing


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
    return Length(config.num_samples(frames), config.sample_rate)


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
