"""Vector quantization by a single codebook that grows by splitting.

Linde, Buzo and Gray 1980, "An algorithm for vector quantizer design".
"""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import Tensor

from ..search import BATCH
from .base import check_number, check_vectors, generator_of, nearest
from .kmeans import VECTORS_PER_CODE, SingleBook, cluster, lloyd, sample


class LBGQuantizer(SingleBook):
    """Begins with the mean of all vectors, and repeatedly splits every code in two and runs Lloyd's iteration.

    Where twice the codes would be too many, only those are split whose vectors have the largest errors in sum.
    """

    kind = "lbg"

    def __init__(
        self,
        *,
        num_codes: int,
        epsilon: float = 0.01,
        iterations: int = 50,
        vectors_per_code: int = VECTORS_PER_CODE,
        seed: int = 0,
    ) -> None:
        """
        Args:
            num_codes: size of the codebook.
            epsilon: how far the halves of a code are moved, as a share of the standard deviation of its vectors.
            iterations: of Lloyd after a split, at most.
            vectors_per_code: larger sets than this many for each code are sampled (sets up to 65536 never are).
            seed: of the random numbers.

        Raises:
            ConfigError: a setting is out of range.
        """
        super().__init__(num_codes=num_codes, iterations=iterations, vectors_per_code=vectors_per_code, seed=seed)
        self.epsilon = check_number("epsilon", epsilon, 0, 1)

    def fit(self, vectors: Tensor) -> Self:
        """Learn the codebook from float32 [vector, dim], at least as many vectors as codes."""
        vectors = check_vectors(vectors, at_least=self.num_codes)
        generator = generator_of(self.seed)
        vectors = sample(vectors, self.vectors_per_code * self.num_codes, generator)
        book = mean_of(vectors)
        while len(book) < self.num_codes:
            codes = nearest(vectors, book)
            offsets = self.epsilon * offsets_of(vectors, codes, book, generator)
            count = min(len(book), self.num_codes - len(book))
            split = cluster(vectors, book, codes).totals(codes).topk(count).indices
            halves = book[split] + offsets[split]
            book = torch.cat([book.index_add(0, split, offsets[split], alpha=-1), halves])
            book = lloyd(vectors, book, self.iterations)
        self._learnt = {"codes": book}
        return self

    def settings(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return super().settings() | {"epsilon": self.epsilon}


def mean_of(vectors: Tensor) -> Tensor:
    """The mean of vectors [vector, dim] as a codebook of a single code [1, dim]."""
    codes = torch.zeros(len(vectors), dtype=torch.int64, device=vectors.device)
    return cluster(vectors, vectors[:1], codes).means


def offsets_of(vectors: Tensor, codes: Tensor, book: Tensor, generator: torch.Generator) -> Tensor:
    """Directions to split codes in: the standard deviation of each code's vectors, with random signs [code, dim].

    Args:
        vectors: float32 [vector, dim].
        codes: of the vectors [vector].
        book: [code, dim].
        generator: draws the signs.
    """
    squares = torch.zeros_like(book)
    for part, code in zip(torch.split(vectors, BATCH), torch.split(codes, BATCH), strict=True):
        squares.index_add_(0, code, (part - book[code]).square())
    counts = torch.bincount(codes, minlength=len(book)).clamp_min(1)
    signs = torch.randint(2, book.shape, generator=generator).to(book) * 2 - 1
    return signs * (squares / counts[:, None]).sqrt()
