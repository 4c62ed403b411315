"""The simulated network, and a call over it."""

from collections import Counter

import numpy as np
import pytest
from lives import FORMAT, FRAME_RATE, HOP, codes

from vqcodec.errors import ConfigError
from vqcodec.live.channel import Channel, LossModel, Network
from vqcodec.live.jitter import MOST_DELAY_S, Kind, Slot
from vqcodec.live.payload import NO_REDUNDANCY
from vqcodec.live.simulation import side, simulate


def gaps(trace: np.ndarray) -> list[int]:
    edges = np.flatnonzero(np.diff(np.concatenate([[0], trace.astype(int), [0]])))
    return (edges[1::2] - edges[::2]).tolist()


@pytest.mark.parametrize(("share", "burst", "mean_gap"), [(0.1, None, 1 / 0.9), (0.05, 3.0, 3.0), (0.3, 8.0, 8.0)])
def test_losses_are_as_many_and_as_long_as_asked(share: float, burst: float | None, mean_gap: float) -> None:
    trace = LossModel(share, burst).trace(200_000, np.random.default_rng(0))
    assert trace.mean() == pytest.approx(share, rel=0.05)
    assert np.mean(gaps(trace)) == pytest.approx(mean_gap, rel=0.05)


def test_no_loss_and_impossible_losses() -> None:
    assert not LossModel(0.0).trace(1000, np.random.default_rng(0)).any()
    for share, burst in ((1.0, None), (-0.1, None), (0.1, 0.5), (0.9, 2.0)):
        with pytest.raises(ConfigError):
            LossModel(share, burst)


def test_a_channel_delays_repeats_and_mixes() -> None:
    network = Network(delay_s=0.05, jitter_s=0.01, reordered=0.1, duplicated=0.2, outages=[(1.0, 2.0)])
    channel = Channel(network, seed=0)
    for n in range(1000):
        channel.send(n.to_bytes(2, "big"), n * 0.01)
    assert list(channel.receive(0.04)) == []
    arrived = list(channel.receive(100.0))
    numbers = [int.from_bytes(data, "big") for _, data in arrived]
    assert set(numbers) == set(range(1000)) - set(range(100, 200))
    assert 130 < len(numbers) - len(set(numbers)) < 230
    assert numbers != sorted(numbers)
    times = [when for when, _ in arrived]
    assert times == sorted(times)
    late = [when - number * 0.01 for (when, _), number in zip(arrived, numbers, strict=True)]
    assert min(late) >= 0.05 and np.mean(late) == pytest.approx(0.064, abs=0.003)


def test_four_minutes_of_a_bad_call() -> None:
    """All sins at once, an outage of a second, clocks that differ; one side pauses, the other never does."""
    sides = side(FORMAT, HOP, FRAME_RATE, clock_ppm=100.0), side(FORMAT, HOP, FRAME_RATE)
    networks = [
        Network(
            loss=LossModel(0.05, 2.0),
            delay_s=0.04,
            jitter_s=0.008,
            reordered=0.02,
            duplicated=0.02,
            outages=[(60.0, 61.0)],
        )
        for _ in sides
    ]
    some = [codes(n, 4)[:, 0] for n in range(50)]
    kinds, most, delays = (Counter[Kind](), Counter[Kind]()), [0, 0], ([], [])  # type: ignore[var-annotated]

    def heard(who: int, now: float, slot: Slot) -> None:
        jitter = sides[who].receiver.jitter
        kinds[who][slot.kind] += 1
        most[who] = max(most[who], jitter.frames)
        if now > 10:
            delays[who].append(jitter.delay_s)

    def frame(who: int, number: int) -> tuple[np.ndarray, bool]:
        return some[number % 50], who == 0 or number % 400 < 250

    simulate(sides, (networks[0], networks[1]), 240.0, frame, heard, seed=3)
    for who, one in enumerate(sides):
        counts, found = one.receiver.jitter.counts, kinds[who]
        assert max(delays[who]) <= MOST_DELAY_S
        assert most[who] <= 12
        assert np.mean(delays[who][-3000:]) < np.mean(delays[who][:3000]) + 0.05
        assert counts.late < 30 and counts.strayed == 0
        assert one.packetizer.redundancy != NO_REDUNDANCY
        assert one.receiver.counts.repeated > 50
        assert counts.recovered > counts.lost - 60  # an outage of 50 frames aside
        assert found[Kind.LOST] < 0.04 * sum(found.values())
    assert kinds[0][Kind.SILENCE] > 4000 and kinds[1][Kind.SILENCE] < 20
