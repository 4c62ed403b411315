"""The header of packets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqcodec.errors import CorruptFile
from vqcodec.live.rtp import HEADER_BYTES, RtpHeader, parse, unwrapped

HEADERS = st.builds(
    RtpHeader,
    payload_type=st.integers(0, 127),
    marker=st.booleans(),
    sequence=st.integers(0, 2**16 - 1),
    timestamp=st.integers(0, 2**32 - 1),
    ssrc=st.integers(0, 2**32 - 1),
)


@given(HEADERS, st.binary(max_size=20))
def test_round_trip(header: RtpHeader, payload: bytes) -> None:
    assert len(header.to_bytes()) == HEADER_BYTES == 12
    assert parse(header.to_bytes() + payload) == (header, payload)


def test_the_bytes_are_those_of_the_standard() -> None:
    header = RtpHeader(payload_type=97, marker=True, sequence=0x1234, timestamp=0x56789ABC, ssrc=0xDEF01234)
    assert header.to_bytes() == bytes.fromhex("80e1 1234 56789abc def01234")


@given(st.binary(max_size=40))
def test_other_bytes_are_refused(data: bytes) -> None:
    try:
        header, payload = parse(data)
    except CorruptFile:
        assert len(data) < HEADER_BYTES or data[0] != 0x80
    else:
        assert header.to_bytes() + payload == data


@pytest.mark.parametrize("first", [0x00, 0x40, 0xA0, 0x90, 0x81])
def test_versions_padding_extensions_and_sources_are_refused(first: int) -> None:
    with pytest.raises(CorruptFile, match="first byte"):
        parse(bytes([first]) + bytes(20))


@given(st.integers(-(2**40), 2**40), st.integers(-(2**15), 2**15 - 1))
def test_short_numbers_mean_the_long_one_nearby(near: int, step: int) -> None:
    assert unwrapped((near + step) % 2**16, near, 16) == near + step
