"""Frames into packets: redundancy, silence, time."""

import numpy as np
import pytest
from lives import FORMAT, FRAME_RATE, HOP, codes

from vqcodec.live.packets import Packetizer
from vqcodec.live.payload import REDUNDANCIES, FramePacket, Redundancy
from vqcodec.live.rtp import RtpHeader, parse

Sent = list[tuple[RtpHeader, FramePacket]]


def packetizer(**settings: object) -> Packetizer:
    return Packetizer(FORMAT, HOP, FRAME_RATE, ssrc=9, **settings)  # type: ignore[arg-type]


def read(datagrams: list[bytes]) -> Sent:
    parsed = [parse(one) for one in datagrams]
    return [(header, FORMAT.unpack(header.payload_type, payload)) for header, payload in parsed]


def send(packets: Packetizer, speech: list[bool]) -> Sent:
    """Frames 0, 1, ..., whose codes are known."""
    return read([one for n, spoken in enumerate(speech) for one in packets.push(codes(n)[:, 0], spoken)])


@pytest.mark.parametrize("frames", [1, 2, 6])
@pytest.mark.parametrize("redundancy", REDUNDANCIES)
def test_frames_arrive_once_and_redundant_codes_are_theirs(frames: int, redundancy: Redundancy) -> None:
    sent = send(packetizer(frames=frames, redundancy=redundancy), [True] * 60)
    start = sent[0][0].timestamp
    for number, (header, packet) in enumerate(sent):
        first = number * frames
        assert (header.timestamp - start) % 2**32 == first * HOP
        assert (header.sequence - sent[0][0].sequence) % 2**16 == number
        assert np.array_equal(packet.codes, np.hstack([codes(first + n) for n in range(frames)]))
        if redundancy.distance and number >= redundancy.distance:
            before = np.hstack([codes(first - packet.back + n) for n in range(frames)])
            assert packet.redundancy == redundancy
            assert packet.redundant is not None and np.array_equal(packet.redundant, before[: redundancy.stages])
        else:
            assert packet.redundant is None
    assert sum(packet.frames for _, packet in sent) == 60


def test_silence_is_described_twice_and_then_every_400_ms() -> None:
    sent = send(packetizer(), [True] * 3 + [False] * 50 + [True] * 2)
    start = sent[0][0].timestamp
    noise = [(header.timestamp - start) % 2**32 // HOP for header, packet in sent if packet.noise]
    assert noise == [3, 4, 23, 43]
    assert [header.marker for header, packet in sent if not packet.noise] == [True, False, False, True, False]
    assert not any(header.marker for header, packet in sent if packet.noise)
    assert [(header.sequence - sent[0][0].sequence) % 2**16 for header, _ in sent] == list(range(len(sent)))


def test_silence_sends_what_waits_for_its_packet_to_fill() -> None:
    sent = send(packetizer(frames=4), [True] * 6 + [False])
    assert [(packet.frames, packet.noise) for _, packet in sent] == [(4, False), (2, False), (1, True)]


def test_frames_that_were_not_sent_are_not_redundant() -> None:
    sent = send(packetizer(redundancy=Redundancy(2, 1)), [False] * 30 + [True] * 5)
    assert [packet.redundant is None for _, packet in sent if not packet.noise] == [True, True, False, False, False]


def test_a_frame_of_a_single_stage_has_no_three_redundant_ones() -> None:
    packets = packetizer(redundancy=Redundancy(1, 3))
    stages = [1, 3, 1]
    sent = read([one for n, count in enumerate(stages) for one in packets.push(codes(n, count)[:, 0])])
    assert [packet.redundant is None for _, packet in sent] == [True, True, False]


def test_settings_may_change_at_any_packet() -> None:
    packets = packetizer()
    first = send(packets, [True] * 4)
    packets.frames, packets.redundancy = 2, Redundancy(1, 1)
    second = send(packets, [True] * 4)
    assert [packet.frames for _, packet in first + second] == [1, 1, 1, 1, 2, 2]
    assert [packet.redundancy.distance for _, packet in second] == [1, 1]
    assert second[0][1].redundant is not None
    assert np.array_equal(second[0][1].redundant, np.hstack([codes(2), codes(3)])[:1])


def test_numbers_begin_at_random_and_wrap() -> None:
    assert len({send(packetizer(), [True])[0][0].timestamp for _ in range(8)}) > 1
    packets = packetizer()
    packets._sequence, packets._timestamp = 2**16 - 1, 2**32 - HOP
    sent = send(packets, [True] * 2)
    assert [(header.sequence, header.timestamp) for header, _ in sent] == [(2**16 - 1, 2**32 - HOP), (0, 0)]
