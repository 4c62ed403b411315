"""Residual vector quantization: codebooks in a stack, each coding what those before it left over.

The stack and its dropout follow Zeghidour et al. 2021, "SoundStream".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..search import beam_search, greedy_search, prefix_search
from .base import Quantized
from .codebook import Codebook, to_frames, to_latents, to_vectors
from .with_codebooks import WithCodebooks


class Stacked(NamedTuple):
    """Result of `ResidualVQ.quantize`."""

    used: Tensor
    """Sum of the code vectors of the stages in use [vector, dim]"""
    whole: Tensor
    """Sum of the code vectors of all stages, without gradients [vector, dim]"""
    codes: Tensor
    """Codes of all stages [vector, stage]"""
    losses: dict[str, Tensor]
    """Losses as in `Quantized`, but sums over vectors, stages in use and dimensions []"""


class ResidualVQ(WithCodebooks):
    """A stack of codebooks; every prefix of it is a codec of its own."""

    kind = "rvq"

    def __init__(self, num_stages: int, codebook_size: int, dim: int) -> None:
        super().__init__(num_stages, codebook_size)
        self.codebooks = nn.ModuleList(Codebook(codebook_size, dim) for _ in range(num_stages))

    def forward(self, latents: Tensor, stages: Tensor | None = None, noise: Tensor | None = None) -> Quantized:
        batch, dim, frames = latents.shape
        if stages is None:
            stages = torch.full((batch,), self.num_stages, device=latents.device)
        if stages.ndim == 1:
            stages = stages[:, None].expand(batch, frames)
        x = to_vectors(latents)
        total, _, codes, losses = self.quantize(x, stages.reshape(-1, 1))
        used = stages.sum().clamp_min(1) * dim
        through = x + (total - x).detach()
        means = {name: loss / used for name, loss in losses.items()}
        return Quantized(to_latents(through, batch), to_frames(codes, batch), means)

    def quantize(self, x: Tensor, uses: Tensor) -> Stacked:
        """Quantize x [vector, dim], of whose stages each vector uses the first `uses` [vector, 1]."""
        total, residual = torch.zeros_like(x), x.detach()
        codes, commitment, codebook = [], [], []
        for index, book in enumerate(self.books):
            code = book.nearest(residual)
            step = book.vectors[code]
            active = (uses > index).to(x.dtype)
            if book.by_gradient:
                codebook.append((active * (residual - step).square()).sum())
                step = step.detach()
            commitment.append((active * (x - total - step).square()).sum())
            total = total + active * step
            residual = residual - step
            codes.append(code)
        losses = {"commitment": torch.stack(commitment).sum()}
        if codebook:
            losses["codebook"] = torch.stack(codebook).sum()
        return Stacked(total, x.detach() - residual, torch.stack(codes, dim=-1), losses)

    def _assigned(self, latents: Tensor, codes: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        return self.assigned(to_vectors(latents), to_vectors(codes))

    def assigned(self, x: Tensor, codes: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield for each stage the residual of x [vector, dim] and its column of `codes` [vector, stage]."""
        for book, code in zip(self.books, codes.unbind(1), strict=True):
            yield x, code
            x = x - book.vectors[code]

    @torch.no_grad()
    def initialise(self, latents: Tensor, iterations: int = 10) -> None:
        """Set codebooks by k-means on their true residuals, stage by stage, from latents [batch, dim, frame].

        Codebooks that were set before stay as they are: they are the first of a stack that has grown.
        """
        self.fit(to_vectors(latents), self.generator, iterations)

    def fit(self, x: Tensor, generator: torch.Generator, iterations: int) -> Tensor:
        """Set codebooks by k-means, stage by stage, from x [vector, dim]; returns what is left over [vector, dim]."""
        for book in self.books:
            if not book.is_set:
                book.initialise(x, generator, iterations)
            x = x - book.vectors[book.nearest(x)]
        return x

    @torch.no_grad()
    def encode(self, latents: Tensor, stages: int | None = None, effort: int = 1) -> Tensor:
        """Codes of the first `stages` stages: [batch, dim, frame] -> int64 [batch, stage, frame].

        Args:
            latents: float32 [batch, dim, frame].
            stages: 1..num_stages; all if None.
            effort: width of the beam. 1 takes the nearest code at every stage; more keep that many candidate
                sums from stage to stage, for a smaller error of the whole. At most `MAX_EFFORT`.
        """
        return to_frames(self.search(to_vectors(latents), stages, effort), len(latents))

    def search(self, x: Tensor, stages: int | None, effort: int) -> Tensor:
        """Codes of vectors, as `encode` searches them: [vector, dim] -> [vector, stage]."""
        books = [book.vectors for book in self.books[:stages]]
        return greedy_search(x, books) if effort == 1 else beam_search(x, books, effort)

    @torch.no_grad()
    def encode_endings(
        self, latents: Tensor, silence: Tensor, stages: int | None = None, effort: int = 1
    ) -> tuple[Tensor, Tensor]:
        books = [book.vectors for book in self.books[:stages]]
        x = to_vectors(latents)
        codes, errors = prefix_search(x, books, effort)
        errors[:, 0] = (x - silence).square().mean(-1)
        items = len(latents)
        return codes.reshape(items, -1, *codes.shape[1:]), errors.reshape(items, -1, errors.shape[-1])

    @torch.no_grad()
    def decode(self, codes: Tensor) -> Tensor:
        """Sum of the codes' vectors: int64 [batch, stage, frame] of any prefix -> [batch, dim, frame]."""
        return self._vectors(codes).sum(0).mT

    @torch.no_grad()
    def decode_varying(self, codes: Tensor, counts: Tensor, silence: Tensor) -> Tensor:
        sent = counts > torch.arange(codes.shape[1], device=counts.device)[:, None, None]  # [stage, batch, frame]
        latents = (self._vectors(codes) * sent[..., None]).sum(0)
        return torch.where(counts[..., None] == 0, silence, latents).mT

    def _vectors(self, codes: Tensor) -> Tensor:
        """[batch, stage, frame] -> [stage, batch, frame, dim]."""
        books = self.books[: codes.shape[1]]
        return torch.stack([book.vectors[codes[:, i]] for i, book in enumerate(books)])
