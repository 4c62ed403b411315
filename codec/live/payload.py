"""Codes of a packet <-> payload type and payload: a few frames, and the first codes of frames sent before.

The payload type says how many frames there are and which codes are redundant; the number of stages follows from the
length, since every code has at least 8 bits. No packet needs another one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError, CorruptFile
from ..payloads import plain
from .rtp import FIRST_DYNAMIC

MAX_FRAMES = 6
LEAST_BITS = 8

Codes = NDArray[np.int64]


class Redundancy(NamedTuple):
    """Which codes travel a second time."""

    distance: int
    """How many packets back they come from; 0 for none."""
    stages: int
    """How many of the first codes of each frame."""

    def __str__(self) -> str:
        return f"{self.distance}x{self.stages}" if self.distance else "none"


NO_REDUNDANCY = Redundancy(0, 0)
REDUNDANCIES = (NO_REDUNDANCY, Redundancy(1, 1), Redundancy(2, 1), Redundancy(4, 1), Redundancy(1, 3))
"""All that payload types can say, in the order of their numbers."""


def parse_redundancy(text: str) -> Redundancy:
    """Read a redundancy as it is written: "none", or packets back x stages, "1x1".

    Raises:
        ConfigError: there is no such redundancy.
    """
    known = {str(one): one for one in REDUNDANCIES}
    if text not in known:
        raise ConfigError(f"redundancy is one of {', '.join(known)}, not {text!r}")
    return known[text]


NOISE_TYPE = FIRST_DYNAMIC + MAX_FRAMES * len(REDUNDANCIES)
"""Payload type of a frame of background noise: what follows is silence, until the next packet."""


@dataclass(frozen=True, eq=False)
class FramePacket:
    """Codes as they travel together."""

    codes: Codes
    """[stage, frame], 1 to 6 frames; of noise a single one."""
    redundant: Codes | None = None
    """The first codes of as many frames, `redundancy.distance` packets back [stage, frame]; None without any."""
    redundancy: Redundancy = NO_REDUNDANCY
    noise: bool = False
    """Whether this describes the background, and silence follows."""

    @property
    def frames(self) -> int:
        """Number of frames, the redundant ones not counted."""
        return int(self.codes.shape[1])

    @property
    def back(self) -> int:
        """Number of frames that the redundant ones are behind the packet's own."""
        return self.redundancy.distance * self.frames


@dataclass(frozen=True)
class PayloadFormat:
    """What both sides know of the model.

    Raises:
        ConfigError: the number of stages would not follow from the length, as codes have fewer than 8 bits.
    """

    num_stages: int
    codebook_size: int

    def __post_init__(self) -> None:
        if self.bits < LEAST_BITS:
            raise ConfigError(f"live packets need codes of at least {LEAST_BITS} bits; this model's have {self.bits}")

    @property
    def bits(self) -> int:
        """Bits of a code."""
        return max(1, (self.codebook_size - 1).bit_length())

    def pack(self, packet: FramePacket) -> tuple[int, bytes]:
        """Payload type and payload: the codes stage by stage, the redundant ones first, in whole bytes."""
        rows = packet.codes if packet.redundant is None else np.vstack([packet.redundant, packet.codes])
        return _type_of(packet), plain.pack(rows[None], self.bits)

    def unpack(self, payload_type: int, payload: bytes) -> FramePacket:
        """Mirror of `pack`.

        Raises:
            CorruptFile: the payload type is none of this format's, the length fits no number of stages that the model
                has, the bits left over are not zero, or a code is not in the codebook.
        """
        frames, redundancy, noise = _meaning_of(payload_type)
        rows = self._rows(len(payload), frames)
        stages = rows - redundancy.stages
        if not 1 <= stages <= self.num_stages:
            raise CorruptFile(
                f"{len(payload)} bytes are no payload of {frames} frames and 1 to {self.num_stages} stages"
            )
        codes = plain.unpack(payload, channels=1, stages=rows, frames=frames, bits=self.bits)[0]
        if codes.max() >= self.codebook_size:
            raise CorruptFile(f"a code of {codes.max()}, but the codebooks have {self.codebook_size} entries")
        if redundancy.distance:
            return FramePacket(codes[redundancy.stages :], codes[: redundancy.stages], redundancy)
        return FramePacket(codes, noise=noise)

    def _rows(self, length: int, frames: int) -> int:
        """Rows of codes, one for each frame, that take so many bytes: at most one number of them does."""
        return 8 * length // (frames * self.bits)


def _type_of(packet: FramePacket) -> int:
    if packet.noise:
        return NOISE_TYPE
    return FIRST_DYNAMIC + (packet.frames - 1) * len(REDUNDANCIES) + REDUNDANCIES.index(packet.redundancy)


def _meaning_of(payload_type: int) -> tuple[int, Redundancy, bool]:
    """Frames, redundancy, and whether it is noise."""
    if payload_type == NOISE_TYPE:
        return 1, NO_REDUNDANCY, True
    if not FIRST_DYNAMIC <= payload_type < NOISE_TYPE:
        raise CorruptFile(f"no payload has the type {payload_type}")
    frames, place = divmod(payload_type - FIRST_DYNAMIC, len(REDUNDANCIES))
    return frames + 1, REDUNDANCIES[place], False
