"""Codebooks, which learn, and functions that several kinds of bottlenecks share.

Codebooks learn by exponential moving averages (van den Oord et al. 2017, "Neural Discrete Representation Learning",
appendix A.1), or by gradient.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..search import nearest

SMOOTHING = 1e-5
"""Laplace smoothing of the running counts, as a share of their sum."""


class Codebook(nn.Module):
    """Code vectors and the running sums that they are learnt from."""

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("vectors", torch.zeros(size, dim))
        self.register_buffer("counts", torch.zeros(size))
        """Vectors assigned to each code, a running sum [size]"""
        self.register_buffer("sums", torch.zeros(size, dim))
        """Sum of those vectors, running likewise [size, dim]"""
        self.vectors: Tensor
        self.counts: Tensor
        self.sums: Tensor

    @property
    def by_gradient(self) -> bool:
        """Whether the vectors are a parameter."""
        return isinstance(self.vectors, nn.Parameter)

    @property
    def is_set(self) -> bool:
        """Whether vectors have ever been assigned to its codes."""
        return bool(self.counts.any())

    def learn_by_gradient(self) -> None:
        """Make the vectors a parameter, which the running sums move no longer."""
        if not self.by_gradient:
            vectors = self.vectors
            del self.vectors
            self.vectors = nn.Parameter(vectors)

    def nearest(self, x: Tensor) -> Tensor:
        """Index of the nearest code, the lowest on a tie: [vector, dim] -> int64 [vector]."""
        return nearest(x, self.vectors)

    @torch.no_grad()
    def initialise(self, x: Tensor, generator: torch.Generator, iterations: int = 10) -> None:
        """Lloyd's k-means on x [vector, dim], from random distinct vectors; empty clusters are drawn anew.

        This is not `quantizers.kmeans.kmeans`, which starts from k-means++ and stops by itself: here the running counts
        and sums that learning goes on from are set as well, by the same steps.
        """
        self.vectors.copy_(x[draw(len(x), len(self.vectors), generator).to(x.device)])
        for _ in range(iterations):
            counts, sums = self.assign(x, self.nearest(x))
            self._count(counts, sums)
            self._centre()
            self.replace(counts < 1, x[draw(len(x), len(self.vectors), generator).to(x.device)])

    def assign(self, x: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors per code [size] and their sums [size, dim]."""
        counts = torch.bincount(codes, minlength=len(self.vectors)).to(x.dtype)
        return counts, torch.zeros_like(self.sums).index_add_(0, codes, x)

    @torch.no_grad()
    def move(self, counts: Tensor, sums: Tensor, decay: float) -> None:
        """Move the running count and sum of every code towards those of a batch, and the vectors to their quotient.

        Args:
            counts: of the batch, as from `assign` [size].
            sums: of the batch likewise [size, dim].
            decay: of the running count and sum.
        """
        self._count(self.counts.lerp(counts, 1 - decay), self.sums.lerp(sums, 1 - decay))
        if not self.by_gradient:
            self._centre()

    @torch.no_grad()
    def replace(self, dead: Tensor, live: Tensor) -> None:
        """Make dead codes [size, bool] live vectors [size, dim], in their order: vector, sum and count."""
        live = live[(dead.cumsum(0) - 1).clamp_min(0)]
        count = self.counts.mean()
        self.vectors.copy_(torch.where(dead[:, None], live, self.vectors))
        self.sums.copy_(torch.where(dead[:, None], live * count, self.sums))
        self.counts.copy_(torch.where(dead, count, self.counts))

    @torch.no_grad()
    def restart(self) -> None:
        """Begin the running count and sum of every code anew, as if of a single vector, where the code is."""
        self.counts.fill_(1.0)
        self.sums.copy_(self.vectors)

    def _count(self, counts: Tensor, sums: Tensor) -> None:
        self.counts.copy_(counts)
        self.sums.copy_(sums)

    def _centre(self) -> None:
        """Put every code into the mean of its vectors; a code without vectors stays where it is."""
        total, epsilon = self.counts.sum(), SMOOTHING * self.counts.mean()
        smoothed = (self.counts + epsilon) / (total + len(self.counts) * epsilon) * total
        self.vectors.copy_(torch.where(self.counts[:, None] > 0, self.sums / smoothed[:, None], self.vectors))


def to_vectors(latents: Tensor) -> Tensor:
    """[batch, dim, frame] -> [vector, dim], frame by frame and item by item."""
    return latents.mT.flatten(0, 1)


def to_latents(x: Tensor, batch: int) -> Tensor:
    """[vector, dim] -> [batch, dim, frame], the inverse of `to_vectors`."""
    return x.reshape(batch, -1, x.shape[1]).mT


def to_frames(codes: Tensor, batch: int) -> Tensor:
    """Codes [vector, stage] -> [batch, stage, frame]."""
    return to_latents(codes, batch).contiguous()


def draw(population: int, count: int, generator: torch.Generator) -> Tensor:
    """`count` random indices below `population`, none repeated before all have come up [count]."""
    rounds = -(-count // population)
    return torch.cat([torch.randperm(population, generator=generator) for _ in range(rounds)])[:count]


def rows_of(x: Tensor, indices: Tensor) -> Tensor:
    """Rows of x [vector, dim] by index [count], and zeros for an index that x does not have [count, dim]."""
    known = (indices >= 0) & (indices < len(x))
    return torch.where(known[:, None], x[indices.clamp(0, len(x) - 1)], 0.0)


def usage(codes: Tensor, size: int) -> Tensor:
    """Count the uses of each of `size` codes at each stage: [batch, stage, frame] -> float32 [stage, size]."""
    rows = codes.transpose(0, 1).flatten(1)  # [stage, vector]
    return torch.stack([torch.bincount(row, minlength=size) for row in rows]).float()


def perplexity(codes: Tensor, size: int) -> Tensor:
    """exp(entropy) of the codes [any shape] among `size`, from 1 (a single code) to `size` (all alike) []."""
    return perplexity_of(torch.bincount(codes.flatten(), minlength=size))


def perplexity_of(counts: Tensor) -> Tensor:
    """exp(entropy) of counts [..., size] -> [...]."""
    share = counts / counts.sum(-1, keepdim=True)
    entropy: Tensor = torch.special.entr(share).sum(-1)
    return entropy.exp()
