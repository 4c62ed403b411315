"""Where speech comes from and goes to, a frame at a time and without ever waiting: files, pipes, sound devices."""

from __future__ import annotations

import os
import select
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np

from ...audio import Reader, Resampler, Writer
from ...audio.player import load_sounddevice
from ...audio.waveform import Waveform, from_pcm, to_pcm
from ...errors import AudioError

DEVICE = "device"
"""Stands for the microphone or the loudspeaker, where a name of a file could be."""
NOTHING = "none"
"""Stands for silence, or for nowhere."""
PIPE = "-"
"""Stands for standard input or output: bare samples of 16 bits, little-endian, at the codec's rate."""
_READ_SAMPLES = 1 << 14
_MOST_WAITING = 5
"""Frames that wait for, or come from, a sound device whose clock differs, before one is dropped."""


class Source(Protocol):
    """Where speech comes from."""

    def read(self) -> Waveform | None:
        """The next frame [1, sample]; None at the end."""


class Sink(Protocol):
    """Where speech goes to."""

    def write(self, block: Waveform) -> None:
        """Take a frame [1, sample]."""


class Silence:
    """A source of zeros without an end.

    Args:
        hop_length: samples of a frame.
    """

    def __init__(self, hop_length: int) -> None:
        self._zeros = np.zeros((1, hop_length), np.float32)

    def read(self) -> Waveform | None:
        """As in `Source`."""
        return self._zeros


class Nowhere:
    """A sink that forgets."""

    def write(self, block: Waveform) -> None:
        """As in `Sink`."""


class FileSource:
    """A sound file or a pipe, all of its channels mixed.

    Args:
        reader: of the file.
        sample_rate: of the frames.
        hop_length: samples of a frame; the last one is filled with zeros.
    """

    def __init__(self, reader: Reader, sample_rate: int, hop_length: int) -> None:
        self._hop = hop_length
        self._waiting: Waveform = np.zeros((1, 0), np.float32)
        self._blocks = self._resampled(reader, sample_rate)

    def read(self) -> Waveform | None:
        """As in `Source`."""
        while self._waiting.shape[1] < self._hop:
            block = next(self._blocks, None)
            if block is None:
                break
            self._waiting = np.concatenate([self._waiting, block], axis=1)
        frame, self._waiting = self._waiting[:, : self._hop], self._waiting[:, self._hop :]
        if not frame.shape[1]:
            return None
        return np.pad(frame, ((0, 0), (0, self._hop - frame.shape[1])))

    def _resampled(self, reader: Reader, sample_rate: int) -> Iterator[Waveform]:
        resampler = Resampler(reader.sample_rate, sample_rate, 1)
        for block in reader.blocks(_READ_SAMPLES):
            yield resampler.push(block.mean(axis=0, keepdims=True))
        yield resampler.flush()


class PipeSource:
    """Bare samples of 16 bits from a pipe; silence while it has none.

    Args:
        descriptor: of the pipe.
        hop_length: samples of a frame.
    """

    def __init__(self, descriptor: int, hop_length: int) -> None:
        self._descriptor, self._bytes = descriptor, 2 * hop_length
        self._waiting = b""
        self._ended = False

    def read(self) -> Waveform | None:
        """As in `Source`."""
        while len(self._waiting) < self._bytes and not self._ended and select.select([self._descriptor], [], [], 0)[0]:
            some = os.read(self._descriptor, self._bytes)
            self._waiting, self._ended = self._waiting + some, not some
        if self._ended and not self._waiting:
            return None
        whole = self._ended or len(self._waiting) >= self._bytes
        frame = self._waiting[: self._bytes] if whole else b""
        self._waiting = self._waiting[len(frame) :]
        return from_pcm(np.frombuffer(frame.ljust(self._bytes, b"\0"), "<i2"))[None]


class PipeSink:
    """Bare samples of 16 bits to a pipe.

    Args:
        descriptor: of the pipe.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, block: Waveform) -> None:
        """As in `Sink`."""
        os.write(self._descriptor, to_pcm(block[0]).astype("<i2").tobytes())


class DeviceSource:
    """The microphone.

    Args:
        hop_length: samples of a frame.
    """

    def __init__(self, hop_length: int) -> None:
        self._silence = np.zeros((1, hop_length), np.float32)
        self._waiting: deque[Waveform] = deque(maxlen=_MOST_WAITING)

    def heard(self, block: Any, *_: object) -> None:
        """Take a frame [sample, 1] from the device."""
        self._waiting.append(block.T.copy())

    def read(self) -> Waveform | None:
        """As in `Source`; silence if the device is behind."""
        return self._waiting.popleft() if self._waiting else self._silence


class DeviceSink:
    """The loudspeaker."""

    def __init__(self) -> None:
        self._waiting: deque[Waveform] = deque(maxlen=_MOST_WAITING)

    def wanted(self, block: Any, *_: object) -> None:
        """Fill a frame [sample, 1] for the device."""
        block[:] = self._waiting.popleft().T if self._waiting else 0.0

    def write(self, block: Waveform) -> None:
        """As in `Sink`; the oldest frame is dropped if the device is behind."""
        self._waiting.append(block)


@contextmanager
def open_source(name: str, sample_rate: int, hop_length: int) -> Iterator[Source]:
    """Open a source: `DEVICE`, `NOTHING`, `PIPE` or a sound file.

    Raises:
        AudioError: the file cannot be read, or there is no such device.
    """
    if name == NOTHING:
        yield Silence(hop_length)
    elif name == DEVICE:
        source = DeviceSource(hop_length)
        with _device("InputStream", sample_rate, hop_length, source.heard):
            yield source
    elif name == PIPE:
        yield PipeSource(sys.stdin.fileno(), hop_length)
    else:
        with Reader(name) as reader:
            yield FileSource(reader, sample_rate, hop_length)


@contextmanager
def open_sink(name: str, sample_rate: int, hop_length: int, force: bool = False) -> Iterator[Sink]:
    """Open a sink: `DEVICE`, `NOTHING`, `PIPE` or a sound file.

    Raises:
        AudioError: the file cannot be written, or there is no such device.
        VqcodecError: the file exists already, unless with `force`.
    """
    if name == NOTHING:
        yield Nowhere()
    elif name == DEVICE:
        sink = DeviceSink()
        with _device("OutputStream", sample_rate, hop_length, sink.wanted):
            yield sink
    elif name == PIPE:
        yield PipeSink(sys.stdout.fileno())
    else:
        with Writer(name, sample_rate, 1, force=force) as writer:
            yield writer


@contextmanager
def _device(kind: str, sample_rate: int, hop_length: int, callback: Any) -> Iterator[None]:
    sounddevice = load_sounddevice()
    settings = {"samplerate": sample_rate, "channels": 1, "dtype": "float32", "blocksize": hop_length}
    try:
        stream = getattr(sounddevice, kind)(**settings, latency="low", callback=callback)
    except sounddevice.PortAudioError as error:
        raise AudioError(f"no sound device takes {sample_rate} Hz; a file may take its place (--in, --out)") from error
    with stream:
        yield
