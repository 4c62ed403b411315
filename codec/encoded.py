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
from .errors import ConfigError, CorruptFile, VqcodecError
from .files import atomic_output

PACKET_S = 5.0
"""Seconds of audio in each packet, except for the last packet."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Encoded:
    """Codes and their header: `Codec.encode` returns it, `Codec.decode` takes it, `to_bytes` and `save` write it.

    Raises:
        ConfigError: the codes are not [channel, stage, frame], or not as many as the header says.
    """

    codes: NDArray[np.int64] | Tensor
    """[channel, stage, frame], numpy or torch as the waveform was."""
    header: bitstream.Header
    """The facts of the file; its number of samples is known."""

    def __post_init__(self) -> None:
        shape = list(self.codes.shape)
        if self.codes.ndim != 3 or 0 in shape[:2]:
            raise ConfigError(f"codes have the shape [channel, stage, frame], not {shape}")
        if shape[:2] != [self.header.channels, self.header.stages]:
            channels, stages = self.header.channels, self.header.stages
            raise ConfigError(f"codes of {channels} channels and {stages} stages do not have the shape {shape}")
        if self.header.num_samples is None:
            raise ConfigError("the header of an encoded sound says how many samples it has")

    @property
    def num_samples(self) -> int:
        """Samples per channel of the sound that was encoded, at its own rate."""
        assert self.header.num_samples is not None
        return self.header.num_samples

    @property
    def source_sample_rate(self) -> int:
        """Sample rate of that sound, in Hz."""
        return self.header.source_sample_rate

    @property
    def sample_rate(self) -> int:
        """Sample rate of the codec, in Hz."""
        return self.header.sample_rate

    @property
    def hop_length(self) -> int:
        """Samples per frame, at the codec's rate."""
        return self.header.hop_length

    @property
    def bits_per_code(self) -> int:
        """Bits of one code, packed plainly."""
        return self.header.bits_per_code

    @property
    def fingerprint(self) -> str:
        """First 8 bytes of the model's fingerprint, as 16 hexadecimal digits."""
        return self.header.fingerprint.hex()

    @property
    def kind(self) -> str:
        """Kind of the codes: the model's bottleneck, one of `bitstream.KINDS`."""
        return self.header.kind

    @property
    def channels(self) -> int:
        """Number of channels."""
        return self.header.channels

    @property
    def stages(self) -> int:
        """Codes per frame and channel."""
        return self.header.stages

    @property
    def duration_s(self) -> float:
        """Length of the sound in seconds."""
        return self.num_samples / self.source_sample_rate

    @property
    def bitrate_bps(self) -> float:
        """Bits a second and channel of the raw codes; a file has some overhead besides."""
        return self.header.bitrate_bps

    def with_stages(self, stages: int) -> Encoded:
        """Lower the bitrate: return the same sound with only the first `stages` codes of each frame.

        Raises:
            ConfigError: there are fewer, none are wanted, or this kind of codes needs them all.
        """
        bitstream.check_peelable(self.header, stages, "the encoded sound")
        return Encoded(codes=self.codes[:, :stages], header=replace(self.header, stages=stages))

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
        # What is written of it is of this version, whatever wrote the file.
        return cls(codes=codes, header=replace(header, num_samples=reader.num_samples, version=(bitstream.MAJOR, 0)))

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
    """Regroup arrays along the last axis into parts of `size`; the last part may be shorter."""
    held: list[NDArray[Any]] = []
    for part in parts:
        held.append(part)
        if sum(codes.shape[-1] for codes in held) >= size:
            whole = np.concatenate(held, axis=-1)
            full = whole.shape[-1] // size * size
            yield from np.split(whole[..., :full], full // size, axis=-1)
            held = [whole[..., full:].copy()]
    if held and (rest := np.concatenate(held, axis=-1)).shape[-1]:
        yield rest
