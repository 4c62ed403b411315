"""Optimized product quantization: vectors are rotated first, so that the parts share their energy and correlate less.

    min |X R - Y|^2    over orthogonal R [dim, dim] and all Y [vector, dim] that a product quantizer decodes to

(Ge, He, Ke and Sun 2013, "Optimized product quantization for approximate nearest neighbor search"). Codes, code vectors
and rotation are improved in turn while the others are held, so no step adds to the error of the vectors fitted on. For
the rotation that is the orthogonal Procrustes problem (Schönemann 1966): R = U V', where X'Y = U S V' is the singular
value decomposition.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from vqcodec.errors import CorruptFile

from ..search import in_batches
from .base import check_codes, check_integer, check_vectors, distortion, generator_of
from .bounds import covariance
from .kmeans import cluster, sample
from .multibook import MultiBook
from .product import ProductQuantizer, check_parts, join_parts, nearest_in_parts


@dataclass(kw_only=True, eq=False, repr=False)
class OptimizedProductQuantizer(MultiBook):
    """A rotation [dim, dim], and a codebook for each part of what it turns vectors into.

    Fitting begins with the better of two product quantizers: of the vectors as they are, and of their principal axes
    dealt out so that the variances of every part have the same product (which is best for Gaussian vectors). So it
    ends no worse than `ProductQuantizer` of the same settings.
    """

    kind = "opq"

    updates: int = 20
    """Times that codebooks and rotation are improved in turn."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.updates = check_integer("updates", self.updates, 0)

    def fit(self, vectors: Tensor) -> Self:
        vectors = check_parts(check_vectors(vectors, at_least=self.codes_per_book), self.num_books)
        vectors = sample(vectors, self.vectors_per_code * self.codes_per_book, generator_of(self.seed))
        unrotated = torch.eye(vectors.shape[1], device=vectors.device)
        starts = [(R, self._books_of(vectors @ R)) for R in (unrotated, balanced_axes(vectors, self.num_books))]
        rotation, books = min(starts, key=lambda start: _distortion(vectors, *start))
        for _ in range(self.updates):
            books, codes = _improved(vectors @ rotation, books)
            rotation = procrustes(vectors, join_parts(codes, books))
        self._learnt = {"rotation": rotation} | {f"book_{index}": book for index, book in enumerate(books)}
        return self

    def load_tables(self, tables: Mapping[str, Tensor]) -> None:
        super().load_tables(tables)
        dims = [*self._table("rotation").shape, sum(book.shape[1] for book in self._books())]
        if len(set(dims)) > 1:
            raise CorruptFile(f"the rotation is {dims[:2]}, but the books have {dims[2]} dimensions together")

    def encode(self, vectors: Tensor) -> Tensor:
        rotation = self._table("rotation")
        vectors, books = check_vectors(vectors, len(rotation), at_least=0), self._books()
        return in_batches(lambda part: nearest_in_parts(part @ rotation, books), vectors)

    def decode(self, codes: Tensor) -> Tensor:
        rotation = self._table("rotation")
        return join_parts(check_codes(codes, self.sizes), self._books()) @ rotation.T

    def _shapes(self) -> dict[str, tuple[int | None, ...]]:
        shapes: dict[str, tuple[int | None, ...]] = {"rotation": (None, None)}
        return shapes | {f"book_{index}": (self.codes_per_book, None) for index in range(self.num_books)}

    def _books(self) -> list[Tensor]:
        return [self._table(f"book_{index}") for index in range(self.num_books)]

    def _books_of(self, vectors: Tensor) -> list[Tensor]:
        product = ProductQuantizer(
            num_books=self.num_books,
            codes_per_book=self.codes_per_book,
            iterations=self.iterations,
            vectors_per_code=self.vectors_per_code,
            seed=self.seed,
        )
        return list(product.fit(vectors).tables().values())


def procrustes(vectors: Tensor, targets: Tensor) -> Tensor:
    """The orthogonal R [dim, dim] that brings vectors R closest to the targets, both float32 [vector, dim]."""
    left, _, right = torch.linalg.svd((vectors.T @ targets).double())
    rotation: Tensor = (left @ right).float()
    return rotation


def balanced_axes(vectors: Tensor, num_parts: int) -> Tensor:
    """Principal axes of vectors [vector, dim] as columns [dim, dim], dealt out to parts ("eigenvalue allocation").

    From the largest variance down, each axis goes to the part whose variances have the smallest product so far and
    that is not full.
    """
    variances, axes = torch.linalg.eigh(covariance(vectors))  # smallest first
    floor = max(1e-9 * float(variances[-1]), 1e-30)
    logarithms = (variances.clamp_min(floor) / floor).log().tolist()
    sizes = [len(part) for part in torch.arange(len(axes)).tensor_split(num_parts)]
    parts: list[list[int]] = [[] for _ in sizes]
    for axis in reversed(range(len(axes))):
        open_parts = [part for part, size in zip(parts, sizes, strict=True) if len(part) < size]
        min(open_parts, key=lambda part: sum(logarithms[i] for i in part)).append(axis)
    dealt: Tensor = axes[:, list(itertools.chain(*parts))].float()
    return dealt


def _improved(rotated: Tensor, books: Sequence[Tensor]) -> tuple[list[Tensor], Tensor]:
    """One step of k-means in every part: the means of what each code stands for, and those codes [vector, book]."""
    codes = nearest_in_parts(rotated, books)
    parts = torch.split(rotated, [book.shape[1] for book in books], dim=1)
    return [cluster(part, book, code).means for part, code, book in zip(parts, codes.T, books, strict=True)], codes


def _distortion(vectors: Tensor, rotation: Tensor, books: Sequence[Tensor]) -> float:
    rotated = vectors @ rotation
    return distortion(rotated, join_parts(nearest_in_parts(rotated, books), books))
