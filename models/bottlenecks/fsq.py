"""Finite scalar quantization: every latent value is rounded to a few levels, without a codebook to learn.

After Mentzer et al. 2023, "Finite Scalar Quantization: VQ-VAE Made Simple". Theirs shifts an even number of levels so
that zero is among them; here the levels always lie symmetrically round zero.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .base import Bottleneck, Quantized, Statistics
from .codebook import to_frames, to_vectors, usage

_MARGIN = 1e-3
"""Distance of the bound beyond the outermost levels, as a share: they can be reached, and gradients get through."""


class FiniteScalarQuantizer(Bottleneck):
    """The lattice of all points whose `dim` coordinates are levels; a code packs several of them.

    A code is a number to the base `levels`, whose first digit, the highest, is the level of the first of its values.
    """

    kind = "lattice"

    def __init__(self, num_stages: int, levels: int, dim: int) -> None:
        super().__init__()
        self.num_stages = num_stages
        self.levels = levels
        self.digits = dim // num_stages
        """Values that a code packs."""
        self.codebook_size: int = levels**self.digits

    def forward(self, latents: Tensor, stages: Tensor | None = None, noise: Tensor | None = None) -> Quantized:
        bounded = self._bound(latents)
        levels = self._round(bounded)
        points = bounded + (self._point(levels) - bounded).detach()
        return Quantized(points, self._pack(levels), {})

    @torch.no_grad()
    def observe(self, latents: Tensor, codes: Tensor, part: int = 0, parts: int = 1) -> Statistics:
        nothing = latents.new_zeros(0)
        vectors = latents.new_zeros(0, latents.shape[1])
        return Statistics(usage(codes, self.codebook_size), nothing, vectors, vectors)

    @torch.no_grad()
    def encode(self, latents: Tensor, stages: int | None = None, effort: int = 1) -> Tensor:
        return self._pack(self._round(self._bound(latents)))

    def decode(self, codes: Tensor) -> Tensor:
        digits = codes.mT.unsqueeze(-1) // self._weights(codes) % self.levels  # [batch, frame, stage, digit]
        return self._point(digits.flatten(2).mT)

    def _bound(self, latents: Tensor) -> Tensor:
        """Latents, as a share of the outermost level: -1 to 1, and a little beyond."""
        return (1 + _MARGIN) * latents.tanh()

    def _round(self, bounded: Tensor) -> Tensor:
        """The nearest levels, 0 to levels - 1: int64 of the same shape."""
        steps = (bounded + 1) * (0.5 * (self.levels - 1))
        return steps.round().long().clamp(0, self.levels - 1)

    def _point(self, levels: Tensor) -> Tensor:
        """Levels -> their values, -1 to 1."""
        return levels.float() * (2 / (self.levels - 1)) - 1

    def _pack(self, levels: Tensor) -> Tensor:
        """Levels [batch, dim, frame] -> codes [batch, stage, frame]."""
        digits = to_vectors(levels).reshape(-1, self.num_stages, self.digits)  # [vector, stage, digit]
        return to_frames((digits * self._weights(levels)).sum(-1), len(levels))

    def _weights(self, like: Tensor) -> Tensor:
        """Place values of the digits of a code [digit]."""
        return self.levels ** torch.arange(self.digits - 1, -1, -1, device=like.device)
