"""Payload codings: how the codes of packets become bytes and back. The header of a file names one by its number.

    0  plain packing: every code takes as many bits as every other
    1  varying: the numbers of stages of the frames, and the codes packed plainly
    2  context: both coded by what a context model expects

Codes are [channel, stage, frame], `ABSENT` beyond the stages of a frame where they may vary.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vqcodec.models import registry

from ..bitstream import first_bits
from ..errors import CorruptFile, ModelMismatch, UnsupportedVersion
from ..header import Header
from . import counts as count_coding
from . import plain
from .plain import ABSENT, PLAIN

if TYPE_CHECKING:
    from .context import ContextCoder

VARYING, CONTEXT = 1, 2

NAMES = {PLAIN: "plain packing", VARYING: "varying stages", CONTEXT: "context coding"}
"""The payload codings by their numbers."""

Codes: TypeAlias = NDArray[np.integer[Any]]

_MOST_FRAMES = 4000
_MOST_CODES = 1 << 20
"""What is decoded together of context coding: the more the quicker, and the larger in memory."""


class Coding(Protocol):
    """A payload coding, for files with one header."""

    @property
    def frames_at_once(self) -> int:
        """Frames of the packets that are best decoded together."""

    def encode(self, packets: Sequence[Codes]) -> list[bytes]:
        """Codes of packets -> payloads, each by itself. Raises ValueError for codes that cannot be coded so."""

    def decode(self, payloads: Sequence[bytes], frames: Sequence[int]) -> list[NDArray[np.int64]]:
        """Payloads -> codes; `frames` of each. Raises CorruptFile for a payload that cannot be."""

    def begun(self, payload: bytes, length: int, frames: int) -> NDArray[np.int64]:
        """The beginning of a payload of this length -> the codes that are whole in it; may be of no or fewer frames.

        Raises CorruptFile for a payload that cannot be.
        """

    def costs(self, codes: Codes) -> NDArray[np.float64]:
        """Bits of a packet, about: of the number of stages, then of each code [channel, 1 + stage, frame]."""


class Plain:
    """Plain packing; see `plain`."""

    frames_at_once = 1

    def __init__(self, header: Header) -> None:
        self._header = header

    def encode(self, packets: Sequence[Codes]) -> list[bytes]:
        return [plain.pack(codes, self._header.bits_per_code) for codes in packets]

    def decode(self, payloads: Sequence[bytes], frames: Sequence[int]) -> list[NDArray[np.int64]]:
        h = self._header
        return [
            plain.unpack(payload, channels=h.channels, stages=h.stages, frames=number, bits=h.bits_per_code)
            for payload, number in zip(payloads, frames, strict=True)
        ]

    def begun(self, payload: bytes, length: int, frames: int) -> NDArray[np.int64]:
        h = self._header
        stage_bits = h.channels * frames * h.bits_per_code
        whole = 8 * len(payload) // stage_bits
        if not whole:
            return _nothing(h)
        packed = first_bits(payload, whole * stage_bits)
        codes = plain.unpack(packed, channels=h.channels, stages=whole, frames=frames, bits=h.bits_per_code)
        return np.pad(codes, ((0, 0), (0, h.stages - whole), (0, 0)), constant_values=ABSENT)

    def costs(self, codes: Codes) -> NDArray[np.float64]:
        return _with_counts(np.full(codes.shape, self._header.bits_per_code), 0.0)


class Varying:
    """The numbers of stages of the frames, then their codes, packed plainly.

    A payload has the length of the first part (2 bytes, little-endian), that part as `counts` codes it, and the codes
    that are sent, in the order stage, channel, frame.
    """

    frames_at_once = 1

    def __init__(self, header: Header) -> None:
        self._header = header

    def encode(self, packets: Sequence[Codes]) -> list[bytes]:
        return [self._encode(codes) for codes in packets]

    def decode(self, payloads: Sequence[bytes], frames: Sequence[int]) -> list[NDArray[np.int64]]:
        return [self._decode(payload, number) for payload, number in zip(payloads, frames, strict=True)]

    def begun(self, payload: bytes, length: int, frames: int) -> NDArray[np.int64]:
        counts, packed = self._parts(payload, frames)
        return _whole_stages(packed, counts, self._header)

    def costs(self, codes: Codes) -> NDArray[np.float64]:
        numbers = 8 * len(count_coding.encode(counts_of(codes), self._header.stages))
        return _with_counts(self._header.bits_per_code * (codes != ABSENT), numbers / max(1, codes[:, 0].size))

    def _encode(self, codes: Codes) -> bytes:
        h = self._header
        numbers = count_coding.encode(counts_of(codes), h.stages)
        sent = codes.transpose(1, 0, 2)[codes.transpose(1, 0, 2) != ABSENT]
        return len(numbers).to_bytes(2, "little") + numbers + plain.pack(sent[None, None], h.bits_per_code)

    def _decode(self, payload: bytes, frames: int) -> NDArray[np.int64]:
        counts, packed = self._parts(payload, frames)
        return _unpacked(packed, counts, self._header)

    def _parts(self, payload: bytes, frames: int) -> tuple[NDArray[np.int64], bytes]:
        """The numbers of stages [channel, frame], and the packed codes behind them."""
        h = self._header
        begin = 2 + int.from_bytes(payload[:2], "little")
        if len(payload) < begin:
            raise CorruptFile("a payload ends before the numbers of stages of its frames do")
        return count_coding.decode(payload[2:begin], h.channels, frames, h.stages), payload[begin:]


class Context:
    """Context coding; see `context`."""

    def __init__(self, header: Header, coder: ContextCoder) -> None:
        self._header, self._coder = header, coder
        self.frames_at_once = min(_MOST_FRAMES, _MOST_CODES // (header.channels * header.stages))

    def encode(self, packets: Sequence[Codes]) -> list[bytes]:
        return self._coder.encode([(codes.clip(0), counts_of(codes)) for codes in packets])

    def decode(self, payloads: Sequence[bytes], frames: Sequence[int]) -> list[NDArray[np.int64]]:
        h = self._header
        decoded = self._coder.decode(payloads, frames, h.channels, h.stages)
        return [np.where(np.arange(h.stages)[:, None] < counts[:, None], codes, ABSENT) for codes, counts in decoded]

    def begun(self, payload: bytes, length: int, frames: int) -> NDArray[np.int64]:
        h = self._header
        codes, counts = self._coder.begun(payload, length, frames, h.channels, h.stages)
        return np.where(np.arange(h.stages)[:, None] < counts[:, None], codes, ABSENT)

    def costs(self, codes: Codes) -> NDArray[np.float64]:
        return self._coder.costs(codes.clip(0), counts_of(codes)).astype(np.float64)


def of_header(header: Header, coder: ContextCoder | None = None, name: str = "<stream>") -> Coding:
    """Return the payload coding that a header names.

    Args:
        header: of the file.
        coder: the context model, if it is at hand; otherwise that of the model that ships with this fingerprint.
        name: of the file, for messages.

    Raises:
        UnsupportedVersion: the coding is unknown.
        ModelMismatch: there is no context model to be found.
    """
    match header.payload_coding:
        case 0:
            return Plain(header)
        case 1:
            return Varying(header)
        case 2:
            return Context(header, coder or _shipped_coder(header, name))
    known = ", ".join(f"{number} ({what})" for number, what in NAMES.items())
    problem = f"payload coding {header.payload_coding} is unknown, this version knows {known}"
    raise UnsupportedVersion(f"{name}: {problem}; install a newer vqcodec")


def _shipped_coder(header: Header, name: str) -> ContextCoder:
    info = registry.by_fingerprint(header.fingerprint)
    coder = None if info is None else _load_coder(info.path)
    if coder is None:
        where = registry.whereabouts(header.fingerprint)
        raise ModelMismatch(f"{name}: context-coded by a model that is needed here: {where}")
    return coder


@functools.cache
def _load_coder(path: Path) -> ContextCoder | None:
    """Load the context model of a model that ships, once for all files of a folder."""
    from .context import ContextCoder

    return ContextCoder.load(path)


def counts_of(codes: Codes) -> NDArray[np.int64]:
    """Count the stages that are sent of each frame [channel, frame]."""
    counts: NDArray[np.int64] = (codes != ABSENT).sum(axis=1)
    return counts


def _unpacked(packed: bytes, counts: NDArray[np.int64], header: Header) -> NDArray[np.int64]:
    """Plainly packed codes of frames with so many stages each [channel, frame] -> [channel, stage, frame]."""
    sent = np.arange(header.stages)[:, None, None] < counts  # [stage, channel, frame]
    codes = np.full(sent.shape, ABSENT, np.int64)
    unpacked = plain.unpack(packed, channels=1, stages=1, frames=int(counts.sum()), bits=header.bits_per_code)
    codes[sent] = unpacked[0, 0]
    return np.ascontiguousarray(codes.transpose(1, 0, 2))


def _whole_stages(packed: bytes, counts: NDArray[np.int64], header: Header) -> NDArray[np.int64]:
    """As `_unpacked`, but of the stages alone that are there whole; no frames if none is."""
    ends = np.cumsum([(counts > stage).sum() for stage in range(header.stages)]) * header.bits_per_code
    whole = int((ends <= 8 * len(packed)).sum())
    if not whole:
        return _nothing(header)
    return _unpacked(first_bits(packed, int(ends[whole - 1])), counts.clip(max=whole), header)


def _nothing(header: Header) -> NDArray[np.int64]:
    return np.zeros((header.channels, header.stages, 0), np.int64)


def _with_counts(costs: NDArray[Any], bits: float) -> NDArray[np.float64]:
    """Costs of codes [channel, stage, frame], and in front of them those of the numbers of stages, all the same."""
    return np.pad(costs.astype(np.float64), ((0, 0), (1, 0), (0, 0)), constant_values=bits)
