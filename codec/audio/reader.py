"""Sound files <-> float32 waveforms `[channel, sample]` in [-1, 1], and resampling.

The only file that touches soundfile and soxr. Everything works block by block, in bounded memory.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, NamedTuple, TypeAlias, TypeGuard, cast

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from ..errors import AudioError, VqcodecError
from ..files import STANDARD_STREAM, open_output

Waveform: TypeAlias = NDArray[np.float32]
"""`[channel, sample]`, float32 in [-1, 1]."""

Place: TypeAlias = str | os.PathLike[str] | BinaryIO
"""A path, "-" for standard input or output, or an open binary file."""

# libsndfile is given this many samples at least. Less is slow, and not even the same sound: soundfile seeks
# after each read, which upsets the MP3 and Opus decoders. A very long write makes Vorbis overflow the stack.
_CHUNK_SAMPLES = 1 << 16

_UNKNOWN_LENGTH = 1 << 62
_RATES = range(1000, 768_001)  # in Hz; beyond lie damaged headers, at an immense cost in memory
_PCM_BITS = {"PCM_16": 16, "PCM_24": 24}
_READABLE = "WAV, FLAC, OGG, Opus, MP3, AIFF, AU, CAF, W64 or RF64"


class _Format(NamedTuple):
    """What a kind of sound file is called in soundfile, and how much it can hold."""

    container: str
    subtype: str = "PCM_16"
    max_channels: int = 1024
    rates: tuple[int, ...] = ()  # in Hz; empty: any
    max_bytes: int = sys.maxsize


# Lowest and highest bitrate of one channel in libsndfile, from a sample rate in Hz upwards.
_LOSSY_BITRATES = {
    "mp3": ((32_000, (32_000, 320_000)), (16_000, (8_000, 160_000)), (0, (8_000, 64_000))),
    "opus": ((0, (6_000, 256_000)),),
}
_MP3_DELAY = 576 + 529  # samples: of LAME's encoder, and of every decoder

_MAX_32_BIT = (1 << 32) - 1
_OPUS_RATES = (8000, 12000, 16000, 24000, 48000)
_MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)

FORMATS = {
    "wav": _Format("WAV", max_bytes=_MAX_32_BIT),
    "flac": _Format("FLAC", max_channels=8),
    "ogg": _Format("OGG", "VORBIS", max_channels=255),
    "oga": _Format("OGG", "VORBIS", max_channels=255),
    "opus": _Format("OGG", "OPUS", max_channels=255, rates=_OPUS_RATES),
    "mp3": _Format("MP3", "MPEG_LAYER_III", max_channels=2, rates=_MP3_RATES),
    "aiff": _Format("AIFF", max_bytes=_MAX_32_BIT),
    "aif": _Format("AIFF", max_bytes=_MAX_32_BIT),
    "au": _Format("AU", max_bytes=_MAX_32_BIT),
    "caf": _Format("CAF"),
    "w64": _Format("W64"),
    "rf64": _Format("RF64"),
}
"""The formats that can be written, by name; the name is also the suffix of a file."""

AUDIO_SUFFIXES = frozenset(f".{name}" for name in FORMATS)
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


def read(source: Place, sample_rate: int | None = None) -> tuple[Waveform, int]:
    """Read a whole sound, resampled to `sample_rate` (Hz) if one is given.

    Returns:
        The waveform `[channel, sample]` and its sample rate in Hz.

    Raises:
        AudioError: as `Reader` does.
    """
    with Reader(source) as reader:
        rate = sample_rate or reader.sample_rate
        resampler = Resampler(reader.sample_rate, rate, reader.channels)
        parts = [resampler.push(block) for block in reader.blocks(_CHUNK_SAMPLES)]
    parts.append(resampler.flush())
    return np.concatenate(parts, axis=1), rate


def write(
    target: Place,
    waveform: Waveform,
    sample_rate: int,
    *,
    format: str | None = None,
    subtype: str | None = None,
    force: bool = False,
) -> None:
    """Write a whole waveform `[channel, sample]`. Other arguments, and the errors, are those of `Writer`."""
    channels = _checked(waveform).shape[0]
    with Writer(target, sample_rate, channels, format=format, subtype=subtype, force=force) as writer:
        writer.write(waveform)


def through_lossy(waveform: Waveform, sample_rate: int, format: str, bitrate_bps: float) -> Waveform:
    """What MP3 or Opus leaves of a waveform `[channel, sample]`: as many samples, each at its time.

    Args:
        waveform: one or two channels; values beyond [-1, 1] are clipped.
        sample_rate: samples a second, one that the format has: see `FORMATS`.
        format: "mp3" or "opus".
        bitrate_bps: of one channel in bits a second, or else the nearest that the format has.

    Raises:
        AudioError: there is no such format, it cannot hold the rate or the channels, or this libsndfile lacks it.
    """
    if format not in _LOSSY_BITRATES:
        raise AudioError(f"there is no lossy format {format!r}; choose one of {', '.join(_LOSSY_BITRATES)}")
    container = FORMATS[format]
    _check_format(container, sample_rate, len(_checked(waveform)), f"{format} in memory")
    lowest, highest = next(range_ for rate, range_ in _LOSSY_BITRATES[format] if sample_rate >= rate)
    level = min(max((highest - bitrate_bps) / (highest - lowest), 0.0), 0.999)  # libsndfile refuses 1 for MP3
    samples, file = waveform.shape[1], io.BytesIO()
    settings = {"format": container.container, "compression_level": level}
    if format == "mp3":
        settings["bitrate_mode"] = "CONSTANT"
    try:
        soundfile.write(file, np.clip(waveform.T, -1.0, 1.0), sample_rate, container.subtype, **settings)
        file.seek(0)
        decoded, _ = soundfile.read(file, dtype="float32", always_2d=True)  # [sample, channel]
    except (soundfile.SoundFileError, ValueError) as error:
        raise AudioError(f"cannot make {format} in memory: {_reason(error)}") from error
    # The frames of a slow MP3 are too small for the note of its delay, which then comes out with the sound.
    start = _MP3_DELAY if len(decoded) > samples else 0
    return np.ascontiguousarray(decoded[start : start + samples].clip(-1, 1).T)


def to_flac(pcm: NDArray[np.int16], sample_rate: int) -> bytes:
    """Samples of one channel `[sample]` as a FLAC file in memory, without loss.

    Raises:
        AudioError: FLAC cannot hold the rate.
    """
    file = io.BytesIO()
    try:
        soundfile.write(file, pcm, sample_rate, format="FLAC", subtype="PCM_16")
    except soundfile.SoundFileError as error:
        raise AudioError(f"FLAC cannot hold {sample_rate} samples a second ({_reason(error)})") from error
    return file.getvalue()


def from_flac(data: bytes, name: str) -> NDArray[np.int16]:
    """The inverse of `to_flac`, `[sample]`.

    Raises:
        AudioError: the data, called `name`, is damaged, cut short or no FLAC file of one channel.
    """
    try:
        pcm: NDArray[np.int16] = soundfile.read(io.BytesIO(data), dtype="int16")[0]
    except (soundfile.SoundFileError, TypeError) as error:
        raise AudioError(f"{name} is damaged or no FLAC file ({_reason(error)})") from error
    if pcm.ndim != 1:
        raise AudioError(f"{name} has {pcm.shape[1]} channels; it should have one")
    return pcm


class Reader:
    """A sound file open for reading, at random or block by block; a context manager.

    Reads every format that libsndfile knows: WAV, FLAC, OGG, Opus, MP3 and more, of integers or floats, with
    any number of channels. Values beyond [-1, 1] are clipped. What cannot seek (a pipe) is first copied to
    an unnamed temporary file. A file cut short is read as far as it goes, save FLAC, which is an error there.

    Args:
        source: a path, "-" for standard input, or an open binary file.

    Raises:
        AudioError: the source is missing, unreadable, a folder, no sound file or without samples; and while
            reading, when it is damaged or holds NaN or infinity.
    """

    def __init__(self, source: Place) -> None:
        self.name = _name(source, "standard input")
        with contextlib.ExitStack() as stack:
            descriptor = stack.enter_context(_readable_descriptor(source, self.name))
            self._file = stack.enter_context(_decoder(descriptor, self.name))
            self._stack = stack.pop_all()

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; closing twice is allowed."""
        self._stack.close()

    @property
    def sample_rate(self) -> int:
        """Samples a second."""
        return int(self._file.samplerate)

    @property
    def channels(self) -> int:
        """Number of channels."""
        return int(self._file.channels)

    @property
    def num_samples(self) -> int:
        """Samples per channel, as the file declares them (an estimate in MP3 without a Xing header)."""
        return int(self._file.frames)

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.num_samples / self.sample_rate

    @property
    def format(self) -> str:
        """The container in libsndfile's words: "WAV", "FLAC", "OGG", "MP3", ..."""
        return str(self._file.format)

    @property
    def subtype(self) -> str:
        """The coding inside the container in libsndfile's words: "PCM_16", "FLOAT", "VORBIS", "OPUS", ..."""
        return str(self._file.subtype)

    def blocks(self, block_samples: int) -> Iterator[Waveform]:
        """Yield the sound from its start as `[channel, block_samples]`; the last block may be shorter.

        Raises:
            AudioError: the file is damaged or holds NaN or infinity.
        """
        start, size = 0, block_samples * -(-_CHUNK_SAMPLES // block_samples)
        while (chunk := self.read(start, size)).shape[1]:
            for first in range(0, chunk.shape[1], block_samples):
                yield chunk[:, first : first + block_samples]
            start += chunk.shape[1]

    def read(self, start: int, samples: int) -> Waveform:
        """Read `[channel, samples]` from sample `start` on; less where the file ends.

        In Ogg Vorbis libsndfile's seeking may miss the place by some hundredths of a second.

        Raises:
            AudioError: `start` lies outside, or the file is damaged or holds NaN or infinity there.
        """
        if not 0 <= start <= self.num_samples:
            raise AudioError(f"{self.name} has {self.num_samples} samples; there is no sample {start}")
        try:
            if start != self._file.tell():
                self._file.seek(start)
            values = self._file.read(samples, dtype="float32", always_2d=True)  # [sample, channel]
        except soundfile.SoundFileError as error:
            place = f"within {samples / self.sample_rate:.3f} s after {start / self.sample_rate:.3f} s"
            raise AudioError(f"{self.name} is damaged or cut short {place} ({_reason(error)})") from error
        self._check_finite(values, start)
        return np.ascontiguousarray(np.clip(values, -1.0, 1.0, out=values).T)  # [channel, sample]

    def _check_finite(self, values: Waveform, start: int) -> None:
        finite = np.isfinite(values).all(axis=1)
        if not finite.all():
            position_s = (start + int(np.argmin(finite))) / self.sample_rate
            raise AudioError(f"{self.name} holds a sample that is NaN or infinite at {position_s:.6f} s")


def resampled_length(samples: int, source_rate: int, target_rate: int) -> int:
    """How many samples at `target_rate` so many at `source_rate` become: the quotient, rounded up."""
    return -(-samples * target_rate // source_rate)


class Resampler:
    """Changes the sample rate of a stream of waveforms, whatever its blocks, without delay.

    What all calls of `push` and the `flush` return, put together, has exactly
    `resampled_length(n, source_rate, target_rate)` samples; sample 0 stays at time 0. The filter is soxr's
    high quality one (about 20 bits). With equal rates the samples pass through unchanged.

    Args:
        source_rate: samples a second that go in.
        target_rate: samples a second that come out.
        channels: number of channels.

    Raises:
        AudioError: a rate is not positive; or a waveform pushed has another number of channels.
    """

    def __init__(self, source_rate: int, target_rate: int, channels: int) -> None:
        if min(source_rate, target_rate) < 1:
            raise AudioError(f"cannot resample from {source_rate} to {target_rate} Hz; both must be positive")
        self.source_rate = source_rate
        self.target_rate = target_rate
        self.channels = channels
        self._start()

    def push(self, waveform: Waveform) -> Waveform:
        """Take `[channel, sample]` at the source rate; return what is ready, `[channel, sample]`, if any."""
        _checked(waveform, self.channels)
        if self.source_rate == self.target_rate:
            return waveform
        self._taken += waveform.shape[1]
        resampled = self._resample(waveform)
        self._given += resampled.shape[1]
        return resampled

    def flush(self) -> Waveform:
        """Return the rest, `[channel, sample]`. Afterwards the next `push` begins a new stream."""
        if self.source_rate == self.target_rate:
            return np.zeros((self.channels, 0), np.float32)
        # Some silence after the end, so that there is always enough to cut at the exact length.
        silence = np.zeros((self.channels, self.source_rate // self.target_rate + 2), np.float32)
        missing = resampled_length(self._taken, self.source_rate, self.target_rate) - self._given
        rest = self._resample(silence, last=True)[:, :missing]
        self._start()
        return rest

    def _start(self) -> None:
        rates = (self.source_rate, self.target_rate)
        self._stream = soxr.ResampleStream(*rates, self.channels, dtype="float32", quality="HQ")
        self._taken = 0
        self._given = 0

    def _resample(self, waveform: Waveform, last: bool = False) -> Waveform:
        interleaved = np.ascontiguousarray(waveform.T, dtype=np.float32)
        return np.ascontiguousarray(self._stream.resample_chunk(interleaved, last=last).T)


def resample(waveform: Waveform, source_rate: int, target_rate: int) -> Waveform:
    """A whole waveform `[channel, sample]` at another rate in Hz, as `Resampler` does it."""
    resampler = Resampler(source_rate, target_rate, len(waveform))
    return np.concatenate([resampler.push(waveform), resampler.flush()], axis=1)


class Writer:
    """A sound file to be written block by block; a context manager.

    The file appears under its name when the `with` block ends well; otherwise nothing changes on the disk.
    For standard output, pipes and open files, the sound is first kept in an unnamed temporary file.

    Args:
        target: a path, "-" for standard output, or an open binary file.
        sample_rate: samples a second.
        channels: number of channels.
        format: a name in `FORMATS`; by default the suffix of the path, "wav" where there is no path.
        subtype: the coding in soundfile's words; by default 16 bits, or the format's only one.
        force: overwrite an existing file.

    Raises:
        AudioError: the format is unknown or cannot hold the rate, the channels or that much sound; or a
            waveform has another shape or holds NaN.
        VqcodecError: the target cannot be written or exists already, or the disk is full.
    """

    def __init__(
        self,
        target: Place,
        sample_rate: int,
        channels: int,
        *,
        format: str | None = None,
        subtype: str | None = None,
        force: bool = False,
    ) -> None:
        self.name = _name(target, "standard output")
        self.sample_rate = sample_rate
        self.channels = channels
        self._target = target
        self._force = force
        self._format = _format_of(target, format, self.name)
        self._coding = (self._format.container, subtype or self._format.subtype)
        _check_format(self._format, sample_rate, channels, self.name)

    def __enter__(self) -> Writer:
        with contextlib.ExitStack() as stack:
            output = stack.enter_context(_writable(self._target, self._force, self.name))
            sink = _Sink(output, self._format.max_bytes, self.name)
            encoder = _Encoder(sink, self.name, self.sample_rate, self.channels, self._coding)
            self._encoder = stack.enter_context(encoder)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def write(self, waveform: Waveform) -> None:
        """Append a waveform `[channel, sample]`; values beyond [-1, 1] are clipped."""
        _checked(waveform, self.channels)
        if not np.isfinite(waveform).all():
            raise AudioError(f"cannot write {self.name}: the waveform holds NaN or infinity")
        for first in range(0, waveform.shape[1], _CHUNK_SAMPLES):
            block = np.clip(waveform[:, first : first + _CHUNK_SAMPLES], -1.0, 1.0).T  # [sample, channel]
            self._encoder.write(_quantized(block, self._coding[1]))


class _Sink:
    """A file for libsndfile to write to, by calls through C, which loses exceptions: this keeps the first."""

    def __init__(self, output: BinaryIO, max_bytes: int, name: str) -> None:
        self._output = output
        self._max_bytes = max_bytes
        self._name = name
        self.error: BaseException | None = None

    def write(self, data: bytes) -> int:
        return self._guarded(self._write, data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._guarded(self._output.seek, offset, whence)

    def tell(self) -> int:
        return self._guarded(self._output.tell)

    def flush(self) -> None:
        """Nothing: the file's owner flushes."""

    def _write(self, data: bytes) -> int:
        if self._output.tell() + len(data) > self._max_bytes:
            problem = f"this format holds no more than {self._max_bytes / (1 << 30):.3g} GiB"
            raise AudioError(f"cannot write {self._name}: {problem}; write .flac or .rf64 instead")
        return self._output.write(data)

    def _guarded(self, action: Callable[..., int], *arguments: Any) -> int:
        if self.error is None:
            try:
                return action(*arguments)
            except BaseException as error:  # Ctrl-C may come here, too
                self.error = error
        return 0


class _Encoder:
    """libsndfile writing to a sink; a context manager. Whatever fails in either is raised from here."""

    def __init__(self, sink: _Sink, name: str, rate: int, channels: int, coding: tuple[str, str]) -> None:
        self._sink = sink
        self._name = name
        container, subtype = coding
        with self._errors():
            self._file = soundfile.SoundFile(sink, "w", rate, channels, subtype, format=container)

    def __enter__(self) -> _Encoder:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            with self._errors():
                self._file.close()
        else:
            with contextlib.suppress(Exception):
                self._file.close()

    def write(self, values: NDArray[Any]) -> None:
        with self._errors():
            self._file.write(values)

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        failure: Exception | None = None
        try:
            yield
        except (soundfile.SoundFileError, TypeError, ValueError, AssertionError) as error:
            failure = error
        first = self._sink.error or failure
        if first is None:
            return
        if isinstance(first, VqcodecError) or not isinstance(first, Exception):
            raise first
        raise AudioError(f"cannot write {self._name}: {_reason(first)}") from first


def _name(place: Place, standard: str) -> str:
    if isinstance(place, str | os.PathLike):
        return standard if os.fspath(place) == STANDARD_STREAM else os.fspath(place)
    name = getattr(place, "name", None)
    return name if isinstance(name, str) else "the open file"


def _is_file_name(place: Place) -> TypeGuard[str | os.PathLike[str]]:
    return isinstance(place, str | os.PathLike) and os.fspath(place) != STANDARD_STREAM


def _reason(error: Exception) -> str:
    """One line that says what the system, libsndfile or soundfile did not like."""
    text = getattr(error, "strerror", None) or getattr(error, "error_string", None) or str(error)
    return " ".join((text or type(error).__name__).split()).rstrip(".")


def _checked(waveform: Waveform, channels: int | None = None) -> Waveform:
    if waveform.ndim != 2 or channels not in (None, waveform.shape[0]):
        wanted = f"[{channels or 'channel'}, sample]"
        raise AudioError(f"a waveform must have the shape {wanted}; this one has {list(waveform.shape)}")
    return waveform


@contextlib.contextmanager
def _readable_descriptor(source: Place, name: str) -> Iterator[int]:
    """A descriptor of a file on disk: libsndfile then reads without calling back into Python."""
    with contextlib.ExitStack() as stack:
        try:
            if _is_file_name(source):
                stream: BinaryIO = stack.enter_context(open(source, "rb"))
            else:
                stream = sys.stdin.buffer if isinstance(source, str | os.PathLike) else source
            if not _starts_on_disk(stream):
                stream = stack.enter_context(_spooled(stream))
            os.lseek(stream.fileno(), 0, os.SEEK_SET)
        except (OSError, ValueError) as error:
            raise AudioError(f"cannot read {name}: {_reason(error)}") from error
        yield stream.fileno()


def _starts_on_disk(stream: BinaryIO) -> bool:
    try:
        return stream.fileno() >= 0 and stream.seekable() and stream.tell() == 0
    except OSError:  # io.UnsupportedOperation: it lies in memory
        return False


@contextlib.contextmanager
def _spooled(stream: BinaryIO) -> Iterator[BinaryIO]:
    with tempfile.TemporaryFile() as spool:
        shutil.copyfileobj(stream, spool)
        spool.flush()
        yield cast(BinaryIO, spool)


@contextlib.contextmanager
def _decoder(descriptor: int, name: str) -> Iterator[Any]:
    if os.fstat(descriptor).st_size == 0:
        raise AudioError(f"{name} is empty; it should be a sound file ({_READABLE})")
    try:
        file = soundfile.SoundFile(descriptor, closefd=False)
    except (soundfile.SoundFileError, TypeError) as error:
        problem = f"{name} is not a sound file that can be read ({_reason(error)})"
        raise AudioError(f"{problem}; it should be {_READABLE}") from error
    with file:
        if file.frames == 0:
            raise AudioError(f"{name} holds no samples")
        if file.frames >= _UNKNOWN_LENGTH:
            raise AudioError(f"{name} does not say how long it is; write it to a file, not a pipe, or as WAV")
        if file.samplerate not in _RATES:
            limits = f"{_RATES[0]} to {_RATES[-1]} samples a second can be read"
            raise AudioError(f"{name} has {file.samplerate} Hz; {limits}")
        yield file


def _format_of(target: Place, format: str | None, name: str) -> _Format:
    choices = ", ".join(FORMATS)
    if format is not None:
        if format.lower() not in FORMATS:
            raise AudioError(f"cannot write {name}: there is no format {format!r}; choose one of {choices}")
        return FORMATS[format.lower()]
    if not _is_file_name(target):
        return FORMATS["wav"]
    suffix = Path(target).suffix
    if suffix.lower() not in AUDIO_SUFFIXES:
        problem = f"the suffix {suffix!r} is no sound format" if suffix else "the name has no suffix"
        raise AudioError(f"cannot write {name}: {problem}; choose one of {choices}")
    return FORMATS[suffix.lower()[1:]]


def _check_format(format: _Format, sample_rate: int, channels: int, name: str) -> None:
    if format.rates and sample_rate not in format.rates:
        rates = ", ".join(map(str, format.rates))
        raise AudioError(f"cannot write {name}: the format has no rate of {sample_rate} Hz, only {rates}")
    if not 1 <= channels <= format.max_channels:
        limits = f"the format holds 1 to {format.max_channels} channels"
        raise AudioError(f"cannot write {name}: {limits}, not {channels}")


@contextlib.contextmanager
def _writable(target: Place, force: bool, name: str) -> Iterator[BinaryIO]:
    """An open file that can seek: one on disk, or else one that is copied to where it belongs at the end."""
    with contextlib.ExitStack() as stack:
        if not isinstance(target, str | os.PathLike):
            yield stack.enter_context(_copied_at_the_end(target, name))
            return
        output = stack.enter_context(open_output(target, force))
        if os.fspath(target) == STANDARD_STREAM or not output.seekable():
            output = stack.enter_context(_copied_at_the_end(output, name))
        yield output


@contextlib.contextmanager
def _copied_at_the_end(output: BinaryIO, name: str) -> Iterator[BinaryIO]:
    with tempfile.TemporaryFile() as spool:
        yield cast(BinaryIO, spool)
        try:
            spool.seek(0)
            shutil.copyfileobj(spool, output)
        except OSError as error:
            raise AudioError(f"cannot write {name}: {_reason(error)}") from error


def _quantized(values: Waveform, subtype: str) -> NDArray[Any]:
    """Round to the bits of a PCM subtype, so that reading gives back every value that the bits can hold.

    libsndfile by itself truncates in some formats and rounds in others. It drops the low bits of an int32.
    """
    bits = _PCM_BITS.get(subtype)
    if bits is None:
        return values
    top = float(1 << (bits - 1))
    levels: Waveform = np.clip(np.rint(values * np.float32(top)), -top, top - 1)
    return levels.astype(np.int32) * np.int32(1 << (32 - bits))
