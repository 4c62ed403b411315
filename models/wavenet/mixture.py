"""Mixtures of logistic distributions over samples of 16 bits.

A logistic density is smooth; its integral over the bin of a value is the value's probability, and the lowest and the
highest value get all that lies beyond them. Salimans et al. 2017, "PixelCNN++".
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

LEVELS = 65_536
"""Values that a sample can take: the whole numbers from -32768 to 32767, times `STEP`."""
STEP = 2 / LEVELS
"""Distance of neighbouring values."""
LOWEST, HIGHEST = -1.0, 1.0 - STEP
LEAST_LOG_SCALE = math.log(STEP / 4)
"""Of a component: with less it would say nothing about the neighbours of a value."""


class Mixture(NamedTuple):
    """The distribution of samples: components [..., component] with weights, means and scales."""

    logits: Tensor
    """Logarithms of the weights, up to a constant."""
    means: Tensor
    log_scales: Tensor

    def log_likelihood(self, samples: Tensor) -> Tensor:
        """Logarithm of the probability of samples [...], multiples of `STEP` as `quantized` returns them; in nats.

        With s the logistic function, s(b) - s(a) = s(b) s(-a) (1 - exp(a - b)), in which nothing cancels.
        """
        inverse = torch.exp(-self.log_scales)
        offset = (samples[..., None] - self.means) * inverse
        width = STEP * inverse
        below, above = logsigmoid(offset + width / 2), logsigmoid(-offset + width / 2)
        inside = below + above + torch.log(-torch.expm1(-width))
        at_ends = torch.where(samples[..., None] <= LOWEST, below, above)
        is_end = (samples <= LOWEST) | (samples >= HIGHEST)
        of_components = torch.where(is_end[..., None], at_ends, inside)
        return torch.logsumexp(self.logits.log_softmax(-1) + of_components, -1)

    @property
    def mean(self) -> Tensor:
        """Mean of the whole distribution [...]."""
        return (self.logits.softmax(-1) * self.means).sum(-1)

    @property
    def variance(self) -> Tensor:
        """Variance of the whole distribution [...]."""
        within = (math.pi * self.log_scales.exp()).square() / 3
        around = (self.means - self.mean[..., None]).square()
        return (self.logits.softmax(-1) * (within + around)).sum(-1)

    def draw(self, uniforms: Tensor, spread: float = 1.0) -> Tensor:
        """Draw samples [...], multiples of `STEP`.

        Args:
            uniforms: between 0 and 1 [..., 2]: the first chooses the component, the second the place in it.
            spread: factor of the scales; with 1 samples are distributed as the likelihood says.
        """
        weights = self.logits.softmax(-1).cumsum(-1)[..., :-1]
        chosen = (uniforms[..., :1] > weights).sum(-1, keepdim=True)
        mean, log_scale = self.means.gather(-1, chosen), self.log_scales.gather(-1, chosen)
        drawn = mean + spread * log_scale.exp() * torch.logit(uniforms[..., 1:])
        return quantized(drawn[..., 0])


def quantized(waveform: Tensor) -> Tensor:
    """The nearest sample of 16 bits, of the same shape and type."""
    return (waveform / STEP).round().clamp(-LEVELS // 2, LEVELS // 2 - 1) * STEP
