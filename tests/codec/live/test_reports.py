"""What the receiver tells the sender."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lives import datagram

from vqcodec.errors import CorruptFile
from vqcodec.live.payload import NO_REDUNDANCY, Redundancy
from vqcodec.live.reports import LossCounter, ReceiverReport, RedundancyChoice, is_report, parse_report
from vqcodec.live.window import SIZE, ReplayWindow

WORD = st.integers(0, 2**32 - 1)


@given(WORD, WORD, st.integers(0, 255), st.integers(0, 2**23 - 1), WORD, WORD)
def test_round_trip(sender: int, ssrc: int, share: int, lost: int, highest: int, jitter: int) -> None:
    report = ReceiverReport(sender, ssrc, share / 256, lost, highest, jitter)
    data = report.to_bytes()
    assert len(data) == 32 and is_report(data)
    assert parse_report(data) == report


def test_speech_is_no_report() -> None:
    assert not any(is_report(datagram(n)) for n in range(3))


@given(st.binary(max_size=40))
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(CorruptFile):
        parse_report(b"\x80" + data)


def test_lost_packets_are_counted_by_numbers() -> None:
    counter = LossCounter()
    for number in (10, 11, 13, 12, 17):
        counter.see(number)
    assert (counter.lost, counter.highest) == (3, 17)
    assert counter.share_since_last() == 3 / 8
    for number in (18, 19, 16):  # one of the three came late
        counter.see(number)
    assert counter.lost == 2
    assert counter.share_since_last() == 0.0


def test_redundancy_follows_a_rising_loss_at_once_and_a_falling_one_slowly() -> None:
    choice = RedundancyChoice()
    assert choice.reported(0.0) == NO_REDUNDANCY
    assert choice.reported(0.03) == Redundancy(1, 1)
    assert choice.reported(0.5) == Redundancy(4, 1)
    after = [choice.reported(0.0) for _ in range(60)]
    assert after[0] == Redundancy(4, 1)
    assert after[-1] == NO_REDUNDANCY
    assert len(set(after)) == 4


@given(st.lists(st.integers(0, 3 * SIZE), max_size=60))
def test_the_window_tells_what_is_new(numbers: list[int]) -> None:
    window, seen = ReplayWindow(), set[int]()
    for number in numbers:
        new = number not in seen and number > max(seen, default=0) - SIZE
        assert window.is_new(number) == new
        if new:
            window.see(number)
            seen.add(number)
