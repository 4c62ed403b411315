"""Logits -> frequencies: sums, bounds, and integers all the way."""

from __future__ import annotations

import ast
import inspect

import numpy as np
import pytest
from contexts import small_config, tensors_of
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from vqcodec.models.context import frequencies

TABLE = tensors_of(small_config())["exponentials"].astype(np.int32)


def rows(count: int, symbols: int, spread: int, seed: int = 0) -> NDArray[np.int64]:
    return np.random.default_rng(seed).integers(-spread, spread + 1, (count, symbols))


@given(symbols=st.sampled_from([1, 2, 3, 13, 1024, 4096]), spread=st.integers(0, 1 << 20), seed=st.integers(0, 1 << 20))
@settings(max_examples=60, deadline=None)
def test_frequencies_add_up_and_none_is_zero(symbols: int, spread: int, seed: int) -> None:
    found = frequencies.frequencies(frequencies.cumulate(rows(5, symbols, spread, seed), TABLE))
    assert (found.sum(1) == 1 << 16).all()
    assert found.min() >= 1


def test_likelier_symbols_have_more_shares() -> None:
    logits = np.array([[0, 32, 64, -1000]], np.int64)  # 32 to a nat
    found = frequencies.frequencies(frequencies.cumulate(logits, TABLE))[0] / 65536
    expected = np.exp([0, 1, 2, -31.25])
    np.testing.assert_allclose(found, expected / expected.sum(), atol=2e-4)


def test_a_constant_added_to_all_logits_makes_no_difference() -> None:
    logits = rows(4, 50, 100)
    assert (frequencies.cumulate(logits, TABLE) == frequencies.cumulate(logits + 12345, TABLE)).all()


@pytest.mark.parametrize("symbols", [1, 5, 1024])
def test_every_share_is_found_in_its_symbol(symbols: int) -> None:
    sums = frequencies.cumulate(rows(1, symbols, 200), TABLE)
    ends = frequencies.bounds(sums)[0]
    shares = np.array([0, *ends[:-1], *(ends - 1)])
    found, first, number = frequencies.find(np.repeat(sums, len(shares), 0), shares)
    assert (found == np.searchsorted(ends, shares, side="right")).all()
    again = frequencies.shares_of(np.repeat(sums, len(shares), 0), found)
    assert (again[0] == first).all() and (again[1] == number).all()
    assert ((first <= shares) & (shares < first + number)).all()


def test_all_is_whole_numbers() -> None:
    logits = rows(3, 20, 300)
    sums = frequencies.cumulate(logits, TABLE)
    results = [sums, frequencies.bounds(sums), frequencies.frequencies(sums)]
    results += [*frequencies.shares_of(sums, np.zeros(3, np.int64)), *frequencies.find(sums, np.zeros(3, np.int64))]
    assert {result.dtype for result in results} <= {np.dtype(np.int32), np.dtype(np.int64)}


def test_no_line_of_the_module_computes_with_floats() -> None:
    tree = ast.parse(inspect.getsource(frequencies))
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Div | ast.Pow)]
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, float)]
    names = {getattr(node, "attr", getattr(node, "id", "")) for node in ast.walk(tree)}
    assert not [name for name in names if "float" in name or name in ("exp", "log", "mean", "true_divide", "divide")]
