"""Products by int8 instructions: the same numbers as in float32, and only where they are."""

import numpy as np
import pytest
import torch

from vqcodec.models.context import int8
from vqcodec.models.context.integer import NARROW, WIDE, in_float32


@pytest.mark.parametrize("shape", [(1, 512), (5, 512), (33, 512), (700, 512), (3, 90, 128)])
@pytest.mark.parametrize("factor", [1.0, 0.5**9])
@pytest.mark.parametrize(("low", "high"), [(0, NARROW), (-WIDE, WIDE)])
def test_the_numbers_are_those_in_float32(shape: tuple[int, ...], factor: float, low: int, high: int) -> None:
    if int8.multiplier() is None:
        pytest.skip("this processor has no exact int8 instructions")
    random = np.random.default_rng(1)
    weight = random.integers(-64, 64, (96, shape[-1])).astype(np.int8)
    x = random.integers(low, high + 1, shape).astype(np.float32)
    found, expected = int8.multiply(weight, factor, high)(x), in_float32(weight, factor, high)(x)
    assert found.dtype == np.float32
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("known", [{}, {"avx2": True, "avx512_f": True}])
def test_a_processor_without_such_instructions(monkeypatch: pytest.MonkeyPatch, known: dict[str, bool]) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: known, raising=False)
    assert int8.multiplier.__wrapped__() is None


def test_instructions_that_overflow_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_vnni": True}, raising=False)
    exact = torch._int_mm
    monkeypatch.setattr(torch, "_int_mm", lambda x, y: exact(x, y).clamp(-(1 << 15), (1 << 15) - 1))
    assert int8.multiplier.__wrapped__() is None
