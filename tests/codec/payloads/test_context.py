"""Packets through the context coder: round trips, sizes, damage, and bytes that must never change."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path

import numpy as np
import pytest
from context_reference import Reference
from contexts import context_model, packet, small_config
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from vqcodec.errors import ConfigError, CorruptFile, ModelMismatch
from vqcodec.models.context.store import ContextModel
from vqcodec.models.context.store import load as load_model
from vqcodec.payloads.context import FINGERPRINT_BYTES, ContextCoder

GOLDEN = Path(__file__).parents[2] / "golden"

Packet = tuple[NDArray[np.int64], NDArray[np.int64]]


@pytest.fixture(scope="module")
def coder() -> ContextCoder:
    return ContextCoder(context_model())


def some(frames: int, channels: int = 1, seed: int = 0) -> Packet:
    return packet(small_config(), channels, frames, seed)


def assert_same(found: list[Packet], expected: list[Packet]) -> None:
    assert len(found) == len(expected)
    for (codes, counts), (other_codes, other_counts) in zip(found, expected, strict=True):
        assert codes.dtype == counts.dtype == np.int64
        assert codes.shape == other_codes.shape and (codes == other_codes).all()
        assert counts.shape == other_counts.shape and (counts == other_counts).all()


@given(
    frames=st.lists(st.integers(0, 90), min_size=1, max_size=6), channels=st.integers(1, 3), seed=st.integers(0, 1000)
)
@settings(max_examples=30, deadline=None)
def test_round_trip(coder: ContextCoder, frames: list[int], channels: int, seed: int) -> None:
    packets = [some(length, channels, seed + place) for place, length in enumerate(frames)]
    assert_same(coder.decode(coder.encode(packets), frames, channels, 4), packets)


def test_more_packets_than_are_decoded_at_a_time(coder: ContextCoder) -> None:
    frames = [place % 5 for place in range(150)]
    packets = [some(length, seed=place) for place, length in enumerate(frames)]
    assert_same(coder.decode(coder.encode(packets), frames, 1, 4), packets)


@pytest.mark.parametrize("stages", [1, 2, 3, 4])
def test_files_of_fewer_stages(coder: ContextCoder, stages: int) -> None:
    codes, counts = some(60, 2)
    counts = counts.clip(max=stages)
    codes = codes[:, :stages] * (np.arange(stages)[:, None] < counts[:, None])
    payloads = coder.encode([(codes, counts)])
    assert_same(coder.decode(payloads, [60], 2, stages), [(codes, counts)])


@pytest.mark.parametrize("count", [0, 4])
def test_constant_counts(coder: ContextCoder, count: int) -> None:
    codes, counts = some(30)
    counts = np.full_like(counts, count)
    codes = codes * (count > 0)
    assert_same(coder.decode(coder.encode([(codes, counts)]), [30], 1, 4), [(codes, counts)])


def test_codes_beyond_the_counts_make_no_difference(coder: ContextCoder) -> None:
    codes, counts = some(40)
    other = np.where(np.arange(4)[:, None] < counts[:, None], codes, 999)
    assert coder.encode([(other.astype(np.uint16), counts.astype(np.int8))]) == coder.encode([(codes, counts)])


def test_a_packet_is_coded_alike_whatever_comes_with_it(coder: ContextCoder) -> None:
    packets = [some(length, 2, length) for length in (50, 3, 70)]
    together = coder.encode(packets)
    assert together == [coder.encode([one])[0] for one in packets]
    for payload, one in zip(together, packets, strict=True):
        assert_same(coder.decode([payload], [one[0].shape[-1]], 2, 4), [one])


def test_frame_by_frame(coder: ContextCoder) -> None:
    codes, counts = some(25, 2)
    (payload,) = coder.encode([(codes, counts)])
    steps = list(coder.frames(payload, 25, 2, 4))
    assert (np.stack([step[0] for step in steps], -1) == codes).all()
    assert (np.stack([step[1] for step in steps], -1) == counts).all()


def test_bytes_are_those_of_the_costs(coder: ContextCoder) -> None:
    codes, counts = some(200, 2)
    costs = coder.costs(codes, counts)
    assert costs.shape == (2, 5, 200) and costs.dtype == np.float32
    assert ((costs > 0) == (np.arange(5)[:, None] <= counts[:, None])).all()
    (payload,) = coder.encode([(codes, counts)])
    ideal = costs.sum() / 8
    assert ideal < len(payload) - FINGERPRINT_BYTES < ideal * 1.001 + 2.2


def test_costs_are_those_of_the_reference(coder: ContextCoder) -> None:
    model = context_model()
    codes, counts = some(20)
    costs = coder.costs(codes, counts)[0]
    for frame, found in enumerate(Reference(model).frequencies(codes[0], counts[0])):
        symbols = [counts[0, frame], *codes[0, : counts[0, frame], frame]]
        for place, (symbol, frequencies) in enumerate(zip(symbols, found, strict=True)):
            assert costs[place, frame] == pytest.approx(16 - math.log2(frequencies[symbol]), abs=1e-5)


def test_another_context_model_is_refused(coder: ContextCoder) -> None:
    other = ContextCoder(context_model(seed=1))
    with pytest.raises(ModelMismatch, match=coder.fingerprint[:4]):
        other.decode(coder.encode([some(5)]), [5], 1, 4)


@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_damage_ends_in_codes_or_corrupt_file(coder: ContextCoder, data: st.DataObject) -> None:
    body = data.draw(st.binary(max_size=60))
    payload = bytes.fromhex(coder.fingerprint)[:FINGERPRINT_BYTES] + body
    frames = data.draw(st.integers(0, 12))
    try:
        ((codes, counts),) = coder.decode([payload], [frames], 2, 3)
    except CorruptFile:
        return
    assert coder.encode([(codes, counts)]) == [payload]


@pytest.mark.parametrize("change", [lambda p: p[:-1], lambda p: p + b"\0", lambda p: p[:2], lambda p: p[:1]])
def test_a_payload_that_is_too_short_or_too_long(coder: ContextCoder, change: object) -> None:
    (payload,) = coder.encode([some(20)])
    with pytest.raises(CorruptFile):
        coder.decode([change(payload)], [20], 1, 4)  # type: ignore[operator]


@pytest.mark.parametrize("frames", [19, 25, 0])
def test_another_number_of_frames(coder: ContextCoder, frames: int) -> None:
    (payload,) = coder.encode([some(20)])
    with pytest.raises(CorruptFile, match="does not end"):
        coder.decode([payload], [frames], 1, 4)


@pytest.mark.parametrize(
    ("codes", "counts", "message"),
    [
        (np.zeros((4, 5), int), np.zeros((1, 5), int), "fit together"),
        (np.zeros((1, 4, 5), int), np.zeros((1, 6), int), "fit together"),
        (np.zeros((1, 4, 5)), np.zeros((1, 5), int), "whole numbers"),
        (np.zeros((1, 5, 5), int), np.zeros((1, 5), int), "5 stages"),
        (np.zeros((1, 4, 5), int), np.full((1, 5), 5), "counts from 5"),
        (np.zeros((1, 4, 5), int), np.full((1, 5), -1), "counts from -1"),
        (np.full((1, 4, 5), 16), np.ones((1, 5), int), "codes from 0 to 16"),
    ],
)
def test_impossible_codes_are_refused(coder: ContextCoder, codes: NDArray, counts: NDArray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        coder.encode([(codes, counts)])


def test_more_stages_than_the_model_has(coder: ContextCoder) -> None:
    with pytest.raises(ConfigError, match="1 to 4 stages"):
        coder.decode(coder.encode([some(5)]), [5], 1, 5)


def test_a_model_file_without_a_context_model() -> None:
    assert ContextCoder.load(GOLDEN / "tiny.safetensors") is None


# What must never change


@pytest.fixture(scope="module")
def golden() -> ContextModel:
    model = load_model(GOLDEN / "context.safetensors")
    assert model is not None
    return model


def golden_packet(model: ContextModel) -> Packet:
    """Two channels of six frames, from whole numbers alone."""
    frame, stage, channel = np.arange(6), np.arange(4)[:, None], np.arange(2)[:, None, None]
    counts = (frame + 3 * channel[:, 0]) % 5
    codes = (17 * frame + 5 * stage + 23 * channel) % model.config.codebook_size
    return codes * (stage < counts[:, None]), counts


def test_golden_frequencies(golden: ContextModel) -> None:
    expected = json.loads((GOLDEN / "context.json").read_text())
    assert golden.fingerprint == expected["fingerprint"]
    codes, counts = golden_packet(golden)
    digests = []
    for channel in range(2):
        digest = hashlib.sha256()
        for frame in Reference(golden).frequencies(codes[channel], counts[channel]):
            for frequencies in frame:
                digest.update(frequencies.astype("<i8").tobytes())
        digests.append(digest.hexdigest())
    assert digests == expected["frequencies"]


def test_golden_payload(golden: ContextModel) -> None:
    expected = json.loads((GOLDEN / "context.json").read_text())
    coder, made = ContextCoder(golden), golden_packet(golden)
    payload = bytes.fromhex(expected["payload"])
    assert coder.encode([made]) == [payload]
    assert_same(coder.decode([payload], [6], 2, 4), [made])
