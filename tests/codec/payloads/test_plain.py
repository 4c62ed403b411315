"""Codes <-> payload bytes."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from vqcodec.errors import CorruptFile
from vqcodec.payloads.plain import pack, payload_bytes, unpack

sizes = st.integers(1, 5)
bit_counts = st.integers(1, 16)


def random_codes(seed: int, channels: int, stages: int, frames: int, bits: int) -> NDArray[np.int64]:
    return np.random.default_rng(seed).integers(0, 1 << bits, (channels, stages, frames))


def packed_by_the_book(codes: NDArray[Any], bits: int) -> bytes:
    """Plain packing as docs/FORMAT.md words it, one code after another."""
    channels, stages, frames = codes.shape
    text = ""
    for stage in range(stages):
        for channel in range(channels):
            for frame in range(frames):
                text += f"{codes[channel, stage, frame]:0{bits}b}"
    text += "0" * (-len(text) % 8)
    return bytes(int(text[i : i + 8], 2) for i in range(0, len(text), 8))


@given(st.integers(0, 2**32), sizes, sizes, sizes, bit_counts)
def test_round_trip_by_the_book(seed: int, channels: int, stages: int, frames: int, bits: int) -> None:
    codes = random_codes(seed, channels, stages, frames, bits)
    payload = pack(codes, bits)
    assert payload == packed_by_the_book(codes, bits)
    assert len(payload) == payload_bytes(channels=channels, stages=stages, frames=frames, bits=bits)
    back = unpack(payload, channels=channels, stages=stages, frames=frames, bits=bits)
    assert back.dtype == np.int64
    assert back.flags.c_contiguous
    np.testing.assert_array_equal(back, codes)


@pytest.mark.parametrize("bits", range(1, 17))
def test_smallest_and_largest_code(bits: int) -> None:
    codes = np.array([[[0, (1 << bits) - 1]]])
    back = unpack(pack(codes, bits), channels=1, stages=1, frames=2, bits=bits)
    np.testing.assert_array_equal(back, codes)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.uint64])
def test_any_integer_type_and_layout(dtype: type[np.integer[Any]]) -> None:
    codes = random_codes(0, 2, 3, 8, 7)
    strided = np.asfortranarray(np.repeat(codes, 2, axis=2).astype(dtype))[:, :, ::2]
    assert pack(strided, 7) == pack(codes, 7)


@pytest.mark.parametrize(
    "codes",
    [np.array([[[4]]]), np.array([[[-1]]]), np.array([[[65536]]]), np.array([[1]]), np.array([[[1.0]]])],
    ids=["too large", "negative", "beyond 16 bits", "two axes", "floating point"],
)
def test_what_cannot_be_packed(codes: NDArray[Any]) -> None:
    with pytest.raises(ValueError):
        pack(codes, 2)


@pytest.mark.parametrize("bits", [0, 17])
def test_bits_out_of_range(bits: int) -> None:
    with pytest.raises(ValueError, match="1 to 16"):
        pack(np.zeros((1, 1, 1), np.int64), bits)
    with pytest.raises(ValueError, match="1 to 16"):
        unpack(b"\0\0\0", channels=1, stages=1, frames=1, bits=bits)


@pytest.mark.parametrize("payload", [b"", b"\0", b"\0\0\0"])
def test_wrong_length(payload: bytes) -> None:
    with pytest.raises(CorruptFile, match="instead of 2"):
        unpack(payload, channels=1, stages=1, frames=1, bits=10)


@pytest.mark.parametrize("bit", range(6))
def test_padding_must_be_zero(bit: int) -> None:
    payload = bytes([0xFF, 0xC0 | 1 << bit])
    with pytest.raises(CorruptFile, match="padding"):
        unpack(payload, channels=1, stages=1, frames=1, bits=10)
