"""The fixed header of RTP (RFC 3550, section 5.1): 12 bytes, with neither padding, extension nor contributing sources.

Sequence numbers and timestamps are short and wrap; `unwrapped` tells which of the long numbers is meant.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from ..errors import CorruptFile

HEADER_BYTES = 12
SEQUENCE_BITS = 16
TIMESTAMP_BITS = 32
FIRST_DYNAMIC, LAST_DYNAMIC = 96, 127
"""Payload types whose meaning a session agrees on (RFC 3551)."""

_LAYOUT = struct.Struct(">BBHII")
_VERSION_2 = 0x80
_MARKER = 0x80


@dataclass(frozen=True)
class RtpHeader:
    """What stands before the payload of a packet."""

    payload_type: int
    """0 to 127."""
    marker: bool
    """Whether this is the first packet after silence."""
    sequence: int
    """Counts packets, modulo 2^16."""
    timestamp: int
    """Of the first sample of the packet at the clock rate, modulo 2^32."""
    ssrc: int
    """Source: a random number below 2^32 that is a stream's own."""

    def to_bytes(self) -> bytes:
        """The 12 bytes of the header."""
        second = self.payload_type | (_MARKER if self.marker else 0)
        return _LAYOUT.pack(_VERSION_2, second, self.sequence, self.timestamp, self.ssrc)


def parse(datagram: bytes) -> tuple[RtpHeader, bytes]:
    """Split a datagram into header and payload.

    Raises:
        CorruptFile: it is too short, of another version, or uses parts of RTP that no sender of this format uses.
    """
    if len(datagram) < HEADER_BYTES:
        raise CorruptFile(f"an RTP packet has {HEADER_BYTES} bytes or more, not {len(datagram)}")
    first, second, sequence, timestamp, ssrc = _LAYOUT.unpack_from(datagram)
    if first != _VERSION_2:
        raise CorruptFile(f"the first byte of an RTP packet is {_VERSION_2:#x} here, not {first:#x}")
    header = RtpHeader(second & ~_MARKER, bool(second & _MARKER), sequence, timestamp, ssrc)
    return header, datagram[HEADER_BYTES:]


def unwrapped(short: int, near: int, bits: int) -> int:
    """The number next to `near` whose last `bits` bits are those of `short`; of two as near the smaller one."""
    half = 1 << (bits - 1)
    return near - half + ((short - near + half) & ((1 << bits) - 1))
