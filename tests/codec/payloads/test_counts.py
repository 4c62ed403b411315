"""The numbers of stages of frames as bytes, without a model."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqcodec.errors import CorruptFile
from vqcodec.payloads import counts


@given(st.data(), st.integers(1, 255), st.integers(1, 3), st.integers(0, 40))
def test_round_trip(data: st.DataObject, stages: int, channels: int, frames: int) -> None:
    numbers = st.lists(st.integers(0, stages), min_size=frames, max_size=frames)
    rows = np.array([data.draw(numbers) for _ in range(channels)], np.int64).reshape(channels, frames)
    payload = counts.encode(rows, stages)
    np.testing.assert_array_equal(counts.decode(payload, channels, frames, stages), rows)


def test_the_longest_packet() -> None:
    rows = np.random.default_rng(0).integers(0, 4, (1, 65_535))
    payload = counts.encode(rows, 3)
    assert 2.0 <= len(payload) * 8 / 65_535 < 2.02  # four numbers alike take two bits, whatever came before
    np.testing.assert_array_equal(counts.decode(payload, 1, 65_535, 3), rows)


def test_numbers_that_stay_take_little() -> None:
    still = np.full((1, 250), 5)
    walk = np.random.default_rng(0).integers(-1, 2, (1, 250)).cumsum(1).clip(0, 12)
    jumps = np.random.default_rng(0).integers(0, 13, (1, 250))
    assert len(counts.encode(still, 12)) <= 12
    assert len(counts.encode(still, 12)) < len(counts.encode(walk, 12)) < len(counts.encode(jumps, 12))
    assert len(counts.encode(walk, 12)) * 8 / 250 < 2.2  # three alike take 1.6


def test_damage_is_an_error_or_other_numbers() -> None:
    rows = np.random.default_rng(0).integers(0, 7, (2, 50))
    payload = counts.encode(rows, 6)
    spoilt = [payload[:end] for end in range(len(payload))]
    spoilt += [
        bytes([*payload[:at], payload[at] ^ 1 << bit, *payload[at + 1 :]]) for at in (0, 5, 9) for bit in range(8)
    ]
    refused = 0
    for data in [*spoilt, payload + b"\0", b"\xff" * 40]:
        try:
            found = counts.decode(data, 2, 50, 6)
        except CorruptFile:
            refused += 1
        else:
            assert not np.array_equal(found, rows)
            assert found.min() >= 0
            assert found.max() <= 6
    assert refused > 0.9 * len(spoilt)
    with pytest.raises(CorruptFile):
        counts.decode(b"", 1, 1, 6)
