"""Codes with all that decoding needs to know besides the model: what a `.vq` file holds, in memory."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from . import bitstream, entropy
from .audio import resampled_length
from .errors import ConfigError, CorruptFile, VqcodecError
from .files import atomic_output

PACKET_S = 5.0
"""Seconds of audio in each packet, the last one aside."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Encoded:
    """What `Codec.encode` returns and `Codec.decode` takes; `to_bytes` and `save` make a `.vq` file of it.

    Raises:
        ConfigError: the codes are not integers [channel, stage, frame].
    """

    codes: NDArray[np.int64] | Tensor
    """[channel, stage, frame], numpy or torch as the waveform was."""
    num_samples: int
    """Samples per channel of the sound that was encoded, at its own rate."""
    source_sample_rate: int
    """The rate of that sound, in Hz."""
    sample_rate: int
    """The codec's rate, in Hz."""
    hop_length: int
    """Samples per frame, at the codec's rate."""
    bits_per_code: int
    fingerprint: str
    """First 8 bytes of the model's fingerprint, as 16 hexadecimal digits."""
    kind: str = "rvq"
    """Of codes: the model's bottleneck, one of `bitstream.KINDS`."""

    def __post_init__(self) -> None:
        if self.codes.ndim != 3 or 0 in self.codes.shape[:2]:
            raise ConfigError(f"codes have the shape [channel, stage, frame], not {list(self.codes.shape)}")

    @property
    def channels(self) -> int:
        """Number of channels."""
        return int(self.codes.shape[0])

    @property
    def stages(self) -> int:
        """Codes per frame and channel."""
        return int(self.codes.shape[1])

    @property
    def duration_s(self) -> float:
        """Length of the sound in seconds."""
        return self.num_samples / self.source_sample_rate

    @property
    def bitrate_bps(self) -> float:
        """Bits a second and channel of the raw codes; a file has some overhead besides."""
        return self.header.bitrate_bps

    @property
    def header(self) -> bitstream.Header:
        """The header of the file; raises ValueError if the format cannot hold it."""
        return bitstream.Header(
            fingerprint=bytes.fromhex(self.fingerprint),
            sample_rate=self.sample_rate,
            source_sample_rate=self.source_sample_rate,
            channels=self.channels,
            num_samples=self.num_samples,
            hop_length=self.hop_length,
            stages=self.stages,
            bits_per_code=self.bits_per_code,
            kind=self.kind,
        )

    def with_stages(self, stages: int) -> Encoded:
        """The same sound at a lower bitrate: only the first `stages` codes of each frame.

        Raises:
            ConfigError: there are fewer, none are wanted, or this kind of codes needs them all.
        """
        if not 1 <= stages <= self.stages:
            raise ConfigError(f"can keep 1 to {self.stages} stages, not {stages}")
        bitstream.check_peelable(self.kind, self.stages, stages, "the encoded sound")
        return replace(self, codes=self.codes[:, :stages])

    def to_bytes(self) -> bytes:
        """The `.vq` file."""
        file = io.BytesIO()
        codes = self.codes.cpu().numpy() if isinstance(self.codes, Tensor) else self.codes
        writer = bitstream.Writer(file, self.header)
        write_packets(writer, [codes])
        writer.finish(self.num_samples)
        return file.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes, name: str = "<bytes>") -> Encoded:
        """The inverse of `to_bytes`; `name` is for messages. Without a model, so the codes may still be no model's.

        Raises:
            NotVqcodecFile, UnsupportedVersion, CorruptFile: as `bitstream.Reader` does.
        """
        reader = bitstream.Reader(io.BytesIO(data), name)
        header = reader.header
        nothing = np.zeros((header.channels, header.stages, 0), np.int64)
        codes = np.concatenate([nothing, *read_packets(reader)], axis=-1)
        assert reader.num_samples is not None
        return cls(
            codes=codes,
            num_samples=reader.num_samples,
            source_sample_rate=header.source_sample_rate,
            sample_rate=header.sample_rate,
            hop_length=header.hop_length,
            bits_per_code=header.bits_per_code,
            fingerprint=header.fingerprint.hex(),
            kind=header.kind,
        )

    def save(self, path: str | os.PathLike[str], force: bool = False) -> None:
        """Write a `.vq` file, whole or not at all.

        Raises:
            VqcodecError: it cannot be written, or exists already and `force` is false.
        """
        data = self.to_bytes()
        with atomic_output(path, force) as file:
            file.write(data)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Encoded:
        """Read a `.vq` file; raises what `from_bytes` does, and VqcodecError if it cannot be read."""
        try:
            data = Path(path).read_bytes()
        except OSError as error:
            raise VqcodecError(f"cannot read {os.fspath(path)}: {error.strerror or error}") from error
        return cls.from_bytes(data, os.fspath(path))


@dataclass(frozen=True)
class Length:
    """How long a sound is: `num_samples` per channel at `sample_rate` Hz."""

    num_samples: int
    sample_rate: int

    def at(self, sample_rate: int) -> int:
        """Samples at another rate, rounded up."""
        return resampled_length(self.num_samples, self.sample_rate, sample_rate)


def write_packets(writer: bitstream.Writer, parts: Iterable[NDArray[Any]]) -> None:
    """Write codes [channel, stage, frame], in parts of any length, as packets of `PACKET_S`."""
    header = writer.header
    frames = min(max(1, round(PACKET_S * header.frame_rate)), bitstream.MAX_FRAMES)
    for codes in _regrouped(parts, frames):
        payload = entropy.encode_payload(header.payload_coding, codes, header.bits_per_code)
        writer.write(bitstream.Packet(codes.shape[-1], payload))


def read_packets(reader: bitstream.Reader) -> Iterator[NDArray[np.int64]]:
    """The codes [channel, stage, frame] of each packet.

    Raises:
        CorruptFile: the file is damaged; with `salvage` damage ends the iteration and stays in `reader.damage`.
        UnsupportedVersion: the payload coding is unknown.
    """
    h = reader.header
    for packet in reader:
        try:
            yield entropy.decode_payload(
                h.payload_coding,
                packet.payload,
                channels=h.channels,
                stages=h.stages,
                frames=packet.frames,
                bits=h.bits_per_code,
            )
        except CorruptFile as error:
            raise CorruptFile(f"{reader.name}: before byte {reader.offset}: {error}") from error


def _regrouped(parts: Iterable[NDArray[Any]], size: int) -> Iterator[NDArray[Any]]:
    """The same along the last axis, in parts of `size`; the last one may be shorter."""
    held: list[NDArray[Any]] = []
    for part in parts:
        held.append(part)
        if sum(one.shape[-1] for one in held) >= size:
            whole = np.concatenate(held, axis=-1)
            full = whole.shape[-1] // size * size
            yield from np.split(whole[..., :full], full // size, axis=-1)
            held = [whole[..., full:].copy()]
    if held and (rest := np.concatenate(held, axis=-1)).shape[-1]:
        yield rest
