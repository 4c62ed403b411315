"""Payload codings: what a header names, and codes that vary."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from contexts import context_model, small_config
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from vqcodec.bitstream import Header
from vqcodec.errors import CorruptFile, ModelMismatch, UnsupportedVersion
from vqcodec.payloads import codings, plain
from vqcodec.payloads.context import ContextCoder
from vqcodec.payloads.plain import ABSENT

HEADER = Header(
    fingerprint=bytes(8),
    sample_rate=16_000,
    source_sample_rate=16_000,
    channels=2,
    num_samples=None,
    hop_length=320,
    stages=4,
    bits_per_code=10,
)
VARYING = replace(HEADER, payload_coding=1)


def varying_codes(frames: int, seed: int = 0) -> NDArray[np.int64]:
    """Codes [channel, stage, frame] of frames that have 0 to 4 of them."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 1024, (2, 4, frames))
    codes[np.arange(4)[:, None] >= rng.integers(0, 5, (2, 1, frames))] = ABSENT
    return codes


def test_plain_packing_is_coding_0() -> None:
    codes = varying_codes(5).clip(0)
    coding = codings.of_header(HEADER)
    [payload] = coding.encode([codes])
    assert payload == plain.pack(codes, 10)
    np.testing.assert_array_equal(coding.decode([payload], [5])[0], codes)


def test_files_with_other_codings_are_of_version_1_1() -> None:
    assert HEADER.version == (1, 0)
    assert VARYING.version == (1, 1)
    assert Header.from_bytes(VARYING.to_bytes()) == VARYING


def test_unknown_codings_are_named() -> None:
    with pytest.raises(UnsupportedVersion, match="coding 7 is unknown"):
        codings.of_header(replace(HEADER, payload_coding=7))


def test_context_coding_needs_its_model() -> None:
    with pytest.raises(ModelMismatch, match="never shipped"):
        codings.of_header(replace(HEADER, payload_coding=2))


@given(st.lists(st.integers(0, 30), max_size=4), st.integers(0, 9))
def test_varying_codes_come_back(lengths: list[int], seed: int) -> None:
    packets = [varying_codes(frames, seed) for frames in lengths]
    coding = codings.of_header(VARYING)
    payloads = coding.encode(packets)
    for codes, again in zip(packets, coding.decode(payloads, lengths), strict=True):
        np.testing.assert_array_equal(again, codes)


def test_codes_that_are_not_sent_take_nothing() -> None:
    nothing = np.full((2, 4, 250), ABSENT)
    everything = np.zeros((2, 4, 250), np.int64)
    [small, large] = codings.of_header(VARYING).encode([nothing, everything])
    assert len(small) < 25
    assert 2500 < len(large) < 2525


def test_damaged_payloads_end_in_codes_or_an_error() -> None:
    coding = codings.of_header(VARYING)
    [payload] = coding.encode([varying_codes(20)])
    spoilt = [payload[:end] for end in range(len(payload))] + [payload + b"\0", b"\xff" * len(payload)]
    spoilt += [bytes([*payload[:at], payload[at] ^ 128, *payload[at + 1 :]]) for at in range(len(payload))]
    refused = 0
    for data in spoilt:
        try:
            [codes] = coding.decode([data], [20])
        except CorruptFile:
            refused += 1
        else:
            assert codes.shape == (2, 4, 20)
            assert codes.min() >= ABSENT
    assert refused >= len(payload) + 2  # all that are cut or too long; codes themselves may be any


@pytest.mark.parametrize("number", [0, 1, 2])
def test_the_beginning_of_a_payload(number: int) -> None:
    """Whatever is taken of it is right; the more there is, the more comes, and all but the end of almost all."""
    coder = ContextCoder(context_model(small_config(codebook_size=1024)))
    coding = codings.of_header(replace(HEADER, payload_coding=number), coder)
    codes = varying_codes(30).clip(0 if number == 0 else ABSENT)
    [payload] = coding.encode([codes])
    sent = []
    for length in range(len(payload)):
        try:
            begun = coding.begun(payload[:length], len(payload), 30)
        except CorruptFile:  # not even the numbers of stages are there
            begun = np.zeros((2, 4, 0), np.int64)
        frames = begun.shape[-1]
        assert begun.shape == (2, 4, frames)
        np.testing.assert_array_equal(begun[begun != ABSENT], codes[..., :frames][begun != ABSENT])
        sent.append(int((begun != ABSENT).sum()))
    assert sent == sorted(sent)
    assert sent[0] == 0
    assert sent[len(sent) // 2] > 0.2 * (codes != ABSENT).sum()
    assert sent[-1] > 0.7 * (codes != ABSENT).sum()
