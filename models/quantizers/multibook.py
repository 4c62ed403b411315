"""What quantizers of several codebooks have in common."""

from __future__ import annotations

import math
from typing import Any

from .base import Quantizer, check_integer
from .kmeans import VECTORS_PER_CODE


class MultiBook(Quantizer):
    """Several codebooks of one size, a code of each for a vector. Subclasses differ in how they learn and add up."""

    def __init__(
        self,
        *,
        num_books: int = 8,
        codes_per_book: int = 256,
        iterations: int = 25,
        vectors_per_code: int = VECTORS_PER_CODE,
        seed: int = 0,
    ) -> None:
        """
        Args:
            num_books: codebooks, which is codes per vector.
            codes_per_book: code vectors in each.
            iterations: of k-means, wherever it learns a codebook.
            vectors_per_code: larger sets than this many for each code are sampled (sets up to 65536 never are).
            seed: of the random choices in fitting.

        Raises:
            ConfigError: a setting is out of range.
        """
        self.num_books = check_integer("num_books", num_books, 1)
        self.codes_per_book = check_integer("codes_per_book", codes_per_book, 1)
        self.iterations = check_integer("iterations", iterations, 1)
        self.vectors_per_code = check_integer("vectors_per_code", vectors_per_code, 1)
        self.seed = check_integer("seed", seed, 0)

    @property
    def sizes(self) -> list[int]:
        """Codes of each codebook."""
        return [self.codes_per_book] * self.num_books

    @property
    def bits_per_vector(self) -> float:
        """Of fixed-length codes."""
        return self.num_books * math.log2(self.codes_per_book)

    def settings(self) -> dict[str, Any]:
        """The constructor's arguments."""
        names = ("num_books", "codes_per_book", "iterations", "vectors_per_code", "seed")
        return {name: getattr(self, name) for name in names}
