"""Lattice quantization: codes are the points of a regular lattice, reached by rounding, with no table to search.

Vectors are centred, turned onto their principal axes and cut into blocks of the lattice's dimension; each block is
divided by the same step, and goes to its closest lattice point (Conway and Sloane 1982, "Fast quantizing
and decoding algorithms for lattice quantizers and codes"). One step for all axes is reverse water-filling: every axis
that varies more than the step gets the same error, the others cost nothing. The points are written by an ideal entropy
coder, whose cost is the rate, and the step is set so that it meets the rate asked for. Decoding moves the points a
little towards the mean, by a gain for each axis.

A cell of volume V leaves a mean squared error of G V^(2/n) per dimension; G is 1/12 for Z^n and less for rounder cells:
E8 gains 0.65 dB over it, D4 0.37 dB, and 1.53 dB is the most there is (Conway and Sloane 1988, "Sphere Packings,
Lattices and Groups", table 2.3; Gersho 1979, "Asymptotically optimal block quantization").
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Self

import torch
from scipy.optimize import brentq
from torch import Tensor

from vqcodec.errors import ConfigError, CorruptFile, VqcodecError

from ..search import in_batches
from .base import Quantizer, check_codes, check_integer, check_tables, check_vectors, generator_of
from .bounds import mean_and_covariance, reverse_water_filling

_SAMPLE = 1 << 16  # vectors that the step is determined with, at most
_FARTHEST = 1 << 21  # no coordinate of a lattice point is as large: float32 still tells halves apart there
_TOLERANCE = 1e-4  # of the step, in octaves: as many bits for every dimension in use


@dataclass(frozen=True)
class Lattice:
    """All integer points, or those of even sum alone (D_n); and with halves those moved by 1/2 along every axis too."""

    dim: int
    """Dimensions of a block that vectors are cut into, n"""
    even: bool
    """Whether the coordinates of a point must add up to an even number"""
    halves: bool
    """Whether the points moved by (1/2, ..., 1/2) belong to the lattice"""
    second_moment: float
    """G: mean squared error per dimension of a cell of volume 1"""

    @property
    def volume(self) -> float:
        """Volume of the cell of a point."""
        return (2 if self.even else 1) / (2 if self.halves else 1)

    @property
    def error_of_unit_step(self) -> float:
        """Mean squared error per dimension of vectors spread over many cells."""
        return self.second_moment * math.pow(self.volume, 2 / self.dim)

    @property
    def codes(self) -> int:
        """Number of codes that a point is written with."""
        return self.dim + self.halves


LATTICES: Mapping[str, Lattice] = MappingProxyType(
    {
        "Z": Lattice(1, even=False, halves=False, second_moment=1 / 12),
        "D4": Lattice(4, even=True, halves=False, second_moment=13 / (120 * math.sqrt(2))),
        "E8": Lattice(8, even=True, halves=True, second_moment=929 / 12960),
    }
)
"""Lattices by name: every axis on its own; the densest in 4 dimensions; the densest in 8."""


def closest_points(x: Tensor, lattice: Lattice) -> Tensor:
    """The closest lattice point of each x, exactly: float32 [..., n] -> float32 [..., n]."""
    whole = _closest_whole(x, lattice)
    if not lattice.halves:
        return whole
    half = _closest_whole(x - 0.5, lattice) + 0.5
    nearer = (x - half).square().sum(-1, keepdim=True) < (x - whole).square().sum(-1, keepdim=True)
    return half.where(nearer, whole)


class LatticeQuantizer(Quantizer):
    """A lattice, scaled to a rate.

    A point costs one code for each of its n coordinates, rounded down; before them, for E8, comes a code for whether
    they are halves (1) or whole (0). As the coordinates' sum is even, the last is halved. Negative numbers are folded
    between the others: 0, -1, 1, -2, ... are 0, 1, 2, 3, ...

    Args:
        lattice: a name in `LATTICES`.
        bits: rate to reach, per vector, in the mean over the vectors fitted on; above 0.
        decorrelate: turn the vectors onto their principal axes; otherwise they are taken as they are, and a
            correlation between their dimensions is paid for.
        seed: of the vectors that the step is determined with, where there are more than 65536.

    Raises:
        ConfigError: a setting is unknown or out of range.
    """

    kind: ClassVar[str] = "lattice"

    def __init__(self, *, lattice: str = "E8", bits: float = 40.0, decorrelate: bool = True, seed: int = 0) -> None:
        if lattice not in LATTICES:
            raise ConfigError(f"lattice is {lattice!r}, not one of {', '.join(LATTICES)}")
        if isinstance(bits, bool) or not isinstance(bits, int | float) or not 0 < bits < math.inf:
            raise ConfigError(f"bits is {bits!r}, not a number above 0")
        self.name = lattice
        self.lattice = LATTICES[lattice]
        self.bits = float(bits)
        if not isinstance(decorrelate, bool):
            raise ConfigError(f"decorrelate is {decorrelate!r}, not True or False")
        self.decorrelate = decorrelate
        self.seed = check_integer("seed", seed, 0)

    def settings(self) -> dict[str, Any]:
        return {"lattice": self.name, "bits": self.bits, "decorrelate": self.decorrelate, "seed": self.seed}

    def fit(self, vectors: Tensor) -> Self:
        """Learn mean, axes and step from float32 vectors [vector, dim]; dim is a multiple of the lattice's.

        An entropy is measured well from many vectors only: from few it comes out too low, and so does the rate.

        Raises:
            VqcodecError: the vectors are not finite, or too few or too much alike to cost `bits`; dim does not fit.
        """
        vectors = check_vectors(vectors, at_least=2)
        if vectors.shape[1] % self.lattice.dim:
            raise VqcodecError(
                f"vectors have {vectors.shape[1]} dimensions, not a multiple of the {self.lattice.dim} of {self.name}"
            )
        mean, covariance = (moment.float() for moment in mean_and_covariance(vectors))
        axes = torch.eye(len(mean), device=vectors.device)
        if self.decorrelate:  # eigenvalues ascend: flipped, the axes that vary most come first
            axes = torch.linalg.eigh(covariance).eigenvectors.flip(1)
        sample = vectors
        if len(vectors) > _SAMPLE:
            picks = torch.randperm(len(vectors), generator=generator_of(self.seed))[:_SAMPLE]
            sample = vectors[picks.to(vectors.device)]
        x = (sample - mean) @ axes
        step, bits = self._find_step(x)
        self._learnt = {
            "mean": mean,
            "axes": axes.contiguous(),
            "step": torch.tensor(step, device=vectors.device),
            "gains": _least_squares_gains(x, step, self.lattice),
            "bits": torch.tensor(bits, dtype=torch.float64),
        }
        return self

    def encode(self, vectors: Tensor) -> Tensor:
        """float32 [vector, dim] -> int64 [vector, dim], with E8 [vector, dim + dim / 8]; at least 0, mostly small.

        Raises:
            VqcodecError: not fitted; or the vectors are not finite, not of the dimension fitted on, or some two million
                steps away from the mean.
        """
        mean, axes, step = self._table("mean"), self._table("axes"), self._table("step")
        vectors = check_vectors(vectors, dim=len(mean), at_least=0)

        def code(part: Tensor) -> Tensor:
            return _codes_of((part - mean) @ axes / step, self.lattice)

        return in_batches(code, vectors)

    def decode(self, codes: Tensor) -> Tensor:
        """int64 [vector, code], as from `encode` -> float32 [vector, dim].

        Raises:
            VqcodecError: not fitted, or the codes are negative, or beyond what `encode` returns.
        """
        mean, axes, scale = self._table("mean"), self._table("axes"), self._table("step") * self._table("gains")
        sizes = [4 * _FARTHEST] * self.lattice.codes
        if self.lattice.halves:
            sizes[0] = 2
        codes = check_codes(codes, sizes * (len(mean) // self.lattice.dim))

        def vector(part: Tensor) -> Tensor:
            return _points_of(part, self.lattice) * scale @ axes.T + mean

        return in_batches(vector, codes)

    @property
    def bits_per_vector(self) -> float:
        """Entropy of the codes fitted on: the `bits` asked for, as closely as those vectors allow."""
        return float(self._table("bits"))

    def entropy(self, codes: Tensor) -> float:
        """Bits per vector that an ideal entropy coder, made for these very codes [vector, code], would pay.

        It has tables for every code of the vector, one table for each case that the codes before it in the block let it
        tell apart: whether the point has halves, and before the last code the parity that its coordinate must have.

        Raises:
            VqcodecError: there are no codes, or they are of the wrong shape or type.
        """
        if codes.ndim != 2 or codes.dtype != torch.int64 or codes.shape[1] % self.lattice.codes:
            raise VqcodecError(
                f"codes are {codes.dtype} {list(codes.shape)}, not torch.int64 [vector, {self.lattice.codes} a block]"
            )
        if not len(codes):
            raise VqcodecError("an entropy needs at least one code")
        cases = _cases(codes, self.lattice)
        return sum(_conditional_entropy(code, case) for code, case in zip(codes.T, cases.T, strict=True))

    def load_tables(self, tables: Mapping[str, Tensor]) -> None:
        """Take over the `tables` of another lattice quantizer of the same settings.

        Raises:
            CorruptFile: these are not the tables of a quantizer with these settings.
        """
        check_tables(tables, self._shapes())
        dim, step = len(tables["mean"]), float(tables["step"])
        if tables["axes"].shape != (dim, dim) or tables["gains"].shape != (dim,) or dim % self.lattice.dim:
            raise CorruptFile(f"tables mean, axes and gains are not of one dimension that {self.name} fits")
        if step <= 0:
            raise CorruptFile(f"table step is {step}, not above 0")
        super().load_tables(tables)

    def _shapes(self) -> dict[str, tuple[int | None, ...]]:
        return {"mean": (None,), "axes": (None, None), "step": (), "gains": (None,), "bits": ()}

    def _find_step(self, x: Tensor) -> tuple[float, float]:
        """The step at which vectors on their axes [vector, dim] cost `bits`, and what they really cost then."""

        def rate(step: float) -> float:
            return self.entropy(in_batches(lambda part: _codes_of(part / step, self.lattice), x))

        finest = 2 * float(x.abs().max()) / _FARTHEST
        ideal = reverse_water_filling(x.var(0), self.bits).level / self.lattice.error_of_unit_step
        low = max(math.sqrt(ideal) / 2, finest)
        while finest == 0 or rate(low) < self.bits:
            if low == finest:
                raise VqcodecError(
                    f"{self.bits:g} bits per vector are out of reach: these {len(x)} vectors are too few or too much "
                    "alike; give more of them, or ask for fewer bits"
                )
            low = max(low / 2, finest)
        high = 2 * low
        while rate(high) > self.bits:
            high *= 2
        octave = brentq(lambda octave: rate(2**octave) - self.bits, math.log2(low), math.log2(high), xtol=_TOLERANCE)
        step = float(2**octave)
        return step, rate(step)


def _closest_whole(x: Tensor, lattice: Lattice) -> Tensor:
    """The closest point with whole coordinates [..., n]: by rounding, and if their sum must be even and is not, by
    rounding the coordinate that was farthest from its integer the other way."""
    point = x.round()
    if not lattice.even:
        return point
    error = x - point
    worst = error.abs().argmax(-1, keepdim=True)
    other = torch.where(error.gather(-1, worst) < 0, -1.0, 1.0)
    odd = point.sum(-1, keepdim=True).remainder(2)
    return point.scatter_add(-1, worst, odd * other)


def _blocks(rows: Tensor, size: int) -> Tensor:
    """Rows [vector, block * size] in blocks [vector, block, size]."""
    return rows.reshape(len(rows), rows.shape[1] // size, size)


def _least_squares_gains(x: Tensor, step: float, lattice: Lattice) -> Tensor:
    """Factors on the points' coordinates, by axis, that bring them closest to vectors x: [vector, dim] -> [dim].

    Vectors near the edge of a cell are fewer than near its inner side: below some two bits a dimension this is up to
    1 dB better than the points themselves, above it is 1.
    """
    points = step * closest_points(_blocks(x / step, lattice.dim), lattice).flatten(1)
    power = points.square().sum(0)
    return torch.where(power > 0, (x * points).sum(0) / power, 1.0)


def _codes_of(x: Tensor, lattice: Lattice) -> Tensor:
    """Vectors in steps [vector, dim] -> the codes of their closest points [vector, code]."""
    far = (x.abs() >= _FARTHEST).any(1)
    if far.any():
        raise VqcodecError(f"a vector lies {_FARTHEST} steps or more away from those that the lattice was fitted on")
    point = closest_points(_blocks(x, lattice.dim), lattice)  # [vector, block, n]
    half = point.floor() != point  # the same along n
    whole = point.floor().long()
    if lattice.even:  # the last coordinate has the parity of the others' sum
        whole[..., -1] = whole[..., -1] >> 1
    codes = torch.where(whole >= 0, 2 * whole, -2 * whole - 1)
    if lattice.halves:
        codes = torch.cat([half[..., :1].long(), codes], -1)
    return codes.flatten(1)


def _points_of(codes: Tensor, lattice: Lattice) -> Tensor:
    """The codes of lattice points [vector, code] -> the points, in steps, float32 [vector, dim]."""
    half, whole = _split(codes, lattice)
    if lattice.even:
        whole[..., -1] = 2 * whole[..., -1] + (whole[..., :-1].sum(-1) & 1)
    return (whole + 0.5 * half).float().flatten(1)


def _split(codes: Tensor, lattice: Lattice) -> tuple[Tensor, Tensor]:
    """Codes [vector, code] -> whether points have halves (0, 1) [vector, block, 1], coordinates [vector, block, n]."""
    blocks = _blocks(codes, lattice.codes)
    half, folded = blocks[..., : lattice.halves], blocks[..., lattice.halves :]
    if not lattice.halves:
        half = torch.zeros_like(blocks[..., :1])
    return half, (folded >> 1) ^ -(folded & 1)


def _cases(codes: Tensor, lattice: Lattice) -> Tensor:
    """Facts known about each code from those before it in its block, as a number in 0..3 [vector, code]."""
    half, whole = _split(codes, lattice)
    cases = half.repeat_interleave(lattice.codes, -1)
    if lattice.halves:
        cases[..., 0] = 0
    if lattice.even:
        cases[..., -1] += 2 * (whole[..., :-1].sum(-1) & 1)
    return cases.flatten(1)


def _conditional_entropy(codes: Tensor, cases: Tensor) -> float:
    """Bits of a code, given the case: H(code | case) of codes [vector] and cases [vector], both small."""
    values, codes = torch.unique(codes, return_inverse=True)
    counts = torch.bincount(4 * codes + cases, minlength=4 * len(values)).reshape(-1, 4).double()
    totals = counts.sum(0)
    bits = torch.special.entr(counts).sum() - torch.special.entr(totals).sum()
    return float(bits / (len(codes) * math.log(2)))
