"""Scalar quantization: every dimension by a table of its own, of as many bits as its variance deserves."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor

from vqcodec.errors import ConfigError, CorruptFile

from ..search import in_batches
from .base import Quantizer, check_choice, check_codes, check_integer, check_tables, check_vectors, generator_of
from .kmeans import sample

DESIGNS = ("lloyd-max", "uniform")

MAX_BITS = 16
"""The most bits that a dimension can have."""

_SAMPLE = 1 << 18  # vectors that a larger set is sampled down to
_TOLERANCE = 1e-7  # relative gain at which Lloyd's iteration stops
_LOADING_POINTS = 48  # ranges of a uniform quantizer that are tried

Values = NDArray[np.float64]


class ScalarQuantizer(Quantizer):
    """Each dimension quantized for itself, uniformly or by the quantizer of Lloyd and Max.

    Max 1960, "Quantizing for minimum distortion"; Lloyd 1982, "Least squares quantization in PCM". Bits go to the
    dimensions by reverse water-filling (`allocate_bits`); a dimension that gets none is coded as its mean.
    """

    kind = "scalar"

    def __init__(self, *, bits: int, design: str = "lloyd-max", iterations: int = 200, seed: int = 0) -> None:
        """
        Args:
            bits: of a whole vector.
            design: "lloyd-max", levels of the least squared error, or "uniform", equally spaced levels over the
                range of the least squared error.
            iterations: of Lloyd, at most.
            seed: of the sample that is taken from sets of more than 262144 vectors.

        Raises:
            ConfigError: a setting is out of range.
        """
        self.bits = check_integer("bits", bits, 1)
        self.design = check_choice("design", design, DESIGNS)
        self.iterations = check_integer("iterations", iterations, 1)
        self.seed = check_integer("seed", seed, 0)

    @property
    def bits_per_dim(self) -> list[int]:
        """The bits that each dimension got."""
        return [int(bits) for bits in self._table("bits").tolist()]

    def levels(self) -> list[Tensor]:
        """The table of each dimension, ascending: `dim` tensors [2^bits]."""
        return list(torch.split(self._table("levels"), [2**bits for bits in self.bits_per_dim]))

    def fit(self, vectors: Tensor) -> Self:
        """Learn the tables from float32 [vector, dim].

        Raises:
            ConfigError: more bits than 16 a dimension.
            VqcodecError: the vectors are not finite, or of the wrong shape or type; or they are fewer than the levels
                of a dimension.
        """
        vectors = check_vectors(vectors)
        if self.bits > MAX_BITS * vectors.shape[1]:
            raise ConfigError(f"bits is {self.bits}: {vectors.shape[1]} dimensions take {MAX_BITS} each at most")
        drawn = sample(vectors, _SAMPLE, generator_of(self.seed))
        bits = allocate_bits(drawn.var(0, correction=0).tolist(), self.bits)
        check_vectors(vectors, at_least=2 ** max(bits))
        columns = drawn.T.double().cpu().numpy()
        levels = [self._levels_of(column, 2**b) for column, b in zip(columns, bits, strict=True)]
        self._learnt = {
            "bits": torch.tensor(bits, dtype=torch.float32, device=vectors.device),
            "levels": torch.from_numpy(np.concatenate(levels)).float().to(vectors.device),
        }
        return self

    def encode(self, vectors: Tensor) -> Tensor:
        """The nearest level of each dimension, the lower on a tie: float32 [vector, dim] -> int64 [vector, dim]."""
        levels = self.levels()
        bounds = [(table[1:] + table[:-1]) / 2 for table in levels]
        vectors = check_vectors(vectors, len(levels), at_least=0)

        def columns(part: Tensor) -> Tensor:
            return torch.stack([torch.bucketize(x, b) for x, b in zip(part.T.contiguous(), bounds, strict=True)], 1)

        return in_batches(columns, vectors)

    def decode(self, codes: Tensor) -> Tensor:
        """int64 [vector, dim] -> float32 [vector, dim]."""
        sizes = [2**bits for bits in self.bits_per_dim]
        check_codes(codes, sizes)
        starts = torch.tensor([0, *sizes[:-1]], device=codes.device).cumsum(0)
        levels = self._table("levels")
        return in_batches(lambda part: levels[part + starts], codes)

    @property
    def bits_per_vector(self) -> float:
        """The sum of all dimensions' bits."""
        return float(self.bits)

    def settings(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"bits": self.bits, "design": self.design, "iterations": self.iterations, "seed": self.seed}

    def load_tables(self, tables: Mapping[str, Tensor]) -> None:
        """Take over the tables of another quantizer of the same settings.

        Raises:
            CorruptFile: these are not its tables.
        """
        check_tables(tables, self._shapes())
        bits = tables["bits"].tolist()
        if sum(bits) != self.bits or not all(b in range(MAX_BITS + 1) for b in bits):
            raise CorruptFile(f"table bits does not share {self.bits} bits among dimensions, {MAX_BITS} each at most")
        if len(tables["levels"]) != (count := sum(2 ** int(b) for b in bits)):
            raise CorruptFile(f"table levels has {len(tables['levels'])} values, not {count}")
        super().load_tables(tables)

    def _shapes(self) -> dict[str, tuple[int | None, ...]]:
        return {"bits": (None,), "levels": (None,)}

    def _levels_of(self, column: Values, size: int) -> Values:
        """Learn the table of a dimension [size] from its values in any order [vector]."""
        values = _Sorted(column)
        if self.design == "uniform":
            return _uniform(values, size)
        return _lloyd_max(values, size, self.iterations)


