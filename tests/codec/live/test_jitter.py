"""The jitter buffer."""

from collections.abc import Sequence

import numpy as np
import pytest
from lives import codes, redundant

from vqcodec.live.jitter import JitterBuffer, Kind, Slot
from vqcodec.live.payload import FramePacket, Redundancy

S = 0.02
SOON = 0.004
"""After its tick, a frame has come and is asked for."""


def speech(number: int) -> FramePacket:
    return FramePacket(codes(number))


def noise(number: int) -> FramePacket:
    return FramePacket(codes(number), noise=True)


def is_frame(slot: Slot, number: int) -> bool:
    return slot.codes is not None and np.array_equal(slot.codes, codes(number)[:, 0])


def play(buffer: JitterBuffer, arrivals: Sequence[tuple[float, int, FramePacket]], ticks: int) -> list[Slot]:
    """Put packets (when, first frame, packet) and pull once a tick."""
    waiting, slots = sorted(arrivals, key=lambda one: one[0]), []
    for tick in range(ticks):
        now = tick * S + SOON
        while waiting and waiting[0][0] <= now:
            when, first, packet = waiting.pop(0)
            buffer.put(first, packet, when)
        slots.append(buffer.pull(now))
    return slots


def test_nothing_is_silence() -> None:
    assert JitterBuffer(S).pull(0.0).kind is Kind.SILENCE


def test_frames_in_time_are_played_at_once() -> None:
    slots = play(JitterBuffer(S), [(n * S, n, speech(n)) for n in range(50)], 50)
    assert all(slot.kind is Kind.SPEECH and is_frame(slot, n) for n, slot in enumerate(slots))


def test_order_does_not_matter_once_there_is_delay() -> None:
    order = [n * S + (0.05 if n % 2 else 0.0) for n in range(100)]
    buffer = JitterBuffer(S)
    slots = play(buffer, [(order[n], n, speech(n)) for n in range(100)], 105)
    assert 0.05 <= buffer.delay_s < 0.06
    lag = 3
    assert all(is_frame(slot, n + 10 - lag) for n, slot in enumerate(slots[10:100]))


def test_a_missing_frame_is_lost_and_the_next_is_shown_if_it_is_there() -> None:
    buffer = JitterBuffer(S, fixed_s=S)
    slots = play(buffer, [(n * S, n, speech(n)) for n in range(20) if n not in (7, 11, 12)], 20)[1:]
    assert [n for n, slot in enumerate(slots) if slot.kind is Kind.LOST] == [7, 11, 12]
    assert np.array_equal(slots[7].following, codes(8)[:, 0])  # type: ignore[arg-type]
    assert slots[11].following is None
    assert np.array_equal(slots[12].following, codes(13)[:, 0])  # type: ignore[arg-type]
    assert buffer.counts.lost == 3


def test_redundant_codes_stand_in_and_give_way() -> None:
    first = FramePacket(codes(0))
    second = redundant(1, Redundancy(1, 1))
    late = FramePacket(codes(1))
    buffer = JitterBuffer(S, fixed_s=3 * S)
    buffer.put(0, first, 0.0)
    buffer.put(2, second, 2 * S)
    slots = [buffer.pull(n * S + SOON) for n in range(3, 5)]
    assert [slot.kind for slot in slots] == [Kind.SPEECH, Kind.REDUNDANT]
    assert slots[1].codes is not None and len(slots[1].codes) == 1

    buffer = JitterBuffer(S, fixed_s=3 * S)
    for number, packet, when in ((0, first, 0.0), (2, second, 2 * S), (1, late, 2.5 * S)):
        buffer.put(number, packet, when)
    assert is_frame([buffer.pull(n * S + SOON) for n in range(3, 5)][1], 1)


def test_after_noise_missing_frames_are_silence() -> None:
    packets = [(n * S, n, speech(n)) for n in range(5)] + [(5 * S, 5, noise(5))]
    packets += [(n * S, n, speech(n)) for n in range(30, 33)]
    kinds = [slot.kind for slot in play(JitterBuffer(S), packets, 33)]
    assert kinds == [Kind.SPEECH] * 5 + [Kind.NOISE] + [Kind.SILENCE] * 24 + [Kind.SPEECH] * 3


def test_it_waits_for_redundancy_only_while_something_is_lost() -> None:
    def delay(lost: set[int]) -> float:
        buffer = JitterBuffer(S)
        packets = [(n * S, n, redundant(n, Redundancy(2, 1))) for n in range(300) if n not in lost]
        play(buffer, packets, 300)
        return buffer.delay_s

    assert delay(set()) < S / 2
    assert 2 * S <= delay(set(range(10, 300, 10))) < 2.5 * S


def test_the_delay_comes_down_again() -> None:
    random = np.random.default_rng(0)
    jitter = np.where(np.arange(3000) < 500, random.exponential(0.03, 3000), 0.0)
    buffer = JitterBuffer(S)
    play(buffer, [(n * S + jitter[n], n, speech(n)) for n in range(500)], 500)
    assert buffer.delay_s > 0.08
    play(buffer, [(n * S, n, speech(n)) for n in range(500, 3000)], 3000)
    assert buffer.delay_s < 0.01


@pytest.mark.parametrize("ppm", [-300, 300])
def test_clocks_that_differ_are_followed(ppm: int) -> None:
    """Ten minutes, in which the sender's clock gains or loses nine frames."""
    length = S * (1 + ppm * 1e-6)
    buffer = JitterBuffer(S)
    slots = play(buffer, [(n * length, n, speech(n)) for n in range(29_900)], 29_800)
    assert buffer.frames <= 6
    changes = buffer.counts.left_out if ppm < 0 else buffer.counts.put_in
    assert 5 <= changes <= 12
    assert sum(slot.kind is Kind.LOST for slot in slots) <= 12


def test_a_second_of_outage_leaves_no_delay() -> None:
    packets = [(n * S, n, speech(n)) for n in range(300) if not 100 <= n < 150]
    buffer = JitterBuffer(S)
    slots = play(buffer, packets, 300)
    assert [slot.kind is Kind.LOST for slot in slots] == [100 <= n < 150 for n in range(300)]
    assert is_frame(slots[-1], 299)


def test_what_comes_in_a_heap_after_an_outage_is_not_played_later() -> None:
    packets = [(max(n, 150 if 100 <= n < 150 else n) * S, n, speech(n)) for n in range(1200)]
    buffer = JitterBuffer(S)
    slots = play(buffer, packets, 1200)
    assert (buffer.counts.late, buffer.counts.strayed) == (31, 19)
    assert slots[160].kind is Kind.LOST and slots[200].kind is Kind.SPEECH
    assert any(is_frame(slots[-1], n) for n in range(1195, 1200))


def test_frames_from_quite_another_time_are_dropped_and_then_followed() -> None:
    buffer = JitterBuffer(S)
    play(buffer, [(n * S, n, speech(n)) for n in range(10)], 10)
    buffer.put(10_000_000, speech(0), 10 * S)
    assert (buffer.counts.strayed, buffer.frames) == (1, 0)
    shifted = [(n * S, 5_000_000 + n, speech(n)) for n in range(10, 60)]
    slots = play(buffer, shifted, 60)
    assert buffer.counts.strayed == 1 + 26
    assert is_frame(slots[-1], 59)


def test_memory_is_bounded_when_nobody_pulls() -> None:
    buffer = JitterBuffer(S)
    most = 0
    for n in range(10_000):
        buffer.put(n, speech(n), n * S)
        most = max(most, buffer.frames)
    assert most <= 2 * (buffer.most_s / S + 6) + 6
