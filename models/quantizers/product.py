"""Product quantization: the dimensions are cut into parts, and every part has a codebook of its own.

Jégou, Douze and Schmid 2011, "Product quantization for nearest neighbor search".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor

from vqcodec.errors import VqcodecError

from .base import Quantizer, check_codes, check_integer, check_vectors, generator_of, nearest
from .kmeans import VECTORS_PER_CODE, kmeans, sample


class ProductQuantizer(Quantizer):
    """A codebook [code, dim of the part] for each run of dimensions; the first parts are one longer if they must."""

    kind = "product"

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
            num_books: parts that the dimensions are cut into, which is codes per vector; no more than dimensions.
            codes_per_book: code vectors of each part.
            iterations: of k-means in every part.
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

    def fit(self, vectors: Tensor) -> Self:
        vectors = check_parts(check_vectors(vectors, at_least=self.codes_per_book), self.num_books)
        generator = generator_of(self.seed)
        vectors = sample(vectors, self.vectors_per_code * self.codes_per_book, generator)
        parts = vectors.tensor_split(self.num_books, dim=1)
        books = [kmeans(part.contiguous(), self.codes_per_book, generator, self.iterations) for part in parts]
        self._learnt = {f"book_{index}": book for index, book in enumerate(books)}
        return self

    def encode(self, vectors: Tensor) -> Tensor:
        books = self._books()
        return nearest_in_parts(check_vectors(vectors, sum(book.shape[1] for book in books), at_least=0), books)

    def decode(self, codes: Tensor) -> Tensor:
        books = self._books()
        return join_parts(check_codes(codes, [self.codes_per_book] * self.num_books), books)

    @property
    def bits_per_vector(self) -> float:
        return self.num_books * math.log2(self.codes_per_book)

    def settings(self) -> dict[str, Any]:
        names = ("num_books", "codes_per_book", "iterations", "vectors_per_code", "seed")
        return {name: getattr(self, name) for name in names}

    def _shapes(self) -> dict[str, tuple[int | None, ...]]:
        return {f"book_{index}": (self.codes_per_book, None) for index in range(self.num_books)}

    def _books(self) -> list[Tensor]:
        return [self._table(name) for name in self._shapes()]


def check_parts(vectors: Tensor, num_parts: int) -> Tensor:
    """The vectors [vector, dim], if they have a dimension for every part.

    Raises:
        VqcodecError: they have not.
    """
    if vectors.shape[1] < num_parts:
        raise VqcodecError(
            f"vectors of {vectors.shape[1]} dimensions cannot be cut into {num_parts} parts: use fewer books"
        )
    return vectors


def nearest_in_parts(vectors: Tensor, books: Sequence[Tensor]) -> Tensor:
    """The nearest code of every part, the lowest on a tie.

    Args:
        vectors: float32 [vector, dim].
        books: float32 [code, dim of the part], one for each part in order.

    Returns:
        int64 codes [vector, book].
    """
    parts = torch.split(vectors, [book.shape[1] for book in books], dim=1)
    return torch.stack([nearest(part, book) for part, book in zip(parts, books, strict=True)], dim=1)


def join_parts(codes: Tensor, books: Sequence[Tensor]) -> Tensor:
    """Code vectors of all parts side by side: codes [vector, book] -> [vector, dim]."""
    return torch.cat([book[code] for book, code in zip(books, codes.T, strict=True)], dim=1)
