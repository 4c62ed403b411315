"""The interface of quantizers, which learn from vectors and then code others, and the checks that all of them share.

Vectors are float32 [vector, dim], codes int64 [vector, code]: a row of codes stands for a vector, a column for a
table of the quantizer. Sets may be large: work goes through them in batches, and no [vector, size of a table] array
of the whole set ever exists.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from vqcodec.errors import ConfigError, CorruptFile, VqcodecError

from .. import search
from ..search import BATCH

_MATRIX_TYPES = (torch.float32,)
_LIST_TYPES = (torch.float32, torch.float64, torch.int64)


class Quantizer(abc.ABC):
    """Learns tables from vectors, and codes vectors by them.

    A subclass takes its settings as keyword-only arguments, checks them (`check_integer`), and keeps what `fit` learns
    in `_learnt`, by name. The same settings, seed and vectors give the same tables.
    """

    kind: ClassVar[str]
    """Name of the kind in files and reports."""

    _learnt: Mapping[str, Tensor] = MappingProxyType({})

    @abc.abstractmethod
    def fit(self, vectors: Tensor) -> Self:
        """Learn from float32 vectors [vector, dim]; returns the quantizer itself.

        Raises:
            VqcodecError: the vectors are too few, not finite, or of the wrong shape or type.
        """

    @abc.abstractmethod
    def encode(self, vectors: Tensor) -> Tensor:
        """float32 [vector, dim] -> int64 codes [vector, code].

        Raises:
            VqcodecError: the quantizer is not fitted; or the vectors are not finite, or unlike those it was fitted on.
        """

    @abc.abstractmethod
    def decode(self, codes: Tensor) -> Tensor:
        """int64 codes [vector, code] -> float32 [vector, dim].

        Raises:
            VqcodecError: the quantizer is not fitted, or a code is out of range.
        """

    @property
    @abc.abstractmethod
    def bits_per_vector(self) -> float:
        """Cost of the codes of a vector: the sum of log2 of the tables' sizes where codes have a fixed length."""

    @abc.abstractmethod
    def settings(self) -> dict[str, Any]:
        """The constructor's arguments, as far as JSON goes."""

    @abc.abstractmethod
    def _shapes(self) -> dict[str, tuple[int | None, ...]]:
        """The shape of every table that these settings lead to; None for what the vectors decide."""

    def tables(self) -> dict[str, Tensor]:
        """The learnt tables by name.

        Raises:
            VqcodecError: the quantizer is not fitted.
        """
        return {name: self._table(name) for name in self._shapes()}

    def load_tables(self, tables: Mapping[str, Tensor]) -> None:
        """Take over the `tables` of a quantizer of the same settings.

        Raises:
            CorruptFile: these are not the tables of a quantizer with these settings.
        """
        check_tables(tables, self._shapes())
        self._learnt = {name: table.contiguous() for name, table in tables.items()}

    def _table(self, name: str) -> Tensor:
        """A learnt table by name.

        Raises:
            VqcodecError: the quantizer is not fitted.
        """
        if name not in self._learnt:
            raise VqcodecError(f"this {self.kind} quantizer has learnt nothing yet: fit it first")
        return self._learnt[name]


# Checks


def check_integer(name: str, value: int, low: int, high: int | None = None) -> int:
    """Return the value of a setting if it is an integer in low..high.

    Raises:
        ConfigError: it is not.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < low or (high is not None and value > high):
        bounds = f"{low} or more" if high is None else f"{low} to {high}"
        raise ConfigError(f"{name} is {value!r}, not an integer, {bounds}")
    return value


def check_number(name: str, value: float, low: float, high: float) -> float:
    """Return the value of a setting if it is a number between low and high, neither of them included.

    Raises:
        ConfigError: it is not.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not low < value < high:
        raise ConfigError(f"{name} is {value!r}, not a number between {low} and {high}")
    return float(value)


def check_choice(name: str, value: str, choices: Sequence[str]) -> str:
    """Return the value of a setting if it is among the choices.

    Raises:
        ConfigError: it is not.
    """
    if value not in choices:
        raise ConfigError(f"{name} is {value!r}, not one of {', '.join(choices)}")
    return value


