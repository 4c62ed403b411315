"""The bound that no quantizer can beat: the rate-distortion function of Gaussian vectors, by reverse water-filling.

Independent Gaussian components of variances v_i, coded together in long blocks, cost at squared error D

    R(D) = sum_i max(0, 1/2 log2(v_i / level)) bits,    D = sum_i min(level, v_i),

where the water level is the error that every component gets that is worth any bits at all (Cover and Thomas,
"Elements of Information Theory", section 10.3.3). Correlated vectors are brought to this by the rotation onto the
principal axes of their covariance. Gaussian vectors are the hardest to code of all that have the same covariance,
so others, latents for instance, may come out below this bound; Gaussian vectors cannot.

Distortions are mean squared errors per dimension, rates bits per vector, variances squares of the vectors' unit.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from vqcodec.errors import VqcodecError

from ..search import BATCH
from .base import check_vectors


class WaterFilling(NamedTuple):
    """The bits that an ideal coder spends on independent Gaussian components."""

    level: float
    """Squared error of every component that is coded"""
    bits: Tensor
    """Bits of each component, 0 where its variance is under the level, float64 [dim]"""
    distortions: Tensor
    """Squared error of each component, float64 [dim]"""

    @property
    def distortion(self) -> float:
        """Mean squared error per dimension."""
        return float(self.distortions.mean())


def reverse_water_filling(variances: Tensor, bits: float) -> WaterFilling:
    """Share bits out among independent Gaussian components so that the squared error is least.

    Args:
        variances: of the components, in any order [dim], at least 0.
        bits: of all components together, at least 0.

    Raises:
        VqcodecError: a variance is negative or not finite, there is none, or the number of bits is negative.
    """
    v = _checked(variances)
    _check_amount("bits", bits)
    if not v.any():
        return WaterFilling(0.0, torch.zeros_like(v), torch.zeros_like(v))
    log_level = _log_level(v[v > 0], bits)
    level = 2**log_level
    return WaterFilling(level, 0.5 * (v.log2() - log_level).clamp_min(0), v.clamp_max(level))


def gaussian_distortion(variances: Tensor, bits: float) -> float:
    """Least mean squared error per dimension of Gaussian vectors at `bits` a vector: D(R).

    Args:
        variances: of the principal axes [dim], as from `principal_variances`.
        bits: per vector, at least 0.

    Raises:
        VqcodecError: as `reverse_water_filling`.
    """
    return reverse_water_filling(variances, bits).distortion


def covariance(vectors: Tensor) -> Tensor:
    """Covariance matrix of vectors float32 [vector, dim] about their mean -> float64 [dim, dim].

    Raises:
        VqcodecError: there are no vectors, or they are not finite.
    """
    return mean_and_covariance(vectors)[1]


def mean_and_covariance(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """The mean of vectors float32 [vector, dim] -> float64 [dim], and their covariance about it, float64 [dim, dim].

    Raises:
        VqcodecError: there are no vectors, or they are not finite.
    """
    vectors = check_vectors(vectors)
    mean = torch.stack([part.double().sum(0) for part in torch.split(vectors, BATCH)]).sum(0) / len(vectors)
    total = torch.zeros(len(mean), len(mean), dtype=torch.float64, device=vectors.device)
    for part in torch.split(vectors, BATCH):
        centred = part.double() - mean
        total.addmm_(centred.T, centred)
    return mean, total / len(vectors)


def principal_variances(covariance: Tensor) -> Tensor:
    """Variances along the principal axes, largest first: a covariance matrix [dim, dim] -> float64 [dim].

    Raises:
        VqcodecError: the matrix is not square, symmetric and finite.
    """
    if covariance.ndim != 2 or covariance.shape[0] != covariance.shape[1]:
        raise VqcodecError(f"a covariance matrix is [dim, dim], not {list(covariance.shape)}")
    matrix = covariance.double()
    if not matrix.isfinite().all():
        raise VqcodecError("the covariance matrix holds values that are not finite")
    if not torch.allclose(matrix, matrix.T, rtol=1e-4, atol=1e-6 * float(matrix.abs().max())):
        raise VqcodecError("the covariance matrix is not symmetric")
    variances: Tensor = torch.linalg.eigvalsh(matrix).flip(0).clamp_min(0)
    return variances


def _log_level(variances: Tensor, bits: float) -> float:
    """log2 of the water level at which components of these variances, all above 0, cost that many bits together."""
    logs = variances.log2().sort(descending=True).values
    levels = (logs.cumsum(0) - 2 * bits) / torch.arange(1, len(logs) + 1)  # if only the k largest are above it
    return float(levels[levels <= logs][-1])  # the k largest are, up to the last k for which that is true


def _checked(variances: Tensor) -> Tensor:
    if variances.ndim != 1 or not len(variances):
        raise VqcodecError(f"variances are [dim], not {list(variances.shape)}")
    v = variances.detach().cpu().double()
    bad = ((v < 0) | ~v.isfinite()).nonzero()
    if len(bad):
        index = int(bad[0, 0])
        raise VqcodecError(f"variance {index} is {float(v[index])}: variances are finite and at least 0")
    return v


def _check_amount(name: str, value: float) -> None:
    if not 0 <= value < math.inf:
        raise VqcodecError(f"{name} is {value}: it must be finite and at least 0")
