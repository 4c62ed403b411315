"""Vector quantization by a single codebook, learnt by k-means.

Lloyd 1982, "Least squares quantization in PCM", from starting points by Arthur and Vassilvitskii 2007, "k-means++: the
advantages of careful seeding", drawn in rounds as by Bahmani et al. 2012, "Scalable k-means++".
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from ..search import BATCH, in_batches
from . import backends
from .base import Quantizer, check_choice, check_codes, check_integer, check_vectors, generator_of, nearest

VECTORS_PER_CODE = 256
"""Vectors that a code is learnt from, unless told otherwise: a larger set is sampled down to that many."""

MAX_CODES = 1 << 20

_MIN_SAMPLE = 1 << 16
"""Sets up to this size are never sampled."""

TOLERANCE = 1e-5
"""Lloyd's iteration stops once it lowers the distortion by no more than this share."""

_ROUND_SHARE = 0.125
"""Codes that a round of k-means++ draws, as a share of those it has: the first eight are drawn singly."""


class SingleBook(Quantizer):
    """One codebook: a vector is coded as the index of the nearest code. Subclasses differ in how they learn it."""

    def __init__(
        self, *, num_codes: int, iterations: int = 50, vectors_per_code: int = VECTORS_PER_CODE, seed: int = 0
    ) -> None:
        """
        Args:
            num_codes: size of the codebook.
            iterations: of Lloyd, at most.
            vectors_per_code: larger sets than this many for each code are sampled (sets up to 65536 never are).
            seed: of the random numbers.

        Raises:
            ConfigError: a setting is out of range.
        """
        self.num_codes = check_integer("num_codes", num_codes, 1, MAX_CODES)
        self.iterations = check_integer("iterations", iterations, 1)
        self.vectors_per_code = check_integer("vectors_per_code", vectors_per_code, 1)
        self.seed = check_integer("seed", seed, 0)

    @property
    def codes(self) -> Tensor:
        """The codebook, float32 [code, dim]."""
        return self._table("codes")

    def encode(self, vectors: Tensor) -> Tensor:
        """The nearest code, the lowest on a tie: float32 [vector, dim] -> int64 [vector, 1]."""
        vectors = check_vectors(vectors, self.codes.shape[1], at_least=0)
        return nearest(vectors, self.codes)[:, None]

    def decode(self, codes: Tensor) -> Tensor:
        """int64 [vector, 1] -> float32 [vector, dim]."""
        return self.codes[check_codes(codes, [len(self.codes)])[:, 0]]

    @property
    def bits_per_vector(self) -> float:
        """log2 of the size of the codebook."""
        return math.log2(self.num_codes)

    def settings(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            "num_codes": self.num_codes,
            "iterations": self.iterations,
            "vectors_per_code": self.vectors_per_code,
            "seed": self.seed,
        }

    def _shapes(self) -> dict[str, tuple[int | None, ...]]:
        return {"codes": (self.num_codes, None)}


class KMeansQuantizer(SingleBook):
    """Vector quantization by k-means."""

    kind = "kmeans"

    def __init__(
        self,
        *,
        num_codes: int,
        iterations: int = 50,
        vectors_per_code: int = VECTORS_PER_CODE,
        backend: str = backends.OWN,
        seed: int = 0,
    ) -> None:
        """
        Args:
            num_codes: size of the codebook.
            iterations: of Lloyd, at most.
            vectors_per_code: larger sets than this many for each code are sampled (sets up to 65536 never are).
            backend: what finds the codes: "torch", or where they are installed "faiss" or "scikit-learn". Encoding is
                the same with all of them.
            seed: of the random numbers.

        Raises:
            ConfigError: a setting is out of range.
        """
        super().__init__(num_codes=num_codes, iterations=iterations, vectors_per_code=vectors_per_code, seed=seed)
        self.backend = check_choice("backend", backend, (backends.OWN, *backends.BACKENDS))

    def settings(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().settings(), "backend": self.backend}

    def fit(self, vectors: Tensor) -> Self:
        """Learn the codebook from float32 [vector, dim], at least as many vectors as codes."""
        vectors = check_vectors(vectors, at_least=self.num_codes)
        generator = generator_of(self.seed)
        vectors = sample(vectors, self.vectors_per_code * self.num_codes, generator)
        if self.backend == backends.OWN:
            codes = kmeans(vectors, self.num_codes, generator, self.iterations)
        else:
            codes = backends.kmeans(self.backend, vectors, self.num_codes, self.iterations, self.seed)
        self._learnt = {"codes": codes}
        return self