def allocate_bits(variances: Sequence[float], bits: int) -> list[int]:
    """Share bits among dimensions by reverse water-filling, in whole bits.

    A bit divides the error of its dimension by four, from the variance downwards. Each goes where the error is largest
    (on a tie, where the bits are fewest), so that all errors end up under one level as far as whole bits allow, and
    dimensions that lie under it get none. Cover and Thomas, "Elements of Information Theory", chapter 10;
    Gersho and Gray 1992, "Vector Quantization and Signal Compression", chapter 8. A dimension takes 16 at most.

    Args:
        variances: of the dimensions [dim].
        bits: to share out, 16 times the number of dimensions at most.

    Returns:
        bits of each dimension [dim].
    """
    shares = [0] * len(variances)
    heap = [(-variance, 0, index) for index, variance in enumerate(variances)]  # the largest error comes first
    heapq.heapify(heap)
    for _ in range(bits):
        error, share, index = heapq.heappop(heap)
        shares[index] = share + 1
        if shares[index] < MAX_BITS:
            heapq.heappush(heap, (error / 4, shares[index], index))
    return shares


class _Sorted:
    """Values of a dimension in ascending order, with running sums: a pass over cells costs a search a boundary."""

    def __init__(self, values: Values) -> None:
        self.values = np.sort(values)
        self.mean = self.values.mean()
        centred = self.values - self.mean
        self.sums = np.concatenate([[0.0], np.cumsum(centred)])
        self.squares = float(np.square(centred).sum())

    def cells(self, levels: Values) -> tuple[Values, Values]:
        """Count the values nearest to each level, and sum their distances from the mean: both [level]."""
        ends = np.searchsorted(self.values, (levels[1:] + levels[:-1]) / 2, side="right")
        edges = np.concatenate([[0], ends, [len(self.values)]])
        return np.diff(edges).astype(np.float64), np.diff(self.sums[edges])

    def error(self, levels: Values) -> float:
        """Summed squared distance of all values to the nearest level."""
        counts, sums = self.cells(levels)
        centred = levels - self.mean
        return float(self.squares + (counts * centred**2 - 2 * centred * sums).sum())


def _lloyd_max(values: _Sorted, size: int, iterations: int) -> Values:
    """Levels [size] of the least squared error, ascending: Lloyd's iteration from `_companded` levels."""
    levels, before = _companded(values, size), np.inf
    for _ in range(iterations):
        after = values.error(levels)
        if after >= (1 - _TOLERANCE) * before:
            break
        before = after
        counts, sums = values.cells(levels)
        levels = np.where(counts > 0, values.mean + sums / np.maximum(counts, 1), levels)
    return levels


def _companded(values: _Sorted, size: int) -> Values:
    """Levels as dense as the cube root of the values' density, the best at high rate [size], ascending.

    Panter and Dite 1951, "Quantization distortion in pulse-count modulation with nonuniform spacing of levels". The
    density between two neighbouring values is one over their distance, its cube root times the distance a power of 2/3.
    """
    weights = np.concatenate([[0.0], np.cumsum(np.diff(values.values) ** (2 / 3))])
    levels: Values = np.interp((np.arange(size) + 0.5) / size * weights[-1], weights, values.values)
    return levels


def _uniform(values: _Sorted, size: int) -> Values:
    """Equally spaced levels [size], ascending, over the range of the least squared error; only the mean if `size` is 1.

    The range begins as the best of those from a quantile to the opposite quantile, and is then improved at both ends.
    """
    if size == 1:
        return np.array([values.mean])
    tails = np.concatenate([[0.0], np.geomspace(1 / len(values.values), 0.5, _LOADING_POINTS)])
    ranges = np.quantile(values.values, [tails, 1 - tails]).T  # [candidate, 2]
    start = min(ranges, key=lambda ends: values.error(_spaced(ends, size)))
    best = minimize(lambda ends: values.error(_spaced(ends, size)), start, method="Nelder-Mead")
    return _spaced(best.x, size)


def _spaced(ends: Values, size: int) -> Values:
    """The middles of `size` equal parts of a range, from its two ends [size]."""
    low, high = float(ends[0]), float(ends[1])
    middles = np.arange(size, dtype=np.float64) + 0.5
    return low + middles * ((high - low) / size)
