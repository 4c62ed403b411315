"""Datagrams to frames: what is heard, dropped, counted."""

from random import Random

from lives import FORMAT, HOP, codes, damaged, datagram, receiver, redundant

from vqcodec.live.jitter import Kind
from vqcodec.live.payload import FramePacket, Redundancy

S = 0.02


def test_a_packet_that_comes_twice_is_played_once() -> None:
    one = receiver()
    assert [one.put(datagram(n), n * S) for n in (0, 1, 1, 0, 2)] == [True, True, False, False, True]
    assert (one.counts.received, one.counts.repeated) == (3, 2)


def test_other_sources_are_strangers_until_the_first_falls_silent() -> None:
    one = receiver()
    assert one.put(datagram(0), 0.0)
    assert not one.put(datagram(0, ssrc=8), 1.0)
    assert one.counts.strange == 1
    assert one.put(datagram(500, ssrc=8), 2.5)
    assert one.ssrc == 8
    assert one.pull(2.505).kind is Kind.SPEECH


def test_timestamps_between_frames_are_malformed() -> None:
    one = receiver()
    assert one.put(datagram(0), 0.0)
    late = bytearray(datagram(1))
    late[7] ^= 1
    assert not one.put(bytes(late), S)
    assert one.counts.malformed == 1


def test_numbers_wrap() -> None:
    one = receiver()
    start = 2**32 // HOP - 5  # timestamps wrap in the middle of a frame's count only if the hop divides 2^32
    kinds = []
    for n in range(20):
        header = bytearray(datagram(0, FramePacket(codes(n)), sequence=65_530 + n))
        header[4:8] = ((start * HOP + n * HOP) % 2**32).to_bytes(4, "big")
        assert one.put(bytes(header), n * S)
        kinds.append(one.pull(n * S + 0.005).kind)
    assert kinds == [Kind.SPEECH] * 20
    assert one.losses.lost == 0


def test_loss_and_jitter_are_measured() -> None:
    one = receiver()
    for n in range(200):
        if n % 10:
            one.put(datagram(n), n * S + 0.005 * (n % 2))
    assert one.losses.lost == 19  # of 199 from the first that came to the last
    assert 0.09 < one.losses.share_since_last() < 0.1
    assert one.losses.share_since_last() == 0.0
    assert 0.003 < one.jitter_s < 0.006


def test_a_source_that_begins_its_numbers_anew_is_heard_again() -> None:
    one = receiver()
    for n in range(5):
        one.put(datagram(n, sequence=40_000 + n), n * S)
    heard = [one.put(datagram(n, sequence=20_000 + n), n * S) for n in range(5, 30)]
    assert heard == [False] + [True] * 24


def test_hostile_packets_are_dropped_and_counted() -> None:
    """Random, cut, changed and repeated packets among good ones; `python -m tests.fuzz live` tries more."""
    random, one = Random(0), receiver()
    good = [datagram(n, redundant(n, Redundancy(1, 1))) for n in range(400)]
    sent = one.put(good[0], 0.0)
    for n in range(1, 400):
        hostile = [damaged(good[random.randrange(n + 1)], random) for _ in range(20)]
        hostile += [good[random.randrange(max(0, n - 50), n + 1)] for _ in range(5)]
        for data in (*hostile, good[n]):
            one.put(data, n * S)
            sent += 1
        slot = one.pull(n * S + 0.005)
        assert one.jitter.frames <= 100
        assert slot.codes is None or slot.codes.max() < FORMAT.codebook_size
    counts = one.counts
    assert counts.received + counts.malformed + counts.repeated + counts.strange == sent
    assert counts.malformed > 3000 and counts.repeated > 1000
    assert one.ssrc == 7 and counts.received >= 390