def sample(vectors: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """`count` of the vectors (65536 if that is more), drawn at random without repetition, or all if they are fewer."""
    count = max(count, _MIN_SAMPLE)
    if len(vectors) <= count:
        return vectors
    return vectors[torch.randperm(len(vectors), generator=generator)[:count].to(vectors.device)]


def kmeans(vectors: Tensor, num_codes: int, generator: torch.Generator, iterations: int = 50) -> Tensor:
    """A codebook [code, dim] of vectors [vector, dim], of which there must be as many at least: k-means++ and Lloyd."""
    return lloyd(vectors, plus_plus(vectors, num_codes, generator), iterations)


def plus_plus(vectors: Tensor, num_codes: int, generator: torch.Generator) -> Tensor:
    """Codes [code, dim] to start from: vectors drawn with a probability proportional to their squared distance to
    those drawn before. Beyond eight, several are drawn at a time."""
    book = vectors[torch.randint(len(vectors), (1,), generator=generator).to(vectors.device)]
    errors = _squared_distances(vectors, book)
    while (have := len(book)) < num_codes:
        count = min(max(1, int(_ROUND_SHARE * have)), num_codes - have)
        new = vectors[_draw(errors, count, generator)]
        errors = errors.minimum(_squared_distances(vectors, new))
        book = torch.cat([book, new])
    return book


def _squared_distances(vectors: Tensor, book: Tensor) -> Tensor:
    """Squared distance of each vector to the nearest code [vector]."""
    return in_batches(lambda part: (part - book[nearest(part, book)]).square().sum(1), vectors)


def _draw(weights: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """`count` indices without repetition, each in proportion to its weight [weight] among those left [count].

    Efraimidis and Spirakis 2006, "Weighted random sampling with a reservoir": the largest of weight / exponential.
    """
    noise = torch.empty(len(weights), dtype=torch.float64).exponential_(generator=generator).to(weights.device)
    return (weights / noise).topk(count).indices


def lloyd(vectors: Tensor, book: Tensor, iterations: int) -> Tensor:
    """Improve a codebook [code, dim] by Lloyd's iteration on vectors [vector, dim].

    Every step takes the mean of the vectors nearest to each code; a code that has none takes the vector that is
    farthest from its own code instead. No step raises the distortion. The iteration stops when a step hardly lowers it.
    """
    before = math.inf
    for _ in range(iterations):
        clusters = cluster(vectors, book, nearest(vectors, book))
        after = float(clusters.errors.sum(dtype=torch.float64))
        if after >= (1 - TOLERANCE) * before:
            break
        before = after
        book = _repaired(vectors, clusters)
    return book


class Clusters(NamedTuple):
    """Statistics of the vectors that were given to each code."""

    errors: Tensor
    """Squared distance of each vector to its code [vector]"""
    counts: Tensor
    """Vectors of each code, int64 [code]"""
    means: Tensor
    """Mean of the vectors of each code; the code itself where it has none [code, dim]"""

    def totals(self, codes: Tensor) -> Tensor:
        """Sum of the errors of each code's vectors, from the codes [vector] that they have [code]."""
        return torch.zeros_like(self.means[:, 0]).index_add_(0, codes, self.errors)


def cluster(vectors: Tensor, book: Tensor, codes: Tensor) -> Clusters:
    """Errors, counts and means of vectors [vector, dim] with these codes [vector] of a book [code, dim]."""
    sums = torch.zeros_like(book, dtype=torch.float64)  # of the differences to the code: small numbers add up exactly
    errors = vectors.new_empty(len(vectors))
    parts = zip(torch.split(vectors, BATCH), torch.split(codes, BATCH), torch.split(errors, BATCH), strict=True)
    for part, code, error in parts:
        difference = part - book[code]
        error.copy_(difference.square().sum(1))
        sums += torch.zeros_like(book).index_add_(0, code, difference)
    counts = torch.bincount(codes, minlength=len(book))
    return Clusters(errors, counts, book + (sums / counts.clamp_min(1)[:, None]).float())


def _repaired(vectors: Tensor, clusters: Clusters) -> Tensor:
    """Means of the clusters [code, dim]; those of empty clusters become the vectors farthest from their codes."""
    empty = clusters.counts.eq(0).nonzero()[:, 0]
    farthest = clusters.errors.topk(min(len(empty), len(vectors))).indices
    return clusters.means.index_copy(0, empty[: len(farthest)], vectors[farthest])
