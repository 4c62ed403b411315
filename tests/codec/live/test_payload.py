"""Codes of a packet as bytes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lives import FORMAT, codes, redundant

from vqcodec.errors import ConfigError, CorruptFile
from vqcodec.live.payload import MAX_FRAMES, NOISE_TYPE, REDUNDANCIES, FramePacket, PayloadFormat, Redundancy

FORMATS = st.builds(PayloadFormat, st.integers(1, 32), st.integers(129, 65536))


@st.composite
def packets(draw: st.DrawFn) -> tuple[PayloadFormat, FramePacket]:
    format = draw(FORMATS)
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    frames, stages = draw(st.integers(1, MAX_FRAMES)), draw(st.integers(1, format.num_stages))
    redundancy = draw(st.sampled_from(REDUNDANCIES))
    own = random.integers(0, format.codebook_size, (stages, frames))
    if not redundancy.distance:
        return format, FramePacket(own, noise=frames == 1 and draw(st.booleans()))
    return format, FramePacket(own, random.integers(0, format.codebook_size, (redundancy.stages, frames)), redundancy)


@given(packets())
def test_round_trip(both: tuple[PayloadFormat, FramePacket]) -> None:
    format, packet = both
    payload_type, payload = format.pack(packet)
    assert 96 <= payload_type <= 127
    back = format.unpack(payload_type, payload)
    assert np.array_equal(back.codes, packet.codes)
    assert (back.redundancy, back.noise) == (packet.redundancy, packet.noise)
    if packet.redundant is None:
        assert back.redundant is None
    else:
        assert back.redundant is not None and np.array_equal(back.redundant, packet.redundant)


def test_two_frames_at_3_kbit_s_take_15_bytes_and_12_of_header() -> None:
    payload_type, payload = PayloadFormat(12, 1024).pack(FramePacket(np.zeros((6, 2), np.int64)))
    assert (payload_type, len(payload)) == (96 + 5, 15)


def test_redundant_codes_come_first() -> None:
    packet = FramePacket(np.array([[1], [2]]), np.array([[255]]), Redundancy(1, 1))
    assert PayloadFormat(4, 256).pack(packet) == (97, bytes([255, 1, 2]))


@given(FORMATS, st.integers(0, 127), st.binary(max_size=80))
def test_whatever_is_accepted_is_what_would_be_sent(format: PayloadFormat, payload_type: int, data: bytes) -> None:
    try:
        packet = format.unpack(payload_type, data)
    except CorruptFile:
        return
    assert format.pack(packet) == (payload_type, data)


@pytest.mark.parametrize("payload_type", [0, 95, NOISE_TYPE + 1, 127])
def test_unknown_types_are_refused(payload_type: int) -> None:
    with pytest.raises(CorruptFile, match="type"):
        FORMAT.unpack(payload_type, bytes(3))


def test_lengths_of_no_stages_or_too_many_are_refused() -> None:
    for length in (0, FORMAT.num_stages + 1):
        with pytest.raises(CorruptFile, match="bytes are no payload"):
            FORMAT.unpack(96, bytes(length))
    with pytest.raises(CorruptFile, match="bytes are no payload"):
        FORMAT.unpack(97, bytes(1))  # redundant codes alone


def test_codes_beyond_the_codebook_are_refused() -> None:
    with pytest.raises(CorruptFile, match="code of 250"):
        FORMAT.unpack(96, bytes([249, 250]))


def test_codes_of_few_bits_are_refused() -> None:
    with pytest.raises(ConfigError, match="at least 8 bits"):
        PayloadFormat(4, 128)


def test_no_packet_needs_another() -> None:
    packet = redundant(1, Redundancy(2, 1), frames=3)
    assert FORMAT.unpack(*FORMAT.pack(packet)).back == 6
    assert np.array_equal(FORMAT.unpack(*FORMAT.pack(packet)).codes, codes(1, 3, 3))
