"""Product quantization: each group of dimensions has a codebook of its own, and all their codes stand side by side.

After Jegou, Douze and Schmid 2011, with learnt latents in place of a fixed vector.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from .base import Quantized
from .codebook import Codebook, to_frames, to_latents, to_vectors
from .with_codebooks import WithCodebooks


class GroupedVQ(WithCodebooks):
    """`num_stages` groups of dim / num_stages neighbouring dimensions; all are always in use."""

    kind = "product"

    def __init__(self, num_stages: int, codebook_size: int, dim: int) -> None:
        super().__init__(num_stages, codebook_size)
        self.codebooks = nn.ModuleList(Codebook(codebook_size, dim // num_stages) for _ in range(num_stages))

    def forward(self, latents: Tensor, stages: Tensor | None = None, noise: Tensor | None = None) -> Quantized:
        x = to_vectors(latents)
        codes = self._nearest(x.detach())  # [vector, stage]
        vectors = self._look_up(codes)  # [vector, dim]
        losses = {"commitment": (x - vectors.detach()).square().mean()}
        if self.by_gradient:
            losses["codebook"] = (x.detach() - vectors).square().mean()
        through = x + (vectors - x).detach()
        return Quantized(to_latents(through, len(latents)), to_frames(codes, len(latents)), losses)

    def _assigned(self, latents: Tensor, codes: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        return zip(self._groups(to_vectors(latents)), to_vectors(codes).unbind(1), strict=True)

    @torch.no_grad()
    def initialise(self, latents: Tensor, iterations: int = 10) -> None:
        """Set every codebook by k-means on its dimensions of latents [batch, dim, frame]."""
        for book, group in zip(self.books, self._groups(to_vectors(latents)), strict=True):
            book.initialise(group, self.generator, iterations)

    @torch.no_grad()
    def encode(self, latents: Tensor, stages: int | None = None, effort: int = 1) -> Tensor:
        return to_frames(self._nearest(to_vectors(latents)), len(latents))

    @torch.no_grad()
    def decode(self, codes: Tensor) -> Tensor:
        return to_latents(self._look_up(to_vectors(codes)), len(codes))

    def _groups(self, x: Tensor) -> tuple[Tensor, ...]:
        """Cut vectors [vector, dim] into groups, each [vector, dim / num_stages]."""
        return x.chunk(self.num_stages, dim=1)

    def _nearest(self, x: Tensor) -> Tensor:
        """[vector, dim] -> codes [vector, stage]."""
        codes = [book.nearest(group) for book, group in zip(self.books, self._groups(x), strict=True)]
        return torch.stack(codes, dim=-1)

    def _look_up(self, codes: Tensor) -> Tensor:
        """Codes [vector, stage] -> [vector, dim]."""
        chosen = [book.vectors[code] for book, code in zip(self.books, codes.unbind(1), strict=True)]
        return torch.cat(chosen, dim=1)
