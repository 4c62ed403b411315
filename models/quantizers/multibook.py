"""The settings that quantizers of several codebooks share."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

from .base import Quantizer, check_integer
from .kmeans import VECTORS_PER_CODE

MAX_BOOKS = 1024
"""The largest number of codebooks."""


@dataclass(kw_only=True, eq=False, repr=False)
class MultiBook(Quantizer):
    """Several codebooks of the same size, a code of each for a vector. Subclasses differ in how they learn and add up.

    Raises:
        ConfigError: a setting is out of range.
    """

    num_books: int = 8
    """Codebooks, which is codes per vector."""
    codes_per_book: int = 256
    """Code vectors in each."""
    iterations: int = 25
    """Iterations of k-means, wherever it learns a codebook."""
    vectors_per_code: int = VECTORS_PER_CODE
    """Larger sets than this many for each code are sampled (sets up to 65536 never are)."""
    seed: int = 0
    """Seed of the random choices in fitting."""

    def __post_init__(self) -> None:
        self.num_books = check_integer("num_books", self.num_books, 1, MAX_BOOKS)
        self.codes_per_book = check_integer("codes_per_book", self.codes_per_book, 1)
        self.iterations = check_integer("iterations", self.iterations, 1)
        self.vectors_per_code = check_integer("vectors_per_code", self.vectors_per_code, 1)
        self.seed = check_integer("seed", self.seed, 0)

    @property
    def sizes(self) -> list[int]:
        """Codes of each codebook."""
        return [self.codes_per_book] * self.num_books

    @property
    def bits_per_vector(self) -> float:
        """Bits of fixed-length codes."""
        return self.num_books * math.log2(self.codes_per_book)

    def settings(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {field.name: getattr(self, field.name) for field in fields(self)}