def check_vectors(vectors: Tensor, dim: int | None = None, at_least: int = 1) -> Tensor:
    """Return vectors without their gradients if they are float32 [vector, dim], finite and enough.

    Args:
        vectors: those to fit a quantizer on, or to encode.
        dim: dimension that they must have; any if None.
        at_least: the smallest number of vectors; when fitting, the number of codes to learn.

    Raises:
        VqcodecError: they are not.
    """
    if vectors.ndim != 2 or vectors.dtype != torch.float32:
        raise VqcodecError(f"vectors are {vectors.dtype} {list(vectors.shape)}, not torch.float32 [vector, dim]")
    if vectors.shape[1] != dim if dim is not None else vectors.shape[1] == 0:
        wanted = "1 or more" if dim is None else f"the {dim} that the quantizer was fitted on"
        raise VqcodecError(f"vectors have {vectors.shape[1]} dimensions, not {wanted}")
    if len(vectors) < at_least:
        raise VqcodecError(f"{len(vectors)} vectors are too few: at least {at_least} are needed")
    vectors = vectors.detach()
    for index, part in enumerate(torch.split(vectors, BATCH)):
        if not (finite := part.isfinite().all(1)).all():
            row = index * BATCH + int(finite.logical_not().nonzero()[0])
            raise VqcodecError(f"vector {row} (counted from 0) holds values that are NaN or infinite")
    return vectors


def check_codes(codes: Tensor, sizes: Sequence[int]) -> Tensor:
    """Return codes if they are int64 [vector, code] and those of column i lie in 0..sizes[i] - 1.

    Raises:
        VqcodecError: they are not.
    """
    if codes.ndim != 2 or codes.dtype != torch.int64 or codes.shape[1] != len(sizes):
        raise VqcodecError(f"codes are {codes.dtype} {list(codes.shape)}, not torch.int64 [vector, {len(sizes)}]")
    wrong = (codes < 0) | (codes >= torch.tensor(sizes, device=codes.device))
    if wrong.any():
        row, column = wrong.nonzero()[0].tolist()
        raise VqcodecError(
            f"code {column} of vector {row} (both counted from 0) is {int(codes[row, column])}, "
            f"not in 0 to {sizes[column] - 1}"
        )
    return codes


def check_tables(tables: Mapping[str, Tensor], shapes: Mapping[str, tuple[int | None, ...]]) -> None:
    """Refuse tables of other names or shapes (None: any size), or with values that are not finite.

    Tables are float32; a list or a single number may be float64 or int64 as well.

    Raises:
        CorruptFile: naming the table.
    """
    if difference := sorted(tables.keys() ^ shapes.keys()):
        state = "missing" if difference[0] in shapes else "not of this quantizer"
        raise CorruptFile(f"table {difference[0]} is {state}")
    for name, shape in shapes.items():
        actual = tables[name].shape
        if len(actual) != len(shape) or any(want not in (None, size) for size, want in zip(actual, shape, strict=True)):
            wanted = ", ".join("any" if size is None else str(size) for size in shape)
            raise CorruptFile(f"table {name} is {list(actual)}, not [{wanted}]")
        if tables[name].dtype not in (_MATRIX_TYPES if len(shape) > 1 else _LIST_TYPES):
            raise CorruptFile(f"table {name} is {tables[name].dtype}, not torch.float32")
        if not tables[name].isfinite().all():
            raise CorruptFile(f"table {name} holds values that are NaN or infinite")


# Work on large sets


def generator_of(seed: int) -> torch.Generator:
    """A source of random numbers on the CPU, so that every device draws alike."""
    return torch.Generator().manual_seed(seed)


def nearest(vectors: Tensor, book: Tensor) -> Tensor:
    """Index of the nearest code, the lowest on a tie, taken relative to the first code.

    Args:
        vectors: float32 [vector, dim].
        book: float32 [code, dim], on the same device.

    Returns:
        int64 [vector].
    """
    return search.nearest(vectors, book, book[0])


def distortion(vectors: Tensor, decoded: Tensor) -> float:
    """Mean squared error per dimension of decoded vectors, summed in float64: both [vector, dim], not empty."""
    parts = zip(torch.split(vectors, BATCH), torch.split(decoded, BATCH), strict=True)
    total = sum(float((a - b).square().sum(dtype=torch.float64)) for a, b in parts)
    return total / vectors.numel()
