"""RTP packets -> frames to play, and what is known of the network. Needs no torch, and is told the time."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..errors import CorruptFile
from .jitter import JitterBuffer, Slot
from .payload import PayloadFormat
from .reports import LossCounter, ReceiverReport
from .rtp import SEQUENCE_BITS, TIMESTAMP_BITS, RtpHeader, parse, unwrapped
from .window import SIZE, ReplayWindow

_PATIENCE_S = 2.0
"""Silence of the network after which another source may take over."""
_JITTER_SHARE = 1 / 16
"""Share of each packet in the running mean of the jitter (RFC 3550, section 6.4.1)."""


@dataclass
class PacketCounts:
    """What became of packets."""

    received: int = 0
    """Packets that were good and new."""
    malformed: int = 0
    """Datagrams that are no packets of this format."""
    repeated: int = 0
    """Packets that came before."""
    strange: int = 0
    """Packets of another source than the one that is heard, or with numbers far from its others."""
    bytes: int = 0
    """Bytes of good packets, their headers counted."""


@dataclass
class Receiver:
    """Receives one stream.

    Args:
        format: of the payloads.
        hop_length: samples of a frame at the clock rate.
        frame_rate: frames a second.
        jitter: keeps the frames until their time.
    """

    format: PayloadFormat
    hop_length: int
    frame_rate: float
    jitter: JitterBuffer
    counts: PacketCounts = field(default_factory=PacketCounts)

    def __post_init__(self) -> None:
        self.ssrc: int | None = None
        """Source that is heard; None before its first packet."""
        self.losses = LossCounter()
        """Lost packets of that source."""
        self.jitter_s = 0.0
        """Running mean of the differences between packets' travelling times."""
        self._window = ReplayWindow()
        self._timestamp = self._origin = 0
        self._transit: float | None = None
        self._heard = 0.0
        self._after_jump: int | None = None

    def put(self, datagram: bytes, now: float) -> bool:
        """Take a datagram, and tell whether it was a good packet; others are counted and dropped.

        Args:
            datagram: whatever came.
            now: time in seconds.
        """
        try:
            header, payload = parse(datagram)
            packet = self.format.unpack(header.payload_type, payload)
            first = self._frame_number(header)
        except CorruptFile:
            self.counts.malformed += 1
            return False
        if header.ssrc != self.ssrc:
            if self.ssrc is not None and now - self._heard < _PATIENCE_S:
                self.counts.strange += 1
                return False
            self._begin(header)
            first = self._frame_number(header)
        highest = self._window.highest
        sequence = unwrapped(header.sequence, header.sequence if highest is None else highest, SEQUENCE_BITS)
        if self._is_far(sequence):
            believed = sequence == self._after_jump
            self._after_jump = sequence + 1
            if not believed:
                self.counts.strange += 1
                return False
            self._begin(header)
            first, sequence = 0, header.sequence
        if not self._window.is_new(sequence):
            self.counts.repeated += 1
            return False
        self._window.see(sequence)
        self.losses.see(sequence)
        self._heard = now
        self._timestamp = self._origin + first * self.hop_length
        self.counts.received += 1
        self.counts.bytes += len(datagram)
        self._measure_jitter(now - first / self.frame_rate)
        self.jitter.put(first, packet, now)
        return True

    def report(self, sender_ssrc: int) -> bytes:
        """What there is to say to the other side since the last report.

        Args:
            sender_ssrc: of the stream that this side sends.
        """
        return ReceiverReport(
            sender_ssrc=sender_ssrc,
            ssrc=self.ssrc or 0,
            loss_share=self.losses.share_since_last(),
            lost=self.losses.lost,
            highest=self.losses.highest,
            jitter=round(self.jitter_s * self.hop_length * self.frame_rate),
        ).to_bytes()

    def pull(self, now: float) -> Slot:
        """Return what is to be played in the next frame's time; silence before the first packet."""
        return self.jitter.pull(now)

    def _begin(self, header: RtpHeader) -> None:
        """Listen to a source from now on."""
        self.ssrc = header.ssrc
        self._window = ReplayWindow()
        self.losses = LossCounter()
        self._timestamp = self._origin = header.timestamp
        self._transit = None
        self._after_jump = None
        self.jitter_s = 0.0
        self.jitter.restart()

    def _is_far(self, sequence: int) -> bool:
        """Whether a packet's number is far from all others of its source: only a second such one is believed (A.1)."""
        highest = self._window.highest
        return highest is not None and abs(sequence - highest) >= SIZE

    def _frame_number(self, header: RtpHeader) -> int:
        """Number of the packet's first frame, counted from the first packet of the source.

        Raises:
            CorruptFile: the timestamp is not a whole number of frames away from others of its source.
        """
        if header.ssrc != self.ssrc:
            return 0
        timestamp = unwrapped(header.timestamp, self._timestamp, TIMESTAMP_BITS)
        frame, rest = divmod(timestamp - self._origin, self.hop_length)
        if rest:
            raise CorruptFile("the timestamp lies between two frames")
        return frame

    def _measure_jitter(self, transit: float) -> None:
        if self._transit is not None:
            self.jitter_s += (abs(transit - self._transit) - self.jitter_s) * _JITTER_SHARE
        self._transit = transit
