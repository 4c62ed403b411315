"""The context network's products by int8 instructions: as exact as in float32, and faster.

Weights and activations fit int8 (wide activations in two parts) and the sums of their products int32, so that nothing
is rounded. Processors without instructions for that would compute it slowly, and some of them inexactly, with
intermediate sums of 16 bits; they multiply in float32.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from numpy.typing import NDArray

from .. import processor
from .integer import NARROW, WIDE, Multiplier, Product, Whole, in_float32

_INSTRUCTIONS = ("avx512_vnni", "avx_vnni", "amx_int8")

_FEW_NARROW, _FEW_WIDE = 4, 32
"""Rows up to which a product in float32 is as fast."""

_REST_BITS = 7
_REST = (1 << _REST_BITS) - 1
"""Wide activations are multiplied in two parts: the lowest bits, which are narrow, and the others."""


@functools.cache
def multiplier() -> Multiplier | None:
    """The multiplier by int8 instructions; None on a processor that has none, or does not compute exactly with them."""
    return multiply if processor.has_any(_INSTRUCTIONS) and _is_exact() else None


def multiply(weight: NDArray[np.int8], factor: float, largest: int) -> Product:
    """Make the product of activations up to a magnitude, at most `WIDE`, with a matrix [out, in] times a power of two.

    Activations of at most `NARROW` are not negative.
    """
    in_floats = in_float32(weight, factor, largest)
    matrix = torch.from_numpy(np.ascontiguousarray(weight.T))
    few = _FEW_NARROW if largest <= NARROW else _FEW_WIDE

    def product(x: Whole) -> Whole:
        rows = x.reshape(-1, x.shape[-1])
        if len(rows) <= few:
            return in_floats(x)
        if largest <= NARROW:
            whole = _times(rows.astype(np.int8), matrix)
        else:
            split = rows.astype(np.int16)
            parts = np.concatenate([(split >> _REST_BITS).astype(np.int8), (split & _REST).astype(np.int8)])
            high, low = np.split(_times(parts, matrix), 2)
            whole = (high << _REST_BITS) + low
        y = whole.astype(np.float32)
        y *= np.float32(factor)
        return y.reshape(*x.shape[:-1], -1)

    return product


def _times(rows: NDArray[np.int8], matrix: torch.Tensor) -> NDArray[np.int32]:
    product: NDArray[np.int32] = torch._int_mm(torch.from_numpy(rows), matrix).numpy()
    return product


def _is_exact() -> bool:
    """Whether the largest products, and many others, come out as they should."""
    weight = _spread(64, -128, 127)
    weight[:8], weight[8:16] = 127, -128
    for low, high in ((0, NARROW), (-WIDE, WIDE)):
        x = _spread(48, low, high)
        x[:8], x[8:16] = low, high
        if not (multiply(weight.astype(np.int8), 1.0, high)(x.astype(np.float32)) == x @ weight.T).all():
            return False
    return True


def _spread(rows: int, low: int, high: int) -> NDArray[np.int64]:
    """Whole numbers all over a range [row, 512]; numpy's random ones would take long to import."""
    return low + np.arange(rows * 512).reshape(rows, 512) * 7919 % 10007 % (high - low + 1)
