"""Likelihoods of Gaussians over samples of 16 bits, which those of a WaveNet decoder are compared with."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vqcodec.models.wavenet.mixture import HIGHEST, LOWEST, STEP


def gaussian(residual_variance: Tensor) -> Tensor:
    """Negative log-likelihood in nats per sample of residuals by a Gaussian of their own variance; same shape.

    The logarithm of density times `STEP`: the variance counts as at least that of rounding.
    """
    variance = residual_variance.clamp_min(STEP**2 / 12)
    return 0.5 * torch.log(2 * math.pi * math.e * variance / STEP**2)


def binned_gaussian(mean: Tensor, variance: Tensor, samples: Tensor) -> Tensor:
    """Logarithm of the probability of samples by Gaussians, rounded to 16 bits; all of one shape, in float64."""
    scale = variance.double().sqrt()
    offset, half = (samples.double() - mean.double()) / scale, STEP / 2 / scale
    upper = torch.where(samples >= HIGHEST, torch.inf, offset + half)
    lower = torch.where(samples <= LOWEST, -torch.inf, offset - half)
    # both on the lower side, where the tail is small and nothing cancels
    right = offset > 0
    upper, lower = torch.where(right, -lower, upper), torch.where(right, -upper, lower)
    above, below = torch.special.log_ndtr(upper), torch.special.log_ndtr(lower)
    likelihood: Tensor = above + torch.log(-torch.expm1(below - above))
    return likelihood
