"""One side of a call, without a network, a clock or a sound device: all of them are the caller's."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ...audio.waveform import Waveform
from ...codec import Codec
from ...errors import CorruptFile
from ..concealment import FrameDecoder
from ..jitter import JitterBuffer
from ..receiver import Receiver
from ..reports import (
    INTERVAL_S,
    RedundancyChoice,
    goodbye,
    is_goodbye,
    is_report,
    parse_report,
)
from ..sender import Sender, format_of

_QUIET_DB = -100.0


@dataclass
class Figures:
    """What can be said of a call at a moment."""

    sent_packets: int = 0
    sent_bytes: int = 0
    """Of RTP packets, without encryption and the headers of the network."""
    received_packets: int = 0
    lost_packets: int = 0
    dropped_packets: int = 0
    """Malformed, repeated, strange or too late."""
    loss_share: float = 0.0
    """Share of this side's packets that the other side lost lately."""
    delay_s: float = 0.0
    """Time that frames wait for later ones."""
    jitter_s: float = 0.0
    redundancy: str = "none"
    spoken_db: float = _QUIET_DB
    """Level of what was last sent."""
    heard_db: float = _QUIET_DB
    """Level of what was last played."""


@dataclass
class Call:
    """Sends and receives speech.

    Args:
        codec: for both directions.
        sender: of this side's speech.
        adapts: whether redundancy follows the loss that the other side reports.
    """

    codec: Codec
    sender: Sender
    adapts: bool = True
    ended: bool = False
    """Whether the other side has hung up."""
    _choice: RedundancyChoice = field(default_factory=RedundancyChoice)

    def __post_init__(self) -> None:
        config = self.codec.config
        frame_rate = config.frame_rate
        self.receiver = Receiver(format_of(self.codec), config.hop_length, frame_rate, JitterBuffer(1 / frame_rate))
        self.frame_s = 1 / frame_rate
        self._decoder = FrameDecoder(self.codec)
        self._figures = Figures()
        self._reported = -INTERVAL_S

    def push(self, block: Waveform, now: float) -> list[bytes]:
        """Take what was spoken [1, sample], and return the packets to send, reports among them."""
        self._figures.spoken_db = _level_db(block)
        datagrams = self.sender.push(block)
        self._figures.sent_packets += len(datagrams)
        self._figures.sent_bytes += sum(map(len, datagrams))
        if self.receiver.ssrc is not None and now - self._reported >= INTERVAL_S:
            self._reported = now
            datagrams.append(self.receiver.report(self.sender.packetizer.ssrc))
        return datagrams

    def put(self, datagram: bytes, now: float) -> bool:
        """Take a packet from the other side, and tell whether it was a good one."""
        if is_goodbye(datagram):
            self.ended = True
            return True
        if not is_report(datagram):
            return self.receiver.put(datagram, now)
        try:
            report = parse_report(datagram)
        except CorruptFile:
            self.receiver.counts.malformed += 1
            return False
        if report.ssrc != self.sender.packetizer.ssrc:
            self.receiver.counts.strange += 1
            return False
        self._figures.loss_share = report.loss_share
        if self.adapts:
            self.sender.packetizer.redundancy = self._choice.reported(report.loss_share)
        return True

    def pull(self, now: float) -> Waveform:
        """Return what is to be heard in the next frame's time [1, sample]."""
        block = self._decoder.push(self.receiver.pull(now))
        self._figures.heard_db = _level_db(block)
        return block

    def hang_up(self) -> list[bytes]:
        """The last packets of this side."""
        return [*self.sender.flush(), goodbye(self.sender.packetizer.ssrc)]

    def figures(self) -> Figures:
        """What can be said of the call now."""
        figures, receiver = self._figures, self.receiver
        counts, frames = receiver.counts, receiver.jitter.counts
        figures.received_packets, figures.lost_packets = counts.received, receiver.losses.lost
        figures.dropped_packets = counts.malformed + counts.repeated + counts.strange + frames.late + frames.strayed
        figures.delay_s, figures.jitter_s = receiver.jitter.delay_s, receiver.jitter_s
        figures.redundancy = str(self.sender.packetizer.redundancy)
        return figures


def _level_db(block: Waveform) -> float:
    return max(_QUIET_DB, float(10 * np.log10(np.mean(np.square(block, dtype=np.float64)) + 1e-12)))
