"""Tree-structured vector quantization: a code is a path down a binary tree, and any beginning of it is a coarser code.

Buzo, Gray, Gray and Markel 1980, "Speech coding based upon vector quantization".
"""

from __future__ import annotations

import math
from typing import Any, Self

import torch
from torch import Tensor

from ..search import BATCH
from .base import Quantizer, check_choice, check_codes, check_integer, check_vectors, generator_of, nearest
from .kmeans import TOLERANCE, VECTORS_PER_CODE, Clusters, cluster, sample
from .lbg import mean_of, offsets_of

SEARCHES = ("greedy", "full")

_MAX_DEPTH = 20
_EPSILON = 0.01  # of the split that a pair of children starts from


class TreeQuantizer(Quantizer):
    """A binary tree of codes. Each node's vectors are split among its two children by 2-means, level by level.

    The greedy search walks down the tree, always to the nearer child: 2 distances a bit. The full search takes the
    nearest of all leaves, 2^depth distances, and never has the larger error.
    """

    kind = "tree"

    def __init__(
        self,
        *,
        depth: int,
        search: str = "greedy",
        iterations: int = 50,
        vectors_per_code: int = VECTORS_PER_CODE,
        seed: int = 0,
    ) -> None:
        """
        Args:
            depth: levels of the tree, which are the bits of a vector; it has 2^depth leaves.
            search: "greedy" or "full".
            iterations: of Lloyd at each level, at most.
            vectors_per_code: larger sets than this many for each leaf are sampled (sets up to 65536 never are).
            seed: of the random numbers.

        Raises:
            ConfigError: a setting is out of range.
        """
        self.depth = check_integer("depth", depth, 1, _MAX_DEPTH)
        self.search = check_choice("search", search, SEARCHES)
        self.iterations = check_integer("iterations", iterations, 1)
        self.vectors_per_code = check_integer("vectors_per_code", vectors_per_code, 1)
        self.seed = check_integer("seed", seed, 0)

    def level(self, depth: int) -> Tensor:
        """The codes after this many bits, 1..depth, in the order of their paths as binary numbers [2^depth, dim]."""
        first = 2**depth - 2  # levels of 2, 4, 8 ... nodes come before
        return self._table("nodes")[first : first + 2**depth]

    def fit(self, vectors: Tensor) -> Self:
        """Learn the tree from float32 [vector, dim], at least as many vectors as leaves."""
        vectors = check_vectors(vectors, at_least=2**self.depth)
        generator = generator_of(self.seed)
        vectors = sample(vectors, self.vectors_per_code * 2**self.depth, generator)
        book, path = mean_of(vectors), torch.zeros(len(vectors), dtype=torch.int64, device=vectors.device)
        levels = []
        for _ in range(self.depth):
            offsets = _EPSILON * offsets_of(vectors, path, book, generator)
            pairs = torch.stack([book - offsets, book + offsets], 1).flatten(0, 1)
            book = _lloyd_of_pairs(vectors, pairs, path, self.iterations)
            path = _step(vectors, book, path)
            levels.append(book)
        self._learnt = {"nodes": torch.cat(levels)}
        return self

    def encode(self, vectors: Tensor) -> Tensor:
        """The way down the tree, 0 or 1 at each level: float32 [vector, dim] -> int64 [vector, depth]."""
        vectors = check_vectors(vectors, self._table("nodes").shape[1], at_least=0)
        leaves = nearest(vectors, self.level(self.depth)) if self.search == "full" else self._walk(vectors)
        return leaves[:, None] >> torch.arange(self.depth - 1, -1, -1, device=leaves.device) & 1

    def decode(self, codes: Tensor) -> Tensor:
        """The node at the end of the path, of 1..depth levels: int64 [vector, level] -> float32 [vector, dim]."""
        length = codes.shape[1] if codes.ndim == 2 and 1 <= codes.shape[1] <= self.depth else self.depth
        codes = check_codes(codes, [2] * length)
        weights = 2 ** torch.arange(length - 1, -1, -1, device=codes.device)
        return self.level(length)[(codes * weights).sum(1)]

    @property
    def bits_per_vector(self) -> float:
        """One bit for each level."""
        return float(self.depth)

    def settings(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            "depth": self.depth,
            "search": self.search,
            "iterations": self.iterations,
            "vectors_per_code": self.vectors_per_code,
            "seed": self.seed,
        }

    def _shapes(self) -> dict[str, tuple[int | None, ...]]:
        return {"nodes": (2 ** (self.depth + 1) - 2, None)}

    def _walk(self, vectors: Tensor) -> Tensor:
        """Index of the leaf that the greedy search ends at [vector]."""
        path = torch.zeros(len(vectors), dtype=torch.int64, device=vectors.device)
        for depth in range(1, self.depth + 1):
            path = _step(vectors, self.level(depth), path)
        return path


def _step(vectors: Tensor, book: Tensor, path: Tensor) -> Tensor:
    """Go on to the nearer child, the first on a tie.

    Args:
        vectors: [vector, dim].
        book: codes of the children, in pairs [2 nodes, dim].
        path: node of each vector [vector].

    Returns:
        the child of each vector, index into `book` [vector].
    """
    pairs = book.view(len(book) // 2, 2, -1)

    children = 2 * path
    parts = zip(torch.split(vectors, BATCH), torch.split(path, BATCH), torch.split(children, BATCH), strict=True)
    for part, node, child in parts:
        first, second = ((part - pairs[node, side]).square().sum(1) for side in (0, 1))
        child += second < first
    return children


def _lloyd_of_pairs(vectors: Tensor, book: Tensor, path: Tensor, iterations: int) -> Tensor:
    """Lloyd's iteration in every node at once: vectors choose among the two children of their node only.

    vectors [vector, dim], path [vector] the node of each, and book [2 nodes, dim], as it is returned.
    """
    before = math.inf
    for _ in range(iterations):
        codes = _step(vectors, book, path)
        clusters = cluster(vectors, book, codes)
        after = float(clusters.errors.sum(dtype=torch.float64))
        if after >= (1 - TOLERANCE) * before:
            break
        before = after
        book = _repaired(vectors, path, clusters)
    return book


def _repaired(vectors: Tensor, path: Tensor, clusters: Clusters) -> Tensor:
    """The means of the children, that of an empty child replaced by the vector of its node farthest from the sibling.

    Children of a node without vectors stay as they are.
    """
    nodes = len(clusters.means) // 2
    empty = clusters.counts.eq(0) & clusters.counts.view(nodes, 2).sum(1).gt(0).repeat_interleave(2)
    if not empty.any():
        return clusters.means
    largest = torch.zeros_like(clusters.means[:nodes, 0]).scatter_reduce(0, path, clusters.errors, "amax")
    candidates = clusters.errors.eq(largest[path]).nonzero()[:, 0]
    farthest = torch.full_like(path, len(vectors))[:nodes].scatter_reduce(0, path[candidates], candidates, "amin")
    return clusters.means.index_put((empty,), vectors[farthest.repeat_interleave(2)[empty]])
