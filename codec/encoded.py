"""Codes with all that decoding needs to know besides the model: what a `.vq` file holds, in memory."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from . import bitstream
from .checks import as_array
from .errors import ConfigError, VqcodecError
from .files import atomic_output
from .packets import read_packets, regrouped
from .payloads import codings
from .payloads.plain import ABSENT

if TYPE_CHECKING:
    from torch import Tensor

    from .payloads.context import ContextCoder


@dataclass(frozen=True, kw_only=True, eq=False)
class Encoded:
    """Codes and their header: `Codec.encode` returns it, `Codec.decode` takes it, `to_bytes` and `save` write it.

    Raises:
        ConfigError: the codes are not [channel, stage, frame], or not as many as the header says.
    """

    codes: NDArray[np.int64] | Tensor
    """[channel, stage, frame], numpy or torch as the waveform was; -1 in the last stages of frames that have fewer."""
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
        """Bits a second and channel of the raw codes, in the mean; a file has some overhead besides, or packs them."""
        frames = self.codes.shape[-1]
        if not frames:
            return self.header.bitrate_bps
        sent = int((self.codes != ABSENT).sum()) / (self.channels * frames)
        return sent * self.bits_per_code * self.header.frame_rate

    def with_stages(self, stages: int) -> Encoded:
        """Lower the bitrate: return the same sound with only the first `stages` codes of each frame.

        Raises:
            ConfigError: there are fewer, none are wanted, or this kind of codes needs them all.
        """
        bitstream.check_peelable(self.header, stages, "the encoded sound")
        return Encoded(codes=self.codes[:, :stages], header=replace(self.header, stages=stages))

    def to_bytes(self, coder: ContextCoder | None = None) -> bytes:
        """Write the `.vq` file.

        Args:
            coder: the context model, if the payload coding of the header is context coding; by default that of the
                model that ships with this fingerprint.

        Raises:
            ModelMismatch: it is needed, but not given, and none ships.
        """
        file = io.BytesIO()
        codes = as_array(self.codes)
        writer = bitstream.Writer(file, self.header)
        parts = list(regrouped([codes], self.header))
        payloads = codings.of_header(self.header, coder).encode(parts)
        for part, payload in zip(parts, payloads, strict=True):
            writer.write(bitstream.Packet(part.shape[-1], payload))
        writer.finish(self.num_samples)
        return file.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes, name: str = "<bytes>", coder: ContextCoder | None = None) -> Encoded:
        """Read a `.vq` file: the inverse of `to_bytes`. The codes are not checked against the codec's model.

        Args:
            data: the file.
            name: for messages.
            coder: as in `to_bytes`.

        Raises:
            NotVqcodecFile, UnsupportedVersion, CorruptFile: as `bitstream.Reader` does.
            ModelMismatch: the file is context-coded by a model that is not at hand.
        """
        return cls.from_reader(bitstream.Reader(io.BytesIO(data), name), coder)

    @classmethod
    def from_reader(cls, reader: bitstream.Reader, coder: ContextCoder | None = None) -> Encoded:
        """Read what a reader gives, to its end; `coder` and errors as in `from_bytes`."""
        header = reader.header
        nothing = np.zeros((header.channels, header.stages, 0), np.int64)
        codes = np.concatenate([nothing, *read_packets(reader, codings.of_header(header, coder, reader.name))], axis=-1)
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
    def load(cls, path: str | os.PathLike[str], coder: ContextCoder | None = None) -> Encoded:
        """Read a `.vq` file; raises what `from_bytes` does, and VqcodecError if it cannot be read."""
        return cls.from_bytes(read_file(path), os.fspath(path), coder)


def read_file(path: str | os.PathLike[str]) -> bytes:
    """Read a file; raises VqcodecError if that is not possible."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise VqcodecError(f"cannot read {os.fspath(path)}: {error.strerror or error}") from error
