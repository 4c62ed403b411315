"""Files that are coded by context, from sound to sound."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import synthetic
from vqcodec import Codec, Encoded, Rate, audio, bitstream, peeling
from vqcodec.errors import CorruptFile, ModelMismatch, VqcodecError
from vqcodec.payloads import codings

GOLDEN = Path(__file__).parents[1] / "golden"
CODEC = Codec.load(GOLDEN / "context.safetensors", "cpu")
WITHOUT = Codec.load(GOLDEN / "tiny.safetensors", "cpu")
VOICE = synthetic.voice(4.0)
VARIABLE = Rate(900, mode="variable")
ENCODED = CODEC.encode(VOICE, rate=VARIABLE)
FILE = ENCODED.to_bytes(CODEC.context)


def rewritten(payload: bytes, frames: int) -> bytes:
    """A file of one packet with this payload; its checksums are right."""
    file = io.BytesIO()
    writer = bitstream.Writer(file, ENCODED.header)
    writer.write(bitstream.Packet(frames, payload))
    writer.finish(ENCODED.num_samples)
    return file.getvalue()


def test_models_with_a_context_model_use_it_where_the_bitrate_varies(tmp_path: Path) -> None:
    audio.write(tmp_path / "in.wav", VOICE[None], 16_000)
    for codec, coding in ((CODEC, codings.CONTEXT), (WITHOUT, codings.VARYING)):
        codec.encode_file(tmp_path / "in.wav", tmp_path / "out.vq", bitrate_bps=900, force=True)
        with open(tmp_path / "out.vq", "rb") as file:
            assert bitstream.Reader(file).header.payload_coding == coding
    codec.encode_file(tmp_path / "in.wav", tmp_path / "out.vq", stages=2, force=True)
    with open(tmp_path / "out.vq", "rb") as file:
        assert bitstream.Reader(file).header.payload_coding == 0


def test_codes_come_back_and_sound_the_same(tmp_path: Path) -> None:
    assert ENCODED.header.payload_coding == codings.CONTEXT
    again = Encoded.from_bytes(FILE, coder=CODEC.context)
    np.testing.assert_array_equal(again.codes, ENCODED.codes)
    np.testing.assert_array_equal(CODEC.decode(FILE), CODEC.decode(ENCODED))
    (tmp_path / "a.vq").write_bytes(FILE)
    CODEC.decode_file(tmp_path / "a.vq", tmp_path / "a.w64")
    np.testing.assert_allclose(audio.read(tmp_path / "a.w64")[0], CODEC.decode(FILE).clip(-1, 1), atol=1 / 32768)


def test_a_constant_bitrate_can_be_packed_by_context() -> None:
    packed = CODEC.encode(VOICE, rate=Rate(stages=3, packing="context"))
    plain = CODEC.encode(VOICE, stages=3)
    np.testing.assert_array_equal(packed.codes, plain.codes)
    again = Encoded.from_bytes(packed.to_bytes(CODEC.context), coder=CODEC.context)
    np.testing.assert_array_equal(again.codes, plain.codes)


def test_a_varying_file_is_as_large_as_asked_for() -> None:
    for wanted in (500, 900):
        encoded = CODEC.encode(synthetic.voice(20.0), rate=Rate(wanted, mode="variable"))
        assert 0.95 * wanted <= len(encoded.to_bytes(CODEC.context)) * 8 / 20 <= wanted


def test_threads_make_no_difference() -> None:
    torch.set_num_threads(2)
    try:
        np.testing.assert_array_equal(Encoded.from_bytes(FILE, coder=CODEC.context).codes, ENCODED.codes)
    finally:
        torch.set_num_threads(1)


def test_what_no_context_model_wrote_is_refused() -> None:
    with pytest.raises(ModelMismatch):
        Encoded.from_bytes(FILE)  # of a model that does not ship
    with pytest.raises(ModelMismatch):
        WITHOUT.decode(FILE)
    [packet] = bitstream.Reader(io.BytesIO(FILE))
    with pytest.raises(ModelMismatch):
        CODEC.decode(rewritten(bytes([packet.payload[0] ^ 1]) + packet.payload[1:], packet.frames))


def test_every_truncation_and_bit_flip_is_found() -> None:
    for end in range(len(FILE)):
        with pytest.raises(VqcodecError):
            Encoded.from_bytes(FILE[:end], coder=CODEC.context)
    for at in range(len(FILE)):
        spoilt = bytearray(FILE)
        spoilt[at] ^= 1 << at % 8
        with pytest.raises(VqcodecError):
            Encoded.from_bytes(bytes(spoilt), coder=CODEC.context)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300))
def test_any_payload_ends_in_codes_or_an_error(payload: bytes) -> None:
    assert CODEC.context is not None
    mark = bytes.fromhex(CODEC.context.fingerprint)[:2]
    try:
        codes = Encoded.from_bytes(rewritten(mark + payload, ENCODED.codes.shape[-1]), coder=CODEC.context).codes
    except CorruptFile:
        return
    assert codes.shape == ENCODED.codes.shape


def test_damage_in_a_later_packet_leaves_those_before(tmp_path: Path) -> None:
    encoded = CODEC.encode(synthetic.voice(16.0), rate=VARIABLE)
    data = bytearray(encoded.to_bytes(CODEC.context))
    data[-40] ^= 1
    (tmp_path / "a.vq").write_bytes(data)
    result = CODEC.decode_file(tmp_path / "a.vq", tmp_path / "a.wav", salvage=True)
    assert result.damage is not None
    assert 9.5 < result.duration_s < 11


def test_peeling_by_stages_and_down_to_a_bitrate() -> None:
    for peel, argument in ((peeling.peel, 2), (peeling.peel_to, 600.0)):
        out = io.BytesIO()
        peel(bitstream.Reader(io.BytesIO(FILE)), out, argument, CODEC.context)  # type: ignore[operator]
        assert len(out.getvalue()) < len(FILE)
        kept = np.asarray(Encoded.from_bytes(out.getvalue(), coder=CODEC.context).codes)
        original = np.asarray(ENCODED.codes)[:, : kept.shape[1]]
        assert ((kept == original) | (kept == -1)).all()
        assert CODEC.decode(out.getvalue()).shape == (1, len(VOICE))
