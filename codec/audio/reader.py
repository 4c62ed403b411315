"""Sound files -> waveforms, whole, block by block or at random."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from typing import IO, Any, BinaryIO, cast

import numpy as np
import soundfile

from ..errors import AudioError
from ..files import standard_input
from ..header import SOURCE_RATES
from . import ffmpeg
from .ffmpeg import FfmpegFile
from .formats import CHUNK_SAMPLES, Place, is_file_name, name_of, reason_of
from .resample import Resampler
from .waveform import Waveform

_UNKNOWN_LENGTH = 1 << 62
_UNKNOWN_FORMAT = 1  # of libsndfile's errors
_LENGTHS = re.compile(r"^ *(?:data|Data Size|SSND|riff|Riff size) *: (\d+) \(should be (\d+)\)", re.M)
_LEAST_UNKNOWN_BYTES = 0x7FFF0000  # what programs write into a pipe, whose length they do not know
_HEAD_BYTES = 1 << 16
_TAG_HEAD_BYTES = 10
_READABLE = "WAV, FLAC, OGG, Opus, MP3, AIFF, AU, CAF, W64 or RF64"


def read(source: Place, sample_rate: int | None = None) -> tuple[Waveform, int]:
    """Read a whole sound, resampled to `sample_rate` (Hz) if that is given.

    Returns:
        The waveform `[channel, sample]` and its sample rate in Hz.

    Raises:
        AudioError: as `Reader` does.
    """
    with Reader(source) as reader:
        sample_rate = sample_rate or reader.sample_rate
        resampler = Resampler(reader.sample_rate, sample_rate, reader.channels)
        parts = [resampler.push(block) for block in reader.blocks(CHUNK_SAMPLES)]
    parts.append(resampler.flush())
    return np.concatenate(parts, axis=1), sample_rate


class Reader:
    """A sound file open for reading, at random or block by block; a context manager.

    Reads every format that libsndfile knows: WAV, FLAC, OGG, Opus, MP3 and more, of integers or floats, with
    any number of channels. Values beyond [-1, 1] are clipped. What cannot seek (a pipe) is first copied to
    an unnamed temporary file. Where the program ffmpeg is installed, it decodes what libsndfile does not know, such as
    M4A, MP4, WebM, AAC and AMR, through a pipe. A file cut short is read as far as it goes, save FLAC, which is an
    error there.

    Args:
        source: a path, "-" for standard input, or an open binary file.

    Raises:
        AudioError: the source is missing, unreadable, a folder, not a sound file or without samples; and while
            reading, when it is damaged or holds NaN or infinity.
    """

    def __init__(self, source: Place) -> None:
        self.name = name_of(source, "standard input")
        with contextlib.ExitStack() as stack:
            descriptor = stack.enter_context(_readable_descriptor(source, self.name))
            self._file = stack.enter_context(_decoder(descriptor, self.name))
            self._stack = stack.pop_all()
        self._position = 0
        self.missing_samples = _missing(self._file)
        """Samples per channel that the file promises and does not have: it was cut, or shrinks while it is read."""

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
        start, size = 0, block_samples * -(-CHUNK_SAMPLES // block_samples)
        while (chunk := self._read(start, size)).shape[1]:
            for first in range(0, chunk.shape[1], block_samples):
                yield chunk[:, first : first + block_samples]
            start += chunk.shape[1]
        if self.format != "MP3":  # whose length is an estimate
            self.missing_samples += self.num_samples - start

    def read(self, start: int, samples: int) -> Waveform:
        """Read `[channel, samples]` from sample `start` on; less where the file ends.

        In Ogg Vorbis libsndfile's seeking may miss the place by some hundredths of a second.

        Raises:
            AudioError: `start` lies outside, or the file is damaged or holds NaN or infinity there, or cannot be read
                but from its start to its end (GSM 6.10).
        """
        if not 0 <= start <= self.num_samples:
            raise AudioError(f"{self.name} has {self.num_samples} samples; sample {start} does not exist")
        return self._read(start, samples)

    def _read(self, start: int, samples: int) -> Waveform:
        try:
            if start != self._position:
                self._file.seek(start)
            values = self._file.read(samples, dtype="float32", always_2d=True)  # [sample, channel]
        except soundfile.SoundFileError as error:
            place = f"within {samples / self.sample_rate:.3f} s after {start / self.sample_rate:.3f} s"
            raise AudioError(f"{self.name} is damaged or cut short {place} ({reason_of(error)})") from error
        self._position = start + len(values)
        self._check_finite(values, start)
        return np.ascontiguousarray(np.clip(values, -1.0, 1.0, out=values).T)  # [channel, sample]

    def _check_finite(self, values: Waveform, start: int) -> None:
        finite = np.isfinite(values).all(axis=1)
        if not finite.all():
            position_s = (start + int(np.argmin(finite))) / self.sample_rate
            raise AudioError(f"{self.name} holds a sample that is NaN or infinite at {position_s:.6f} s")


@contextlib.contextmanager
def _readable_descriptor(source: Place, name: str) -> Iterator[int]:
    """A descriptor of a file on disk: libsndfile then reads without calling back into Python."""
    with contextlib.ExitStack() as stack:
        try:
            if is_file_name(source):
                stream: BinaryIO = stack.enter_context(open(source, "rb"))
            else:
                stream = standard_input() if isinstance(source, str | os.PathLike) else source
            if not _starts_on_disk(stream):
                stream = stack.enter_context(_spooled(stream, name))
            os.lseek(stream.fileno(), 0, os.SEEK_SET)
        except (OSError, ValueError) as error:
            raise AudioError(f"cannot read {name}: {reason_of(error)}") from error
        yield stream.fileno()


def _starts_on_disk(stream: BinaryIO) -> bool:
    try:
        return stream.fileno() >= 0 and stream.seekable() and stream.tell() == 0
    except OSError:  # io.UnsupportedOperation: it lies in memory
        return False


@contextlib.contextmanager
def _spooled(stream: BinaryIO, name: str) -> Iterator[BinaryIO]:
    """Copy a stream to a file, unless its beginning says already that it is no sound: it may have no end."""
    with tempfile.TemporaryFile() as spool:
        _copy(stream, spool, _HEAD_BYTES)
        spool.seek(0)
        _copy(stream, spool, _tag_bytes(spool.read(_TAG_HEAD_BYTES)))
        spool.flush()
        _check_known(spool.fileno(), name)
        spool.seek(0, os.SEEK_END)
        shutil.copyfileobj(stream, spool)
        spool.flush()
        yield cast(BinaryIO, spool)


def _copy(stream: BinaryIO, spool: IO[bytes], count: int) -> None:
    """Append so many bytes, or what there is."""
    spool.seek(0, os.SEEK_END)
    while count and (data := stream.read(min(count, _HEAD_BYTES))):
        count -= spool.write(data)


def _tag_bytes(head: bytes) -> int:
    """Length of the ID3 tag before an MP3, which may hold pictures; 0 without one."""
    size = 0
    for byte in head[6:]:
        size = size << 7 | byte & 0x7F
    return size if head.startswith(b"ID3") else 0


def _check_known(descriptor: int, name: str) -> None:
    os.lseek(descriptor, 0, os.SEEK_SET)
    try:
        soundfile.SoundFile(descriptor, closefd=False).close()
    except soundfile.LibsndfileError as error:
        head = os.pread(descriptor, _HEAD_BYTES, 0)
        if error.code == _UNKNOWN_FORMAT and not (ffmpeg.is_installed() and ffmpeg.may_know(head)):
            raise AudioError(f"{name} is not a sound file that can be read; it should be {_READABLE}") from error
    except (soundfile.SoundFileError, TypeError):
        pass  # known, but not whole yet


def _missing(file: Any) -> int:
    """Samples per channel that are missing at the end of a file, by the lengths in it; ffmpeg does not tell them."""
    for promised, there in _LENGTHS.findall(getattr(file, "extra_info", "")):
        if int(there) < int(promised) < _LEAST_UNKNOWN_BYTES:
            return int(file.frames) * (int(promised) - int(there)) // max(1, int(there))
    return 0


@contextlib.contextmanager
def _decoder(descriptor: int, name: str) -> Iterator[Any]:
    if os.fstat(descriptor).st_size == 0:
        raise AudioError(f"{name} is empty; it should be a sound file ({_READABLE})")
    with contextlib.closing(_opened(descriptor, name)) as file:
        if not isinstance(file, FfmpegFile):
            _check_length(file, name)
        if file.samplerate not in SOURCE_RATES:
            limits = f"{SOURCE_RATES[0]} to {SOURCE_RATES[-1]} samples a second can be read"
            raise AudioError(f"{name} has {file.samplerate} Hz; {limits}")
        yield file


def _opened(descriptor: int, name: str) -> Any:
    """Open a sound by libsndfile, or else by ffmpeg."""
    try:
        return soundfile.SoundFile(descriptor, closefd=False)
    except (soundfile.SoundFileError, TypeError) as error:
        reason, hint = reason_of(error), f"; install ffmpeg to read {ffmpeg.FORMATS} as well"
        if ffmpeg.is_installed():
            try:
                return FfmpegFile(descriptor)
            except soundfile.SoundFileError as failure:
                reason, hint = f"{reason}; ffmpeg: {reason_of(failure)}", f", or else {ffmpeg.FORMATS}"
        problem = f"{name} is not a sound file that can be read ({reason})"
        raise AudioError(f"{problem}; it should be {_READABLE}{hint}") from error


def _check_length(file: Any, name: str) -> None:
    if file.frames == 0:
        raise AudioError(f"{name} holds no samples")
    if file.frames >= _UNKNOWN_LENGTH:
        raise AudioError(f"{name} does not say how long it is; write it to a file, not a pipe, or as WAV")
