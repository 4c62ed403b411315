"""The entropy coder by itself."""

from __future__ import annotations

import constriction
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from vqcodec.errors import CorruptFile
from vqcodec.payloads.range_coder import Decoder, encode

TOTAL = 1 << 16


def ends_of(weights: NDArray[np.float64]) -> NDArray[np.int64]:
    """Where the shares of each symbol end; each symbol has at least one."""
    spare = TOTAL - len(weights)
    ends = np.floor(np.cumsum(weights) / weights.sum() * spare).astype(np.int64) + np.arange(1, len(weights) + 1)
    ends[-1] = TOTAL
    return ends


def pairs_of(symbols: NDArray[np.int64], ends: NDArray[np.int64]) -> list[tuple[int, int]]:
    """First share and number of shares of each symbol, from last to first."""
    starts = np.concatenate([[0], ends[:-1]])
    return [(int(starts[symbol]), int(ends[symbol] - starts[symbol])) for symbol in symbols[::-1]]


def decoded(payloads: list[bytes], lengths: list[int], ends: NDArray[np.int64]) -> list[list[int]]:
    """Decode streams side by side, each of so many symbols."""
    decoder = Decoder(payloads)
    starts = np.concatenate([[0], ends[:-1]])
    found: list[list[int]] = [[] for _ in payloads]
    for place in range(max(lengths, default=0)):
        streams = np.flatnonzero(np.array(lengths) > place)
        symbols = np.searchsorted(ends, decoder.shares(streams), side="right")
        decoder.advance(streams, starts[symbols], (ends - starts)[symbols])
        for stream, symbol in zip(streams, symbols, strict=True):
            found[stream].append(int(symbol))
    decoder.finish()
    return found


DISTRIBUTIONS = {
    "even": np.ones(1024),
    "two": np.array([0.99999, 0.00001]),
    "one": np.array([1.0]),
    "steep": 0.5 ** np.arange(40),
    "mixed": np.random.default_rng(0).gamma(0.3, size=700) + 1e-6,
}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_round_trip_of_streams_side_by_side(name: str, data: st.DataObject) -> None:
    ends = ends_of(DISTRIBUTIONS[name])
    symbol = st.integers(0, len(ends) - 1)
    streams = data.draw(st.lists(st.lists(symbol, max_size=60), min_size=1, max_size=5))
    payloads = [encode(pairs_of(np.array(stream, np.int64), ends)) for stream in streams]
    assert decoded(payloads, [len(stream) for stream in streams], ends) == streams


@pytest.mark.parametrize("name", DISTRIBUTIONS)
@pytest.mark.parametrize("length", [0, 1, 10, 1000, 20_000])
def test_size_is_that_of_the_entropy_and_of_another_coder(name: str, length: int) -> None:
    ends = ends_of(DISTRIBUTIONS[name])
    frequencies = np.diff(ends, prepend=0)
    symbols = np.random.default_rng(length).choice(len(ends), length, p=frequencies / TOTAL)
    size = len(encode(pairs_of(symbols, ends)))
    ideal = float((16 - np.log2(frequencies[symbols])).sum()) / 8
    assert ideal - 0.01 <= size <= ideal * 1.001 + 2.2
    if len(ends) > 1:
        other = constriction.stream.stack.AnsCoder()
        model = constriction.stream.model.Categorical(frequencies / TOTAL, perfect=False)
        other.encode_reverse(symbols.astype(np.int32), model)
        assert (other.decode(model, length) == symbols).all()
        other.encode_reverse(symbols.astype(np.int32), model)
        assert size <= len(other.get_compressed()) * 4 * 1.001 + 2.2


@given(data=st.data())
@settings(max_examples=200, deadline=None)
def test_damage_ends_in_symbols_or_corrupt_file(data: st.DataObject) -> None:
    ends = ends_of(DISTRIBUTIONS["mixed"])
    payload = data.draw(st.binary(max_size=40))
    length = data.draw(st.integers(0, 30))
    try:
        symbols = decoded([payload], [length], ends)[0]
    except CorruptFile:
        return
    assert encode(pairs_of(np.array(symbols, np.int64), ends)) == payload  # there is one payload for each message


def test_every_change_of_a_payload_is_another_message_or_damage() -> None:
    ends = ends_of(DISTRIBUTIONS["mixed"])
    symbols = np.random.default_rng(1).integers(0, len(ends), 50)
    payload = encode(pairs_of(symbols, ends))
    found = 0
    for place in range(len(payload)):
        for bit in range(8):
            changed = bytearray(payload)
            changed[place] ^= 1 << bit
            try:
                assert decoded([bytes(changed)], [50], ends)[0] != symbols.tolist()
            except CorruptFile:
                found += 1
    assert found > 0.95 * 8 * len(payload)


@pytest.mark.parametrize("change", [lambda p: p[:-1], lambda p: p + b"\0", lambda p: p[1:], lambda p: b"\0" + p])
def test_a_payload_is_consumed_exactly(change: object) -> None:
    ends = ends_of(DISTRIBUTIONS["mixed"])
    symbols = np.random.default_rng(2).integers(0, len(ends), 50)
    payload = encode(pairs_of(symbols, ends))
    with pytest.raises(CorruptFile, match="does not end"):
        decoded([change(payload)], [50], ends)  # type: ignore[operator]
