"""Packets of a call through the receiver: a stream of them, some damaged."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import numpy as np

from vqcodec.errors import CorruptFile
from vqcodec.live.jitter import JitterBuffer
from vqcodec.live.packets import Packetizer
from vqcodec.live.payload import REDUNDANCIES, PayloadFormat
from vqcodec.live.receiver import Receiver
from vqcodec.live.reports import ReceiverReport, parse_report

FORMAT = PayloadFormat(num_stages=12, codebook_size=1000)
_HOP, _RATE = 320, 50.0
_MOST_PACKETS = 200


def seeds() -> list[bytes]:
    """Short streams of every redundancy, each packet behind its length, and a report."""
    streams = []
    for number, redundancy in enumerate(REDUNDANCIES):
        random = np.random.default_rng(number)
        packets = Packetizer(FORMAT, _HOP, _RATE, frames=1 + number, redundancy=redundancy, ssrc=number)
        sent = [one for n in range(20) for one in packets.push(random.integers(0, 1000, 3), n % 15 < 11)]
        streams.append(_joined(sent))
    return [*streams, _joined([ReceiverReport(1, 2, 0.5, 3, 4, 5).to_bytes()])]


def check(data: bytes) -> None:
    """Receive and play."""
    receiver = Receiver(FORMAT, _HOP, _RATE, JitterBuffer(1 / _RATE))
    packets = _apart(data)
    for number, packet in enumerate(packets):
        now = number / _RATE
        receiver.put(packet, now)
        slot = receiver.pull(now + 0.005)
        assert slot.codes is None or 0 <= slot.codes.min() <= slot.codes.max() < FORMAT.codebook_size
        assert receiver.jitter.frames <= 100
        try:
            parse_report(packet)
        except CorruptFile as error:
            assert "\n" not in str(error)
    counts = receiver.counts
    assert counts.received + counts.malformed + counts.repeated + counts.strange == len(packets)


def mutate(data: bytes, random: Random, change: Callable[[bytes], bytes]) -> bytes:
    """Damage one packet, leave one out, or send one twice or later."""
    packets = _apart(data)
    if not packets:
        return change(data)
    place, kind = random.randrange(len(packets)), random.randrange(4)
    if kind < 2:
        packets[place] = change(packets[place])[:255]
    elif kind == 2:
        packets.insert(random.randrange(len(packets)), packets[place])
    else:
        del packets[place]
    return _joined(packets)


def _joined(packets: list[bytes]) -> bytes:
    return b"".join(bytes([len(packet)]) + packet for packet in packets)


def _apart(data: bytes) -> list[bytes]:
    packets = []
    while data and len(packets) < _MOST_PACKETS:
        packets.append(data[1 : 1 + data[0]])
        data = data[1 + data[0] :]
    return packets
