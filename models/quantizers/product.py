"""Product quantization: the dimensions are cut into parts, and every part has a codebook of its own.

Jégou, Douze and Schmid 2011, "Product quantization for nearest neighbor search".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor

from vqcodec.errors import VqcodecError

from .base import check_codes, check_vectors, generator_of, nearest
from .kmeans import kmeans, sample
from .multibook import MultiBook


class ProductQuantizer(MultiBook):
    """A codebook [code, dim of the part] for each run of dimensions, of which there must be no fewer than codebooks.

    Where they cannot be cut evenly, the first parts have a dimension more.
    """

    kind = "product"

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
        return join_parts(check_codes(codes, self.sizes), books)

    def _shapes(self) -> dict[str, tuple[int | None, ...]]:
        return {f"book_{index}": (self.codes_per_book, None) for index in range(self.num_books)}

    def _books(self) -> list[Tensor]:
        return [self._table(name) for name in self._shapes()]


def check_parts(vectors: Tensor, num_parts: int) -> Tensor:
    """Return vectors [vector, dim] if they have a dimension for every part.

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
        books: float32 [code, dim of the part], a codebook for each part in order.

    Returns:
        int64 codes [vector, book].
    """
    parts = torch.split(vectors, [book.shape[1] for book in books], dim=1)
    return torch.stack([nearest(part, book) for part, book in zip(parts, books, strict=True)], dim=1)


def join_parts(codes: Tensor, books: Sequence[Tensor]) -> Tensor:
    """Code vectors of all parts side by side: codes [vector, book] -> [vector, dim]."""
    return torch.cat([book[code] for book, code in zip(books, codes.T, strict=True)], dim=1)
