"""What the receiver tells the sender: RTCP receiver reports (RFC 3550, section 6.4.2) with a single block, 32 bytes.

They share the port with the speech: their second byte, 201, is no payload type of it (RFC 5761).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from ..errors import CorruptFile
from .payload import NO_REDUNDANCY, Redundancy

REPORT_BYTES = 32
INTERVAL_S = 1.0
"""How often a receiver reports."""
RECEIVER_REPORT, GOODBYE = 201, 203
_FIRST_BYTE = 0x81  # version 2, one block
_WORDS = REPORT_BYTES // 4 - 1
_LAYOUT = struct.Struct(">BBHIIIIIII")
_KEPT = 0.9
_MOST_LOST = (1 << 23) - 1


@dataclass(frozen=True)
class ReceiverReport:
    """What a receiver has to say of a stream."""

    sender_ssrc: int
    """Of whoever reports."""
    ssrc: int
    """Stream that is reported on."""
    loss_share: float
    """Share of packets that were lost since the last report, 0 to 1, in steps of 1/256."""
    lost: int
    """Packets lost in all, at most 2^23 - 1."""
    highest: int
    """Highest sequence number received, below 2^32."""
    jitter: int
    """Mean difference between travelling times, in samples."""

    def to_bytes(self) -> bytes:
        """The 32 bytes of the report; when the last sender report came is left open."""
        lost = min(255, int(self.loss_share * 256)) << 24 | min(self.lost, _MOST_LOST)
        head = (_FIRST_BYTE, RECEIVER_REPORT, _WORDS, self.sender_ssrc)
        return _LAYOUT.pack(*head, self.ssrc, lost, self.highest & 0xFFFFFFFF, self.jitter, 0, 0)


def is_report(datagram: bytes) -> bool:
    """Whether a datagram is for `parse_report` rather than for a `Receiver`."""
    return datagram[1:2] == bytes([RECEIVER_REPORT])


def is_goodbye(datagram: bytes) -> bool:
    """Whether a datagram says that its sender hangs up (RTCP BYE)."""
    return datagram[1:2] == bytes([GOODBYE])


def goodbye(ssrc: int) -> bytes:
    """The 8 bytes by which a source hangs up."""
    return struct.pack(">BBHI", _FIRST_BYTE, GOODBYE, 1, ssrc)


def parse_report(datagram: bytes) -> ReceiverReport:
    """Mirror of `ReceiverReport.to_bytes`.

    Raises:
        CorruptFile: it has another length or another head.
    """
    if len(datagram) != REPORT_BYTES:
        raise CorruptFile(f"a receiver report has {REPORT_BYTES} bytes here, not {len(datagram)}")
    first, kind, words, sender, ssrc, lost, highest, jitter, _, _ = _LAYOUT.unpack(datagram)
    if (first, kind, words) != (_FIRST_BYTE, RECEIVER_REPORT, _WORDS):
        raise CorruptFile("this is no receiver report of a single block")
    return ReceiverReport(sender, ssrc, (lost >> 24) / 256, lost & 0xFFFFFF, highest, jitter)


class LossCounter:
    """Counts lost packets by their sequence numbers (RFC 3550, appendix A.3)."""

    def __init__(self) -> None:
        self._first = self._highest = 0
        self._received = 0
        self._expected_before = self._received_before = 0

    @property
    def highest(self) -> int:
        """The highest number so far."""
        return self._highest

    @property
    def lost(self) -> int:
        """Packets lost so far."""
        return max(0, self._expected - self._received)

    def see(self, sequence: int) -> None:
        """Note a packet that is new, by its long number."""
        if not self._received:
            self._first = self._highest = sequence
        self._first, self._highest = min(self._first, sequence), max(self._highest, sequence)
        self._received += 1

    def share_since_last(self) -> float:
        """Share of packets that were lost since this was last asked, 0 to 1."""
        expected, received = self._expected - self._expected_before, self._received - self._received_before
        self._expected_before, self._received_before = self._expected, self._received
        return max(0, expected - received) / expected if expected > 0 else 0.0

    @property
    def _expected(self) -> int:
        return self._highest - self._first + 1 if self._received else 0


class RedundancyChoice:
    """Chooses the redundancy by the loss that the other side reports.

    Below 1 % none is worth its bits. Heavier losses come in longer gaps, which a longer distance bridges. The choice
    follows a rising loss at once and a falling one slowly, since every change makes the receiver change its delay.
    """

    def __init__(self) -> None:
        self.loss_share = 0.0
        """Share of packets taken to be lost."""

    def reported(self, loss_share: float) -> Redundancy:
        """Note the share of packets lost since the last report, 0 to 1, and choose."""
        self.loss_share = max(loss_share, _KEPT * self.loss_share + (1 - _KEPT) * loss_share)
        for most, redundancy in ((0.01, NO_REDUNDANCY), (0.05, Redundancy(1, 1)), (0.15, Redundancy(2, 1))):
            if self.loss_share < most:
                return redundancy
        return Redundancy(4, 1)
