"""Waveforms -> sound files, whole or block by block."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, BinaryIO, cast

import numpy as np
import soundfile
from numpy.typing import NDArray

from ..errors import AudioError, VqcodecError
from ..files import STANDARD_STREAM, open_output
from .formats import CHUNK_SAMPLES, Place, check_format, format_of, name_of, reason_of
from .waveform import Waveform, checked, quantized

_PCM_BITS = {"PCM_16": 16, "PCM_24": 24}


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
    channels = checked(waveform).shape[0]
    with Writer(target, sample_rate, channels, format=format, subtype=subtype, force=force) as writer:
        writer.write(waveform)


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
        self.name = name_of(target, "standard output")
        self.sample_rate = sample_rate
        self.channels = channels
        self._target = target
        self._force = force
        self._format = format_of(target, format, self.name)
        self._coding = (self._format.container, subtype or self._format.subtype)
        check_format(self._format, sample_rate, channels, self.name)

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
        checked(waveform, self.channels)
        if not np.isfinite(waveform).all():
            raise AudioError(f"cannot write {self.name}: the waveform holds NaN or infinity")
        for first in range(0, waveform.shape[1], CHUNK_SAMPLES):
            block = np.clip(waveform[:, first : first + CHUNK_SAMPLES], -1.0, 1.0).T  # [sample, channel]
            self._encoder.write(_samples(block, self._coding[1]))


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

    def __init__(self, sink: _Sink, name: str, sample_rate: int, channels: int, coding: tuple[str, str]) -> None:
        self._sink = sink
        self._name = name
        container, subtype = coding
        with self._errors():
            self._file = soundfile.SoundFile(sink, "w", sample_rate, channels, subtype, format=container)

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
        raise AudioError(f"cannot write {self._name}: {reason_of(first)}") from first


@contextlib.contextmanager
def _writable(target: Place, force: bool, name: str) -> Iterator[BinaryIO]:
    """Open a file that can seek: the target itself, or else a temporary file that is copied to it at the end."""
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
            raise AudioError(f"cannot write {name}: {reason_of(error)}") from error


def _samples(values: Waveform, subtype: str) -> NDArray[Any]:
    """Round for libsndfile, which truncates or rounds as the format has it, and drops the low bits of an int32."""
    bits = _PCM_BITS.get(subtype)
    return values if bits is None else quantized(values, bits) * np.int32(1 << (32 - bits))
