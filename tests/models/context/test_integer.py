"""The network in whole numbers: the same frequencies whatever computes them, and bounds that make it so."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from context_reference import Reference
from contexts import context_model, packet, small_config, tensors_of
from numpy.typing import NDArray

from vqcodec.errors import CorruptFile
from vqcodec.models.context import frequencies, store
from vqcodec.models.context.integer import WIDE, ContextNetwork
from vqcodec.models.context.store import EXACT, ContextModel, largest_sums

FRAMES = 40


@pytest.fixture(scope="module")
def model() -> ContextModel:
    return context_model()


def inputs(model: ContextModel, codes: NDArray[np.int64], counts: NDArray[np.int64]) -> tuple[NDArray, NDArray]:
    """What the network is told of the frames before those of a packet: [channel, frame, 2 * dim], [channel, frame]."""
    channels, _, frames = codes.shape
    sums = np.zeros((channels, frames, 2 * model.config.latent_dim), np.float32)
    for channel in range(channels):
        for frame in range(1, frames):
            sent = codes[channel, : counts[channel, frame - 1], frame - 1]
            vectors = [model.vectors[stage][code] for stage, code in enumerate(sent)]
            empty = np.zeros(model.config.latent_dim)
            sums[channel, frame] = np.concatenate([sum(vectors, empty), sum(vectors[:2], empty)])
    before = np.full_like(counts, model.config.first_frame)
    before[:, 1:] = counts[:, :-1]
    return sums.clip(-WIDE, WIDE), before


def expected_frequencies(model: ContextModel, kind: type, codes: NDArray, counts: NDArray) -> list[list[NDArray]]:
    return list(Reference(model, kind).frequencies(codes, counts))


def network_frequencies(
    model: ContextModel, network: ContextNetwork, x: NDArray, codes: NDArray, counts: NDArray
) -> Iterator[list[NDArray]]:
    """Frequencies of the symbols of the frames of one channel, one frame at a time."""
    table = model.tensors["exponentials"].astype(np.int64)
    for frame, count in enumerate(counts):
        logits = [network.count_logits(x[frame : frame + 1])]
        partial = np.zeros((1, model.config.latent_dim), np.float32)
        for stage in range(count):
            own = counts[frame : frame + 1]
            logits.append(network.stage_logits(stage, x[frame : frame + 1], own, partial.clip(-WIDE, WIDE)))
            partial = partial + model.vectors[stage][codes[stage, frame]].astype(np.float32)
        yield [frequencies.frequencies(frequencies.cumulate(one, table))[0] for one in logits]


def assert_same(found: list[list[NDArray]], expected: list[list[NDArray]]) -> None:
    assert len(found) == len(expected)
    for left, right in zip(found, expected, strict=True):
        assert len(left) == len(right)
        assert all((a == b).all() for a, b in zip(left, right, strict=True))


@pytest.mark.parametrize("kind", [np.int64, np.float64])
def test_frequencies_are_those_of_plain_arithmetic(model: ContextModel, kind: type) -> None:
    codes, counts = packet(model.config, 1, FRAMES)
    network = model.network()
    x = network.trunk(*inputs(model, codes, counts))
    found = list(network_frequencies(model, network, x[0], codes[0], counts[0]))
    assert_same(found, expected_frequencies(model, kind, codes[0], counts[0]))
    assert max(len(set(frame[0].tolist())) for frame in found) > 2  # the distributions are no trivial ones


@pytest.mark.parametrize("rows", [1, 7, 64])
def test_batches_make_no_difference(model: ContextModel, rows: int) -> None:
    codes, counts = packet(model.config, 64, FRAMES)
    network = model.network()
    sums, before = inputs(model, codes, counts)
    whole = network.trunk(sums, before)
    parts = [network.trunk(sums[a : a + rows], before[a : a + rows]) for a in range(0, 64, rows)]
    assert (np.concatenate(parts) == whole).all()
    flat, own = whole.reshape(-1, whole.shape[-1]), counts.reshape(-1)
    partial = sums.reshape(len(flat), -1)[:, : model.config.latent_dim]
    for stage in range(model.config.num_stages):
        logits = network.stage_logits(stage, flat, own, partial)
        for a in range(0, 256, rows):
            cut = slice(a, a + rows)
            assert (network.stage_logits(stage, flat[cut], own[cut], partial[cut]) == logits[cut]).all()
    assert (network.count_logits(flat)[:rows] == network.count_logits(flat[:rows])).all()


@pytest.mark.parametrize("kernel_size", [1, 2, 5])
def test_frame_by_frame_is_the_same_as_all_at_once(kernel_size: int) -> None:
    model = context_model(small_config(kernel_size=kernel_size))
    codes, counts = packet(model.config, 3, 150)
    network = model.network()
    sums, before = inputs(model, codes, counts)
    whole = network.trunk(sums, before)
    stream = network.stream(3)
    for frame in range(150):
        rows = 3 if frame < 100 else 2  # a row ends early
        step = stream.step(sums[:rows, frame], before[:rows, frame])
        assert (step == whole[:rows, frame]).all()
    pieces = network.stream(3)
    parts = [pieces.push(sums[:, a:b], before[:, a:b]) for a, b in ((0, 1), (1, 3), (3, 90), (90, 150))]
    assert (np.concatenate(parts, axis=1) == whole).all()


def test_all_activations_are_whole_numbers_in_float32(model: ContextModel) -> None:
    codes, counts = packet(model.config, 2, FRAMES)
    network = model.network()
    x = network.trunk(*inputs(model, codes, counts))
    assert x.dtype == np.float32
    assert (x == np.floor(x)).all() and np.abs(x).max() <= WIDE and len(np.unique(x)) > 50
    assert network.count_logits(x[0]).dtype == np.int32
    partial = np.zeros((FRAMES, model.config.latent_dim), np.float32)
    assert network.stage_logits(0, x[0], counts[0], partial).dtype == np.int32


def test_sums_at_their_largest_are_exact() -> None:
    """A row of a matrix and inputs of the largest magnitude, all of the sign that makes the sum largest."""
    config = small_config(width=240)
    model = ContextModel(config=config, tensors=tensors_of(config), vectors=context_model(config).vectors)
    network = model.network()
    largest = dict(largest_sums(config, model.tensors))
    weight = model.tensors["blocks.0.expand.weight"].astype(np.int64)
    x = np.where(weight >= 0, WIDE, -WIDE)  # [out, in]: a frame for each output
    bias, shift = model.tensors["blocks.0.expand.bias"].astype(np.int64), model.tensors["blocks.0.expand.shift"][0]
    exact = np.einsum("oi,fi->fo", weight, x) + bias
    assert np.abs(exact - bias).max() <= largest["blocks.0.expand"] < EXACT
    layer = network._blocks[0]._expand
    found = layer.rounded(x.astype(np.float32))
    assert (found.astype(np.int64) == exact + (1 << shift - 1) >> shift).all()


@pytest.mark.parametrize(
    "name",
    ["input.weight", "input.table", "blocks.1.expand.bias", "count.hidden.bias", "hidden.table", "logits.bias"],
)
def test_weights_whose_sums_would_not_be_exact_are_refused(name: str) -> None:
    config = small_config(latent_dim=136 if name == "input.weight" else 8)
    tensors = tensors_of(config)
    store.check(config, tensors)
    tensors[name] = np.full_like(tensors[name], 127 if tensors[name].dtype == np.int8 else EXACT - 1000)
    with pytest.raises(CorruptFile, match="which float32 does not hold"):
        store.check(config, tensors)


def test_the_bounds_are_those_of_the_weights() -> None:
    config = small_config(num_stages=1)
    tensors = {name: np.zeros(shape, kind) for name, kind, shape in config.tensors()}
    for name in tensors:
        if name.endswith(".shift"):
            tensors[name][:] = 3
    tensors["hidden.weight"][0, 5, :2] = [3, -4]
    tensors["hidden.partial"][0, 5, 1] = -2
    tensors["hidden.table"][0, :2, 5] = [-10, 6]
    assert dict(largest_sums(config, tensors))["hidden, stage 0"] == (3 + 4 + 2) * 511 + 10 + 4
    tensors["blocks.0.contract.weight"][7, :3] = [-128, 1, 1]
    tensors["blocks.0.contract.bias"][7] = -100
    assert dict(largest_sums(config, tensors))["blocks.0.contract"] == 130 * 127 + 100 + 4
    layers = {name.rsplit(".", 1)[0] for name, _, _ in config.tensors() if name.endswith("shift")}
    assert {name.partition(",")[0] for name, _ in largest_sums(config, tensors)} == layers
