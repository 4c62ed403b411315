"""The network that learns computes, once it rounds, what the integer network computes: to the last bit, anyhow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from context_reference import Reference
from contexts import context_model, packet, small_config
from numpy.typing import NDArray

from vqcodec.models.context import frequencies
from vqcodec.models.context.store import ContextModel
from vqcodec.recipes.context.network import ContextTraining, exponentials

FRAMES = 30


@pytest.fixture(scope="module")
def network() -> ContextTraining:
    torch.manual_seed(0)
    network = ContextTraining(small_config(), context_model().vectors)
    for parameter in network.parameters():  # far from zero, so that activations are clipped now and then
        parameter.data *= 2
    network.whole = True
    return network


def model_of(network: ContextTraining) -> ContextModel:
    vectors = context_model().vectors
    return ContextModel(config=network.config, tensors=network.tensors(), vectors=vectors)


@contextmanager
def threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@torch.no_grad()
def frequencies_of(
    network: ContextTraining, codes: NDArray[np.int64], counts: NDArray[np.int64], batch: int, kind: torch.dtype
) -> list[NDArray[np.int64]]:
    """Frequencies of the counts, and of the codes of each stage, of all items."""
    table = exponentials().astype(np.int64)
    parts: list[list[NDArray[np.int64]]] = []
    network.to(kind)
    for begin in range(0, len(codes), batch):
        some = torch.from_numpy(codes[begin : begin + batch]), torch.from_numpy(counts[begin : begin + batch])
        first, stages = network(*some)
        logits = [(one * 32).numpy().astype(np.int64) for one in (first, *(logits for _, logits in stages))]
        parts.append([frequencies.frequencies(frequencies.cumulate(one, table)) if len(one) else one for one in logits])
    network.to(torch.float32)
    return [np.concatenate(stage) for stage in zip(*parts, strict=True)]


def test_frequencies_are_those_of_plain_integers(network: ContextTraining) -> None:
    codes, counts = packet(network.config, 1, FRAMES)
    found = frequencies_of(network, codes, counts, 1, torch.float32)
    expected = list(Reference(model_of(network)).frequencies(codes[0], counts[0]))
    assert (found[0] == np.stack([frame[0] for frame in expected])).all()
    for stage in range(network.config.num_stages):
        those = [frame[1 + stage] for frame in expected if len(frame) > 1 + stage]
        assert (found[1 + stage] == np.stack(those)).all()
        assert len(np.unique(those)) > 10


@pytest.mark.filterwarnings("ignore:TF32 acceleration")
@pytest.mark.parametrize("onednn", [True, False])
@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("batch", [1, 64])
@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_nothing_about_the_machine_matters(
    network: ContextTraining, onednn: bool, number: int, batch: int, kind: torch.dtype
) -> None:
    codes, counts = packet(network.config, 64, FRAMES)
    expected = frequencies_of(network, codes, counts, 64, torch.float32)
    with threads(number), torch.backends.mkldnn.flags(enabled=onednn):
        found = frequencies_of(network, codes, counts, batch, kind)
    assert all((a == b).all() for a, b in zip(found, expected, strict=True))


def test_rounding_changes_little_and_lets_gradients_through() -> None:
    torch.manual_seed(1)
    network = ContextTraining(small_config(), context_model().vectors)
    codes, counts = (torch.from_numpy(part) for part in packet(network.config, 4, FRAMES))
    real = network(codes, counts)[0]
    network.whole = True
    whole = network(codes, counts)[0]
    assert 0 < (real - whole).abs().max() < 0.2
    sum(logits.square().sum() for _, logits in network(codes, counts)[1]).backward()  # type: ignore[union-attr]
    for name, parameter in network.named_parameters():
        if not name.startswith("count") and name != "partial.0":  # before stage 0 there is no sum
            assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_the_future_makes_no_difference(network: ContextTraining) -> None:
    codes, counts = packet(network.config, 1, FRAMES)
    other, others = codes.copy(), counts.copy()
    other[:, :, 20:], others[:, 20:] = 3, 4
    before = network(torch.from_numpy(codes), torch.from_numpy(counts))[0]
    after = network(torch.from_numpy(other), torch.from_numpy(others))[0]
    assert (before[:21] == after[:21]).all()
    assert not (before[21:] == after[21:]).all()


def test_exponentials_are_exact() -> None:
    table = exponentials()
    assert table[0] == 1 << 14 and table[-1] == 0 and table[-2] == 1
    np.testing.assert_allclose(table[:-1], (1 << 14) * np.exp(-np.arange(len(table) - 1) / 32), atol=0.5000001)
