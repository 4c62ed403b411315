"""Codes as numbers: a table for each stage, and a layer that brings them to the width of a network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .slots import NONE


class CodeTables(nn.Module):
    """A vector for each code of each stage.

    Args:
        num_stages: tables.
        codebook_size: rows of each.
        dim: numbers in a row.
    """

    def __init__(self, num_stages: int, codebook_size: int, dim: int) -> None:
        super().__init__()
        self.codebook_size = codebook_size
        self.rows = nn.Embedding(num_stages * codebook_size, dim)
        nn.init.normal_(self.rows.weight, std=0.5)

    @torch.no_grad()
    def begin_with(self, vectors: Tensor) -> None:
        """Start from the code vectors of a codec [stage, code, dim], all scaled alike, if they are of our dimension."""
        if vectors.flatten(0, 1).shape == self.rows.weight.shape:
            self.rows.weight.copy_(vectors.flatten(0, 1) / vectors[0].std())

    def forward(self, codes: Tensor) -> Tensor:
        """int64 [item, stage, slot] -> [item, slot, stage, dim]; zeros for `NONE`."""
        stages = codes.shape[1]
        first = torch.arange(stages, device=codes.device)[:, None] * self.codebook_size
        found = self.rows(codes.clamp_min(0) + first) * (codes != NONE).unsqueeze(-1)
        return found.transpose(1, 2)  # type: ignore[no-any-return]


class StageLayers(nn.Module):
    """A layer without bias for each stage: the width of a network as a sum over stages.

    Args:
        num_stages: layers.
        dim: of a code's vector.
        width: of the network.
    """

    def __init__(self, num_stages: int, dim: int, width: int) -> None:
        super().__init__()
        self.layer = nn.Linear(num_stages * dim, width, bias=False)
        self.num_stages = num_stages

    def total(self, vectors: Tensor) -> Tensor:
        """[item, slot, stage, dim] -> [item, slot, width]."""
        return self.layer(vectors.flatten(2))  # type: ignore[no-any-return]

    def before(self, vectors: Tensor) -> Tensor:
        """For each stage the sum over those before it: [item, slot, stage, dim] -> [item, slot, stage, width].

        `vectors` has the first stages, of which the last one is not needed: it is in no sum.
        """
        stages, dim = vectors.shape[2:]
        weights = self.layer.weight.view(-1, self.num_stages, dim)[:, :stages].permute(1, 2, 0)
        parts = torch.einsum("ntsd,sdw->ntsw", vectors, weights.to(vectors.dtype))
        sums = parts.cumsum(2)
        return torch.cat([torch.zeros_like(sums[:, :, :1]), sums[:, :, :-1]], 2)
