"""A call between two sides in simulated time, as fast as the machine can: codes from anywhere, nobody listens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from .channel import Channel, Network
from .jitter import JitterBuffer, Slot
from .packets import Packetizer
from .payload import Codes, PayloadFormat
from .receiver import Receiver
from .reports import INTERVAL_S, RedundancyChoice, is_report, parse_report


@dataclass(frozen=True, kw_only=True)
class Side:
    """One side's sender and receiver, and its clock, which goes wrong by so many parts in a million."""

    packetizer: Packetizer
    receiver: Receiver
    clock_ppm: float = 0.0
    choice: RedundancyChoice = field(default_factory=RedundancyChoice)

    def local(self, now: float) -> float:
        """The time that this side's clock shows."""
        return now * (1 + self.clock_ppm * 1e-6)

    def true(self, local: float) -> float:
        """The time when this side's clock shows another."""
        return local / (1 + self.clock_ppm * 1e-6)

    def take(self, datagram: bytes, now: float) -> None:
        """Take what came from the other side; a report on the loss changes the redundancy."""
        if is_report(datagram):
            self.packetizer.redundancy = self.choice.reported(parse_report(datagram).loss_share)
        else:
            self.receiver.put(datagram, now)


def side(format: PayloadFormat, hop_length: int, frame_rate: float, clock_ppm: float = 0.0) -> Side:
    """Set up a side with the usual settings."""
    receiver = Receiver(format, hop_length, frame_rate, JitterBuffer(1 / frame_rate))
    return Side(packetizer=Packetizer(format, hop_length, frame_rate), receiver=receiver, clock_ppm=clock_ppm)


def simulate(
    sides: tuple[Side, Side],
    networks: tuple[Network, Network],
    duration_s: float,
    frame: Callable[[int, int], tuple[Codes, bool]],
    heard: Callable[[int, float, Slot], None],
    seed: int = 0,
) -> None:
    """Let two sides talk to each other. Each acts once in a frame's time by its own clock.

    Args:
        sides: both of them.
        networks: from the first side to the second, and back.
        duration_s: of the call.
        frame: called with a side and the number of a frame, returns its codes [stage] and whether somebody speaks.
        heard: called with a side, the time and what it plays then.
        seed: of all that is random in the networks.
    """
    channels = [Channel(network, seed + number) for number, network in enumerate(networks)]
    frame_s = [1 / one.receiver.frame_rate for one in sides]
    step, reported = [0, 0], [0.0, 0.0]
    while True:
        due = [one.true((count + 1) * length) for one, count, length in zip(sides, step, frame_s, strict=True)]
        who = int(np.argmin(due))
        now, one = due[who], sides[who]
        if now > duration_s:
            return
        for datagram in one.packetizer.push(*frame(who, step[who])):
            channels[who].send(datagram, now)
        if now - reported[who] >= INTERVAL_S:
            reported[who] = now
            channels[who].send(one.receiver.report(one.packetizer.ssrc), now)
        for arrived, datagram in channels[1 - who].receive(now):
            one.take(datagram, one.local(arrived))
        heard(who, now, one.receiver.pull(one.local(now)))
        step[who] += 1
