"""Header and packets <-> bytes, and every way in which a file can be damaged."""

import binascii
import io
import json
import os
import re
import struct
import threading
import tracemalloc
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqcodec.bitstream import (
    HEADER_BYTES,
    KINDS,
    MAX_CODES,
    MAX_SAMPLES,
    PEELABLE,
    Header,
    Packet,
    Reader,
    Writer,
    peel,
)
from vqcodec.errors import ConfigError, CorruptFile, NotVqcodecFile, UnsupportedVersion, VqcodecError
from vqcodec.models import kinds
from vqcodec.packets import packet_frames, spare_frames
from vqcodec.payloads.plain import pack, payload_bytes, unpack
from vqcodec.summary import inspect

FORMAT = Path(__file__).resolve().parents[2] / "docs" / "FORMAT.md"

SMALL = Header(
    fingerprint=bytes(range(1, 9)),
    sample_rate=16_000,
    source_sample_rate=44_100,
    channels=2,
    num_samples=6_000,
    hop_length=320,
    stages=3,
    bits_per_code=10,
)
DEFAULT = replace(SMALL, channels=1, source_sample_rate=16_000)

headers = st.builds(
    Header,
    fingerprint=st.binary(min_size=8, max_size=8),
    sample_rate=st.integers(1, 0xFFFFFF),
    source_sample_rate=st.integers(1000, (1 << 24) // 255),
    channels=st.integers(1, 255),
    num_samples=st.none() | st.integers(0, MAX_SAMPLES),
    hop_length=st.integers(1, 0xFFFF),
    stages=st.integers(1, 255),
    bits_per_code=st.integers(1, 16),
    payload_coding=st.integers(0, 15),
    kind=st.sampled_from(list(KINDS.values())),
    version=st.tuples(st.just(1), st.integers(0, 255)),
)


def some_packets(header: Header, *frame_counts: int) -> list[Packet]:
    rng = np.random.default_rng(0)
    packets = []
    for frames in frame_counts:
        codes = rng.integers(0, 1 << header.bits_per_code, (header.channels, header.stages, frames))
        packets.append(Packet(frames, pack(codes, header.bits_per_code)))
    return packets


def file_of(header: Header, packets: list[Packet], num_samples: int) -> bytes:
    file = io.BytesIO()
    writer = Writer(file, header)
    for packet in packets:
        writer.write(packet)
    writer.finish(num_samples)
    assert writer.bytes_written == len(file.getvalue())
    return file.getvalue()


def reader_of(data: bytes, *, salvage: bool = False) -> Reader:
    return Reader(io.BytesIO(data), "in.vq", salvage=salvage)


def with_crc16(start: bytes) -> bytes:
    return start[:30] + struct.pack("<H", binascii.crc_hqx(start[:30], 0xFFFF))


def raw_packet(frames: int, payload: bytes, length: int | None = None) -> bytes:
    head = struct.pack("<HI", frames, len(payload) if length is None else length)
    return head + struct.pack("<I", zlib.crc32(head + payload)) + payload


SMALL_PACKETS = some_packets(SMALL, 3, 4, 1)
SMALL_FILE = file_of(SMALL, SMALL_PACKETS, 6_000)
SMALL_ENDS = [32 + 33, 32 + 33 + 40, 32 + 33 + 40 + 18]
"""Where each packet of SMALL_FILE ends: 10 bytes and 23, 30 and 8 bytes of payload."""


class Trickle(io.RawIOBase):
    """Like a pipe: cannot seek, and takes or gives a few bytes at a time."""

    def __init__(self, data: bytes = b"") -> None:
        self._input = io.BytesIO(data)
        self.written = bytearray()

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._input.read(min(3, len(buffer)))
        buffer[: len(data)] = data
        return len(data)

    def write(self, data: Any) -> int:
        self.written += bytes(data[:3])
        return min(3, len(data))


def trickle(data: bytes = b"") -> BinaryIO:
    return cast(BinaryIO, Trickle(data))


# --- header


@given(headers)
def test_header_round_trip(header: Header) -> None:
    data = header.to_bytes()
    assert len(data) == HEADER_BYTES == 32
    assert Header.from_bytes(data) == header


def test_header_facts() -> None:
    assert SMALL.frame_rate == 50
    assert SMALL.frame_bits == 60
    assert SMALL.bitrate_bps == 1_500
    assert SMALL.codec_samples(44_100) == 16_000
    assert [SMALL.codec_samples(n) for n in (0, 1, 2, 3)] == [0, 1, 1, 2]


@given(headers, st.integers(0, 1000))
def test_both_modules_agree_on_the_length_of_a_payload(header: Header, frames: int) -> None:
    assert header.payload_bytes(frames) == payload_bytes(
        channels=header.channels, stages=header.stages, frames=frames, bits=header.bits_per_code
    )


@pytest.mark.parametrize(
    "change",
    [
        {"fingerprint": b"1234567"},
        {"sample_rate": 0},
        {"sample_rate": 1 << 24},
        {"source_sample_rate": 999},
        {"source_sample_rate": 768_001},
        {"channels": 0},
        {"channels": 256},
        {"stages": 0},
        {"stages": 256},
        {"bits_per_code": 0},
        {"bits_per_code": 17},
        {"hop_length": 0},
        {"hop_length": 1 << 16},
        {"num_samples": -1},
        {"num_samples": (1 << 40) - 1},
        {"payload_coding": 16},
        {"kind": "residual"},
        {"kind": ""},
        {"version": (2, 0)},
        {"version": (1, 256)},
    ],
    ids=str,
)
def test_header_that_cannot_be_written(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        replace(SMALL, **change)


@pytest.mark.parametrize(
    ("offset", "size"), [(6, 1), (7, 1), (8, 1), (9, 2), (19, 3), (22, 3)], ids=lambda value: str(value)
)
def test_impossible_header_with_a_right_checksum(offset: int, size: int) -> None:
    data = SMALL.to_bytes()
    with pytest.raises(CorruptFile, match=r"^in.vq: impossible header: .* not 0$"):
        reader_of(with_crc16(data[:offset] + bytes(size) + data[offset + size :]))


@pytest.mark.parametrize("minor", [1, 255])
def test_unknown_minor_is_accepted(minor: int) -> None:
    data = with_crc16(SMALL_FILE[:4] + bytes([minor]) + SMALL_FILE[5:]) + SMALL_FILE[32:]
    reader = reader_of(data)
    assert reader.header == replace(SMALL, version=(1, minor))
    assert list(reader) == SMALL_PACKETS


@pytest.mark.parametrize("major", [0, 2, 255])
def test_unknown_major_is_refused_whatever_follows(major: int) -> None:
    for data in (with_crc16(b"VQC" + bytes([major]) + SMALL_FILE[4:30]), b"VQC" + bytes([major, 0])):
        with pytest.raises(UnsupportedVersion, match=rf"^in.vq: format version {major}\.0"):
            reader_of(data)


def test_empty_file() -> None:
    with pytest.raises(NotVqcodecFile, match=r"^in.vq: the file is empty$"):
        reader_of(b"")


@pytest.mark.parametrize("data", [b"RIFF\x24\0\0\0WAVEfmt " * 4, b"V", b"VQ", b"W", b"VQD" + bytes(29)])
def test_foreign_file(data: bytes) -> None:
    expected = CorruptFile if b"VQC".startswith(data) else NotVqcodecFile
    with pytest.raises(expected, match=r"^in.vq: "):
        reader_of(data)


# --- whole files


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("frame_counts", [(), (1,), (3, 4, 1), (250, 250, 17)], ids=str)
def test_file_round_trip(frame_counts: tuple[int, ...], known: bool) -> None:
    num_samples = sum(frame_counts) * 800  # at 44100 Hz, a little less than the frames hold
    packets = some_packets(SMALL, *frame_counts)
    header = replace(SMALL, num_samples=num_samples if known else None)
    reader = reader_of(file_of(header, packets, num_samples))
    assert reader.num_samples is None
    assert list(reader) == packets
    assert reader.num_samples == num_samples
    assert (reader.packets, reader.frames, reader.damage) == (len(packets), sum(frame_counts), None)
    assert list(reader) == []  # stays at its end


@given(
    st.integers(0, 2**32),
    st.integers(1, 4),
    st.integers(1, 4),
    st.integers(1, 16),
    st.lists(st.integers(1, 9)),
)
def test_codes_round_trip_through_a_file(
    seed: int, channels: int, stages: int, bits: int, frame_counts: list[int]
) -> None:
    rng = np.random.default_rng(seed)
    header = replace(SMALL, channels=channels, stages=stages, bits_per_code=bits, num_samples=0)
    blocks = [rng.integers(0, 1 << bits, (channels, stages, frames)) for frames in frame_counts]
    data = file_of(header, [Packet(block.shape[2], pack(block, bits)) for block in blocks], 0)
    packets = list(reader_of(data))
    assert len(packets) == len(blocks)
    for packet, block in zip(packets, blocks, strict=True):
        codes = unpack(packet.payload, channels=channels, stages=stages, frames=packet.frames, bits=bits)
        np.testing.assert_array_equal(codes, block)


def test_the_largest_packet() -> None:
    header = replace(DEFAULT, num_samples=0)
    packets = some_packets(header, 65_535)
    assert list(reader_of(file_of(header, packets, 0))) == packets


def test_one_minute_at_1500_bits_per_second_is_small_enough() -> None:
    num_samples = 60 * 16_000
    frames = num_samples // 320 + 3  # what the delay of a model adds
    header = replace(DEFAULT, num_samples=num_samples)
    data = file_of(header, some_packets(header, *[250] * 12, frames - 3000), num_samples)
    assert len(data) <= 1.02 * 11_250 + 32


def test_writer_refuses_what_the_header_does_not_fit() -> None:
    writer = Writer(io.BytesIO(), SMALL)
    for packet in (
        Packet(0, b""),
        Packet(65_536, bytes(491_520)),
        Packet(3, bytes(22)),
        Packet(3, bytes(24)),
    ):
        with pytest.raises(ValueError):
            writer.write(packet)
    with pytest.raises(ValueError, match="6000 samples, not 5999"):
        writer.finish(5_999)
    writer.finish(6_000)
    with pytest.raises(ValueError, match="finished"):
        writer.finish(6_000)
    with pytest.raises(ValueError, match="finished"):
        writer.write(SMALL_PACKETS[0])


def test_writer_refuses_an_impossible_number_of_samples() -> None:
    writer = Writer(io.BytesIO(), replace(SMALL, num_samples=None))
    for num_samples in (-1, (1 << 40) - 1):
        with pytest.raises(ValueError, match="num_samples"):
            writer.finish(num_samples)


def test_output_that_takes_nothing_is_an_error_not_a_hang() -> None:
    class Full(Trickle):
        def write(self, data: Any) -> int:
            return 0

    with pytest.raises(OSError, match="no more"):
        Writer(cast(BinaryIO, Full()), SMALL)


# --- an unknown number of samples, pipes


def test_unknown_number_is_put_into_the_header_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "out.vq"
    with path.open("wb") as file:
        file.write(b"before")
        writer = Writer(file, replace(SMALL, num_samples=None))
        for packet in SMALL_PACKETS:
            writer.write(packet)
        writer.finish(6_000)
        assert writer.header == SMALL
        file.write(b"after")
    assert path.read_bytes() == b"before" + SMALL_FILE + b"after"


def test_known_number_needs_no_second_look_at_the_header() -> None:
    class OnlyForward(io.BytesIO):
        def seek(self, *_: int) -> int:
            raise AssertionError("seeks")

    file = OnlyForward()
    writer = Writer(file, SMALL)
    for packet in SMALL_PACKETS:
        writer.write(packet)
    writer.finish(6_000)
    assert file.getvalue() == SMALL_FILE


def test_file_opened_for_appending_is_not_patched(tmp_path: Path) -> None:
    path = tmp_path / "out.vq"
    with path.open("ab") as file:
        writer = Writer(file, replace(SMALL, num_samples=None))
        for packet in SMALL_PACKETS:
            writer.write(packet)
        writer.finish(6_000)
    assert path.stat().st_size == len(SMALL_FILE)
    with path.open("rb") as file:
        reader = Reader(file)
        assert reader.header.num_samples is None
        assert list(reader) == SMALL_PACKETS
        assert reader.num_samples == 6_000


def test_bytes_in_pieces() -> None:
    file = Trickle()
    writer = Writer(cast(BinaryIO, file), replace(SMALL, num_samples=None))
    for packet in SMALL_PACKETS:
        writer.write(packet)
    writer.finish(6_000)
    data = bytes(file.written)
    assert data[25:30] == b"\xff" * 5
    assert data[32:] == SMALL_FILE[32:]
    reader = Reader(trickle(data))
    assert list(reader) == SMALL_PACKETS
    assert reader.num_samples == 6_000


@pytest.mark.parametrize("buffering", [0, -1], ids=["unbuffered", "buffered"])
def test_through_a_pipe(buffering: int) -> None:
    packets = some_packets(SMALL, *[250] * 100)  # more than a pipe holds
    num_samples = 25_000 * 800
    source, sink = os.pipe()

    def produce() -> None:
        with os.fdopen(sink, "wb", buffering) as file:
            writer = Writer(file, replace(SMALL, num_samples=None))
            for packet in packets:
                writer.write(packet)
            writer.finish(num_samples)

    thread = threading.Thread(target=produce)
    thread.start()
    with os.fdopen(source, "rb", buffering) as file:
        reader = Reader(file)
        assert reader.header.num_samples is None
        assert list(reader) == packets
    thread.join()
    assert reader.num_samples == num_samples


# --- damage


def check_damage(data: bytes, whole_packets: int) -> CorruptFile:
    """Reading raises CorruptFile after just so many packets, salvaging gives just those."""
    reader = reader_of(data)
    packets: list[Packet] = []
    with pytest.raises(CorruptFile) as caught:
        for packet in reader:
            packets.append(packet)
    assert packets == SMALL_PACKETS[:whole_packets]
    with pytest.raises(CorruptFile):  # still damaged when asked again
        next(reader)
    salvaging = reader_of(data, salvage=True)
    assert list(salvaging) == SMALL_PACKETS[:whole_packets]
    assert salvaging.damage is not None
    return caught.value


@pytest.mark.parametrize("length", range(len(SMALL_FILE)))
def test_every_truncation(length: int) -> None:
    data = SMALL_FILE[:length]
    if length < HEADER_BYTES:
        with pytest.raises(NotVqcodecFile if length == 0 else CorruptFile):
            reader_of(data, salvage=True)
        return
    error = check_damage(data, sum(end <= length for end in SMALL_ENDS))
    assert str(error).startswith(f"in.vq: cut short at byte {length}: ")


@pytest.mark.parametrize("known", [True, False])
def test_every_single_bit_flip(known: bool) -> None:
    header = SMALL if known else replace(SMALL, num_samples=None)
    whole = header.to_bytes() + SMALL_FILE[32:]
    for bit in range(len(whole) * 8):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        if bit < HEADER_BYTES * 8:
            with pytest.raises(VqcodecError):
                reader_of(bytes(damaged), salvage=True)
        else:
            check_damage(bytes(damaged), sum(end <= bit // 8 for end in SMALL_ENDS))


@given(st.binary(max_size=200), st.integers(0, len(SMALL_FILE)))
def test_anything_after_a_good_start_is_an_error_or_the_file(tail: bytes, kept: int) -> None:
    data = SMALL_FILE[:kept] + tail
    if data == SMALL_FILE:
        return
    with pytest.raises(VqcodecError):
        list(reader_of(data))


def test_messages_say_where_and_how_much_is_there() -> None:
    header = replace(DEFAULT, num_samples=320_000)
    data = file_of(header, some_packets(header, 250, 250, 250, 250), 320_000)
    packet_bytes = 10 + 938
    for packets, words in enumerate(
        [
            "no whole packet is there; decode with --salvage to keep what there is of the first",
            "1 whole packet, 5.0 s of audio, is there; decode with --salvage to keep it",
            "2 whole packets, 10.0 s of audio, are there; decode with --salvage to keep them",
        ]
    ):
        length = 32 + packets * packet_bytes + 100
        with pytest.raises(CorruptFile) as caught:
            list(reader_of(data[:length]))
        assert str(caught.value) == f"in.vq: cut short at byte {length}: {words}"
    salvaging = reader_of(data[:2000], salvage=True)
    list(salvaging)
    assert str(salvaging.damage).endswith("2 whole packets, 10.0 s of audio, are there")
    wrong = bytearray(data)
    wrong[32 + packet_bytes + 50] ^= 1
    with pytest.raises(CorruptFile, match=rf"damaged packet .* at byte {32 + packet_bytes}: 1 whole"):
        list(reader_of(bytes(wrong)))


def test_what_is_salvaged_knows_no_number_of_samples() -> None:
    reader = reader_of(SMALL_FILE[:-1], salvage=True)
    assert list(reader) == SMALL_PACKETS
    assert reader.num_samples is None
    assert reader.offset == SMALL_ENDS[-1]


# --- the end packet


def test_missing_end_packet() -> None:
    for data in (SMALL_FILE[:-15], replace(SMALL, num_samples=None).to_bytes() + SMALL_FILE[32:-15]):
        assert "cut short" in str(check_damage(data, 3))


def test_stray_data_after_the_end_packet() -> None:
    for stray in (b"\0", SMALL_FILE[32:]):
        error = check_damage(SMALL_FILE + stray, 3)
        assert f"stray data after the end packet at byte {len(SMALL_FILE)}" in str(error)
    reader = reader_of(SMALL_FILE + b"\0", salvage=True)
    assert list(reader) == SMALL_PACKETS
    assert reader.num_samples == 6_000  # the end packet itself was good


def test_end_packet_that_contradicts_the_header() -> None:
    data = SMALL_FILE[:-15] + raw_packet(0, (5_999).to_bytes(5, "little"))
    assert "5999 samples instead of 6000" in str(check_damage(data, 3))


@pytest.mark.parametrize("length", [0, 4, 6])
def test_end_packet_of_another_length(length: int) -> None:
    assert "impossible packet" in str(check_damage(SMALL_FILE[:-15] + raw_packet(0, bytes(length)), 3))


@pytest.mark.parametrize("known", [True, False])
def test_more_samples_than_the_frames_hold(known: bool) -> None:
    """A file that lost whole packets, or claims hours of sound in a few bytes."""
    for num_samples, fits in ((7_056, True), (7_057, False), (MAX_SAMPLES, False)):  # 8 frames = 7056 samples
        header = replace(SMALL, num_samples=num_samples if known else None)
        data = header.to_bytes() + SMALL_FILE[32:-15] + raw_packet(0, num_samples.to_bytes(5, "little"))
        if fits:
            assert list(reader_of(data)) == SMALL_PACKETS
        else:
            assert "packets missing" in str(check_damage(data, 3))


# --- lengths that lie


@pytest.mark.parametrize(
    ("header", "packet"),
    [
        (SMALL, raw_packet(65_535, b"", length=0xFFFFFFFF)),
        (SMALL, raw_packet(65_535, b"x" * 50, length=SMALL.payload_bytes(65_535))),
        (SMALL, raw_packet(3, b"x" * 50, length=0xFFFFFFFF)),
        (SMALL, raw_packet(0, b"", length=0xFFFFFFFF)),
        (  # frames and length agree: 4 294 901 250 bytes
            replace(SMALL, channels=255, stages=255, bits_per_code=16),
            raw_packet(33_025, b"x" * 50, length=4_294_901_250),
        ),
        (replace(SMALL, payload_coding=1), raw_packet(65_535, b"", length=0xFFFFFFFF)),
        (
            replace(SMALL, payload_coding=1, channels=255, stages=255),
            raw_packet(65_535, b"x" * 50, length=0xFFFFFFFF),
        ),
    ],
)
@pytest.mark.parametrize("read", [lambda file: list(Reader(file)), lambda file: inspect(file)])
def test_lengths_that_lie_allocate_nothing(
    header: Header, packet: bytes, read: Callable[[BinaryIO], object], tmp_path: Path
) -> None:
    path = tmp_path / "in.vq"  # a real file allocates what it is asked for, io.BytesIO what it has
    path.write_bytes(header.to_bytes() + packet)
    tracemalloc.start()
    try:
        with path.open("rb") as file:
            try:
                result = read(file)
            except CorruptFile:
                result = None
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert result is None or cast(Any, result).damage is not None
    assert peak < 1_000_000


def test_payload_of_an_unknown_coding_can_be_checked_but_is_bounded() -> None:
    header = replace(SMALL, payload_coding=14)
    most = 2 * header.payload_bytes(8) + 64
    data = file_of(header, [Packet(8, bytes(most))], 6_000)
    assert list(reader_of(data)) == [Packet(8, bytes(most))]
    with pytest.raises(CorruptFile, match="impossible packet"):
        list(reader_of(header.to_bytes() + raw_packet(8, bytes(most + 1))))


@pytest.mark.parametrize("coding", [1, 2])
def test_codes_that_may_take_no_bytes_are_bounded(coding: int) -> None:
    header = replace(SMALL, channels=100, stages=200, payload_coding=coding)
    most = MAX_CODES // (100 * 200)
    data = file_of(header, [Packet(most, b"x")], 6_000)
    assert list(reader_of(data)) == [Packet(most, b"x")]
    with pytest.raises(CorruptFile, match=rf"impossible packet \({most + 1} frames in 1 bytes\)"):
        list(reader_of(header.to_bytes() + raw_packet(most + 1, b"x")))
    with pytest.raises(ValueError, match=f"1 to {most} frames"):
        file_of(header, [Packet(most + 1, b"x")], 6_000)
    assert packet_frames(header) + spare_frames(header) <= most


def test_channels_and_rate_are_bounded_together() -> None:
    assert replace(SMALL, channels=21, source_sample_rate=768_000).channels == 21
    with pytest.raises(ValueError, match="22 channels of 768000 Hz are too much"):
        replace(SMALL, channels=22, source_sample_rate=768_000)


def test_the_kind_of_codes_is_the_upper_half_of_byte_5() -> None:
    assert {kind: replace(SMALL, kind=kind, payload_coding=3).to_bytes()[5] for kind in KINDS.values()} == {
        "rvq": 0x03,
        "vq": 0x13,
        "product": 0x23,
        "lattice": 0x33,
        "tree": 0x43,
        "hierarchical": 0x53,
    }
    assert set(KINDS.values()) == {kind.name for kind in kinds.KINDS.values() if kind.has_codes}


@pytest.mark.parametrize("number", range(6, 16))
def test_an_unknown_kind_of_codes(number: int) -> None:
    start = bytearray(SMALL.to_bytes())
    start[5] = number << 4
    with pytest.raises(UnsupportedVersion, match=rf"in.vq: codes of kind {number} .*5 \(hierarchical\)"):
        Header.from_bytes(with_crc16(bytes(start)), "in.vq")
    with pytest.raises(CorruptFile, match="checksum"):  # which is looked at first
        Header.from_bytes(bytes(start), "in.vq")


# --- inspect


def test_inspect_a_whole_file() -> None:
    summary = inspect(io.BytesIO(SMALL_FILE), "in.vq")
    assert summary.header == SMALL
    assert (summary.packets, summary.frames, summary.num_samples) == (3, 8, 6_000)
    assert summary.bytes == len(SMALL_FILE)
    assert summary.duration_s == 6_000 / 44_100
    assert summary.bitrate_bps == pytest.approx(len(SMALL_FILE) * 8 * 44_100 / 6_000)
    assert summary.damage is None


def test_inspect_a_damaged_file() -> None:
    summary = inspect(io.BytesIO(SMALL_FILE[: SMALL_ENDS[1] + 5]), "in.vq")
    assert (summary.packets, summary.frames, summary.num_samples) == (2, 7, None)
    assert summary.bytes == SMALL_ENDS[1]
    assert summary.duration_s == 7 * 0.02
    assert summary.bitrate_bps == pytest.approx(SMALL_ENDS[1] * 8 / 0.14)
    assert "--salvage" in str(summary.damage)


def test_inspect_a_file_without_audio() -> None:
    summary = inspect(io.BytesIO(SMALL.to_bytes()))
    assert (summary.bytes, summary.duration_s, summary.bitrate_bps) == (32, 0.0, 0.0)


def test_inspect_raises_for_a_bad_header() -> None:
    with pytest.raises(NotVqcodecFile):
        inspect(io.BytesIO(b"hello"))


def test_inspect_holds_one_packet_at_a_time() -> None:
    header = replace(DEFAULT, stages=12)
    data = file_of(replace(header, num_samples=0), some_packets(header, *[250] * 400), 0)
    file = io.BytesIO(data)
    assert len(data) > 1_500_000
    tracemalloc.start()
    try:
        summary = inspect(file)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert summary.packets == 400
    assert peak < 200_000


# --- peeling


@given(
    st.integers(0, 2**32),
    st.integers(1, 3),
    st.integers(1, 5),
    st.integers(1, 16),
    st.lists(st.integers(1, 7)),
    st.booleans(),
    st.data(),
)
def test_peeling_equals_packing_fewer_stages(
    seed: int,
    channels: int,
    stages: int,
    bits: int,
    frame_counts: list[int],
    known: bool,
    data: st.DataObject,
) -> None:
    kept = data.draw(st.integers(1, stages))
    rng = np.random.default_rng(seed)
    num_samples = sum(frame_counts) * 800
    blocks = [rng.integers(0, 1 << bits, (channels, stages, frames)) for frames in frame_counts]

    def file_with(stages: int) -> bytes:
        header = replace(SMALL, channels=channels, stages=stages, bits_per_code=bits, num_samples=num_samples)
        packets = [Packet(block.shape[2], pack(block[:, :stages], bits)) for block in blocks]
        file = file_of(header, packets, num_samples)
        return file if known else replace(header, num_samples=None).to_bytes() + file[32:]

    out = Trickle()
    header = peel(reader_of(file_with(stages)), cast(BinaryIO, out), kept)
    assert header.stages == kept
    assert bytes(out.written) == file_with(kept)


def test_peeling_puts_an_unknown_number_into_the_header() -> None:
    out = io.BytesIO()
    live = replace(SMALL, num_samples=None).to_bytes() + SMALL_FILE[32:]
    assert peel(reader_of(live), out, 3) == SMALL
    assert out.getvalue() == SMALL_FILE


@pytest.mark.parametrize("stages", [0, 4])
def test_peeling_to_stages_that_are_not_there(stages: int) -> None:
    with pytest.raises(ConfigError, match="1 to 3 stages"):
        peel(reader_of(SMALL_FILE), io.BytesIO(), stages)


def test_peeling_another_payload_coding() -> None:
    out = io.BytesIO()
    with pytest.raises(UnsupportedVersion, match="coding 1"):
        peel(reader_of(replace(SMALL, payload_coding=1).to_bytes() + SMALL_FILE[32:]), out, 1)
    assert out.getvalue() == b""


@pytest.mark.parametrize("kind", KINDS.values())
def test_peeling_by_kind(kind: str) -> None:
    header, out = replace(SMALL, kind=kind), io.BytesIO()
    data = header.to_bytes() + SMALL_FILE[32:]
    if kind in PEELABLE:
        assert peel(reader_of(data), out, 2) == replace(header, stages=2)
        assert reader_of(out.getvalue()).header.kind == kind
    else:
        with pytest.raises(ConfigError, match=f"in.vq: 2 of 3 stages .* {kind} codes stand side by side"):
            peel(reader_of(data), out, 2)
        assert out.getvalue() == b""
        peel(reader_of(data), out, 3)
        assert out.getvalue() == data


@pytest.mark.parametrize("salvage", [False, True])
def test_peeling_a_damaged_file_never_looks_whole(salvage: bool) -> None:
    out = io.BytesIO()
    with pytest.raises(CorruptFile, match="cut short"):
        peel(reader_of(SMALL_FILE[:-1], salvage=salvage), out, 1)
    with pytest.raises(CorruptFile, match="cut short"):
        list(reader_of(out.getvalue()))


# --- docs/FORMAT.md


def fenced(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", FORMAT.read_text(encoding="utf-8"), re.DOTALL)


def hex_dump(text: str) -> bytes:
    data = b""
    for line in text.splitlines():
        offset, digits = line.split(maxsplit=1)
        assert int(offset, 16) == len(data)
        data += bytes.fromhex(digits)
    return data


def byte_table(title: str) -> dict[str, tuple[int, str]]:
    """Field -> (offset, size) from the first table after a title."""
    section = FORMAT.read_text(encoding="utf-8").split(f"\n## {title}\n")[1]
    table = section.split("|---:|---:|---|---|\n")[1].split("\n\n")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    return {field: (int(offset), size) for offset, size, field, _ in rows}


def test_worked_example_of_the_format_page() -> None:
    (text,) = fenced("json")
    example = json.loads(text)
    blocks = [np.array(block) for block in example.pop("codes")]
    header = Header(**{**example, "fingerprint": bytes.fromhex(example["fingerprint"])})
    bits = header.bits_per_code
    whole, peeled = map(hex_dump, fenced("hex"))
    packets = [Packet(block.shape[2], pack(block, bits)) for block in blocks]
    assert file_of(header, packets, example["num_samples"]) == whole
    out = io.BytesIO()
    peel(reader_of(whole), out, 1)
    assert out.getvalue() == peeled
    page = FORMAT.read_text(encoding="utf-8")
    assert f"The file has {len(whole)} bytes" in page
    assert f"it has {len(peeled)} bytes" in page


def test_byte_tables_of_the_format_page() -> None:
    """The worked example, read with nothing but the tables of the page."""
    (text,) = fenced("json")
    example = json.loads(text)
    data = hex_dump(fenced("hex")[0])

    def number(table: dict[str, tuple[int, str]], field: str, start: int = 0) -> int:
        offset, size = table[field]
        return int.from_bytes(data[start + offset : start + offset + int(size)], "little")

    header = byte_table("Header")
    position = 0
    for offset, size in header.values():
        assert offset == position
        position += int(size)
    assert position == HEADER_BYTES
    names = {
        "channels": "channels",
        "stages": "stages",
        "bits per code": "bits_per_code",
        "hop": "hop_length",
        "codec rate": "sample_rate",
        "source rate": "source_sample_rate",
        "samples": "num_samples",
    }
    for field, name in names.items():
        assert number(header, field) == example[name]
    offset, size = header["fingerprint"]
    assert data[offset : offset + int(size)].hex() == example["fingerprint"]
    assert number(header, "CRC-16") == binascii.crc_hqx(data[:30], 0xFFFF)

    packet, end = byte_table("Packet"), byte_table("End packet")
    for codes in example["codes"]:
        length = number(packet, "payload length", position)
        payload = data[position + packet["payload"][0] :][:length]
        assert number(packet, "frames", position) == len(codes[0][0])
        assert number(packet, "CRC-32", position) == zlib.crc32(data[position : position + 6] + payload)
        assert payload == pack(np.array(codes), example["bits_per_code"])
        position += packet["payload"][0] + length
    assert number(end, "frames", position) == 0
    assert number(end, "payload length", position) == 5
    assert number(end, "samples", position) == example["num_samples"]
    assert position + 15 == len(data)


def test_check_values_of_the_format_page() -> None:
    page = FORMAT.read_text(encoding="utf-8")
    assert f"it is 0x{binascii.crc_hqx(b'123456789', 0xFFFF):04X}." in page
    assert f"it is 0x{zlib.crc32(b'123456789'):08X}." in page


def test_an_end_packet_of_more_samples_than_a_file_can_have() -> None:
    """They would fit into the frames: a second of this codec is a single sample of the source."""
    header = replace(DEFAULT, num_samples=None, sample_rate=1, source_sample_rate=768_000, hop_length=0xFFFF)
    file = io.BytesIO()
    writer = Writer(file, header)
    for packet in some_packets(header, 22):
        writer.write(packet)
    length = (1 << 40) - 1
    head = struct.pack("<HI", 0, 5)
    body = length.to_bytes(5, "little")
    data = file.getvalue() + head + zlib.crc32(head + body).to_bytes(4, "little") + body
    assert header.codec_samples(length) < 22 * header.hop_length
    with pytest.raises(CorruptFile, match="more than a file can have"):
        list(reader_of(data))


def test_the_major_version_is_looked_at_as_soon_as_it_is_there() -> None:
    with pytest.raises(UnsupportedVersion, match=r"version 2\.x"):
        Header.from_bytes(b"VQC\x02")
    with pytest.raises(UnsupportedVersion, match=r"version 2\.7"):
        Header.from_bytes(b"VQC\x02\x07")
