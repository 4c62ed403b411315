"""The context network in whole numbers that are held in float32.

Every number is a whole number times a power of two, and so is every partial sum of a product, of less than 2^24
times that power. float32 holds all of them exactly: the order of summation, and with it the library, the
number of threads and the shape of a batch, make no difference. `store.check` sees to it that the weights allow that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .config import ContextConfig

Whole: TypeAlias = NDArray[np.float32]
"""Whole numbers in float32."""

Product: TypeAlias = Callable[[Whole], Whole]
"""Multiplies activations [..., in] by a matrix: [..., out]."""

Multiplier: TypeAlias = Callable[[NDArray[np.int8], float, int], Product]
"""Makes the product of activations up to some magnitude with a matrix [out, in] times a power of two."""

WIDE = 511
"""Largest magnitude of an activation that passes from block to block, and of a sum of code vectors."""

NARROW = 127
"""Largest activation inside a block, where none is negative."""

_SMALL_PRODUCT = 1_000_000
_FEW_ROWS = 32

_MARGIN = 64
"""Frames that a running signal takes in before its history is moved to the front."""


class ContextNetwork:
    """Activations and logits of a context model.

    Args:
        config: the sizes.
        tensors: those of `config.tensors()`, checked.
        vectors: whole code vectors, int64 [stage, code, dim].
        multiplier: makes the products; in float32 if None.
    """

    def __init__(
        self,
        config: ContextConfig,
        tensors: Mapping[str, NDArray[Any]],
        vectors: NDArray[np.int64],
        multiplier: Multiplier | None = None,
    ) -> None:
        multiply = multiplier or in_float32
        self.config = config
        self.vectors: Whole = vectors.astype(np.float32)
        factor = (0.5 ** tensors["input.shift"]).item()
        self._input = multiply(tensors["input.weight"], factor, WIDE)
        self._input_table = _bias(tensors["input.table"], factor)
        self._blocks = [_Block(tensors, f"blocks.{index}", multiply) for index in range(config.blocks)]
        self._count = (
            _Layer(tensors, "count.hidden", multiply, WIDE),
            _Layer(tensors, "count.logits", multiply, NARROW),
        )
        factors = (0.5 ** tensors["hidden.shift"]).tolist()
        self._hidden = [multiply(w, f, WIDE) for w, f in zip(tensors["hidden.weight"], factors, strict=True)]
        self._partial = [multiply(w, f, WIDE) for w, f in zip(tensors["hidden.partial"], factors, strict=True)]
        self._hidden_table = [_bias(*pair) for pair in zip(tensors["hidden.table"], factors, strict=True)]
        factors = (0.5 ** tensors["logits.shift"]).tolist()
        self._logits = [multiply(w, f, NARROW) for w, f in zip(tensors["logits.weight"], factors, strict=True)]
        self._logits_bias = [_bias(*pair) for pair in zip(tensors["logits.bias"], factors, strict=True)]

    def trunk(self, sums: Whole, counts: NDArray[np.int64]) -> Whole:
        """Activations of frames from what was sent in the frame before each.

        Args:
            sums: sum of all code vectors sent, and of the first two of them, one behind the other; clipped to `WIDE`
                [row, frame, 2 * dim].
            counts: numbers of stages sent, `config.first_frame` where there is no frame before [row, frame].

        Returns:
            [row, frame, width]
        """
        return self.stream(len(sums)).push(sums, counts)

    def stream(self, rows: int) -> ContextStream:
        """A running signal in so many rows."""
        return ContextStream(self, rows)

    def enter(self, sums: Whole, counts: NDArray[np.int64]) -> Whole:
        """What the first block gets, of inputs as in `trunk`: [..., 2 * dim] and [...] -> [..., width]."""
        x = self._input(sums)
        x += self._input_table[counts]
        return _rounded(x, -WIDE, WIDE)

    def count_logits(self, x: Whole) -> NDArray[np.int32]:
        """Logits of the number of stages: [row, width] -> [row, num_stages + 1]."""
        hidden, logits = self._count
        return logits.rounded(hidden.rounded(x, 0, NARROW)).astype(np.int32)

    def stage_logits(self, stage: int, x: Whole, counts: NDArray[np.int64], partial: Whole) -> NDArray[np.int32]:
        """Logits of the codes of a stage.

        Args:
            stage: from 0 on.
            x: activations of the frames [row, width].
            counts: the frames' own numbers of stages [row].
            partial: sums of the code vectors of the stages before, clipped to `WIDE` [row, dim].

        Returns:
            [row, code]
        """
        hidden = self._hidden[stage](x)
        if stage:
            hidden += self._partial[stage](partial)
        hidden += self._hidden_table[stage][counts]
        logits = self._logits[stage](_rounded(hidden, 0, NARROW))
        logits += self._logits_bias[stage]
        return np.floor(logits, out=logits).astype(np.int32)


class ContextStream:
    """The past of running signals, which begins with zeros."""

    def __init__(self, network: ContextNetwork, rows: int) -> None:
        self._network = network
        config = network.config
        self._past = config.kernel_size - 1
        self._histories = [np.zeros((rows, self._past + _MARGIN, config.width), np.float32) for _ in network._blocks]
        self._end = self._past

    def push(self, sums: Whole, counts: NDArray[np.int64]) -> Whole:
        """Several frames of `ContextNetwork.trunk` at once: those that follow."""
        x = self._network.enter(sums, counts)
        for block, history in zip(self._network._blocks, self._histories, strict=True):
            past = history[:, self._end - self._past : self._end]
            whole = np.concatenate([past, x], axis=1)
            history[:, : self._past] = whole[:, whole.shape[1] - self._past :]
            x = block.many(whole, x)
        self._end = self._past
        return x

    def step(self, sums: Whole, counts: NDArray[np.int64]) -> Whole:
        """One frame: [row, 2 * dim] and [row] -> [row, width]. Later frames may have fewer rows, the first ones."""
        x = self._network.enter(sums, counts)
        rows, end = len(x), self._end
        full = end == self._past + _MARGIN
        if full:
            self._end = end = self._past
        for block, history in zip(self._network._blocks, self._histories, strict=True):
            if full:
                history[:, :end] = history[:, history.shape[1] - end :]
            history[:rows, end] = x
            x = block.one(history[:rows, end - self._past : end + 1], x)
        self._end += 1
        return x


class _Layer:
    """A matrix and a bias, whose products are rounded down."""

    def __init__(self, tensors: Mapping[str, NDArray[Any]], name: str, multiply: Multiplier, largest: int) -> None:
        factor = (0.5 ** tensors[f"{name}.shift"]).item()
        self._product = multiply(tensors[f"{name}.weight"], factor, largest)
        self.bias = _bias(tensors[f"{name}.bias"], factor)

    def __call__(self, x: Whole) -> Whole:
        """Before rounding: [..., in] -> [..., out]."""
        y = self._product(x)
        y += self.bias
        return y

    def rounded(self, x: Whole, low: int | None = None, high: int | None = None) -> Whole:
        y = self(x)
        return np.floor(y, out=y) if low is None or high is None else _rounded(y, low, high)


class _Block:
    """A convolution over time of every activation by itself, two layers, and the input added to their result."""

    def __init__(self, tensors: Mapping[str, NDArray[Any]], name: str, multiply: Multiplier) -> None:
        factor = 0.5 ** tensors[f"{name}.depthwise.shift"]
        self._taps: Whole = (tensors[f"{name}.depthwise.weight"] * factor).astype(np.float32)
        self._expand = _Layer(tensors, f"{name}.expand", multiply, WIDE)
        self._contract = _Layer(tensors, f"{name}.contract", multiply, NARROW)

    def one(self, window: Whole, x: Whole) -> Whole:
        """The frames that the kernel covers [row, kernel_size, width], the last of them x [row, width]."""
        return self._layers((window * self._taps).sum(axis=1), x)

    def many(self, whole: Whole, x: Whole) -> Whole:
        """All frames x [row, frame, width], and the same behind those before them."""
        frames = x.shape[1]
        y = np.zeros_like(x)
        for place, tap in enumerate(self._taps):
            y += whole[:, place : place + frames] * tap
        return self._layers(y, x)

    def _layers(self, y: Whole, x: Whole) -> Whole:
        y += 0.5
        y = self._expand.rounded(_rounded(y, -WIDE, WIDE), 0, NARROW)
        y = self._contract.rounded(y)
        y += x
        return _clipped(y, -WIDE, WIDE)


def in_float32(weight: NDArray[np.int8], factor: float, largest: int) -> Product:
    """Make a product in float32: the `Multiplier` of every machine."""
    matrix = np.ascontiguousarray((weight * factor).astype(np.float32).T)
    return lambda x: _product(x, matrix)


def _bias(bias: NDArray[Any], factor: NDArray[Any] | float) -> Whole:
    """Times a power of two, and a half more, which turns rounding down into rounding."""
    return (bias * factor + 0.5).astype(np.float32)


def _product(x: Whole, matrix: Whole) -> Whole:
    """x @ matrix, [..., in] and [in, out] -> [..., out]; some rows at a time, if there are few of them.

    OpenBLAS multiplies few rows by a matrix much faster up to a certain amount of work, beyond which it copies the
    matrix first. The result is exact, and so the same.
    """
    parts = -(-x.size * matrix.shape[1] // _SMALL_PRODUCT)
    if parts == 1 or len(x) > _FEW_ROWS or x.ndim > 2:
        product: Whole = x @ matrix
        return product
    product = np.empty((len(x), matrix.shape[1]), np.float32)
    step = -(-len(x) // parts)
    for begin in range(0, len(x), step):
        np.matmul(x[begin : begin + step], matrix, out=product[begin : begin + step])
    return product


def _rounded(x: Whole, low: int, high: int) -> Whole:
    return _clipped(np.floor(x, out=x), low, high)


def _clipped(x: Whole, low: int, high: int) -> Whole:
    np.maximum(x, low, out=x)
    return np.minimum(x, high, out=x)
