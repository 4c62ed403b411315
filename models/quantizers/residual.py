"""Residual quantization: every codebook codes what those before it left over, and a beam looks ahead.

A vector is coded as the sum of a code vector out of each codebook. The books are learnt in turn, each by
k-means on what is left over (Juang and Gray 1982, "Multiple stage vector quantization for speech coding"). Taking the
nearest code at every stage is rarely the best sum; a beam keeps several candidates from stage to stage (Babenko and
Lempitsky 2014, "Additive quantization for extreme vector compression"). Any first codes of a vector decode by
themselves, more coarsely.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from .. import search
from .base import check_codes, check_integer, check_vectors, generator_of, nearest
from .kmeans import kmeans, sample
from .multibook import MultiBook

MAX_BEAM = 256
"""Widest beam of a search."""

_RIVAL = 2.0
"""Candidates up to this many times the squared error of the best are learnt from, too."""


@dataclass(kw_only=True, eq=False, repr=False)
class ResidualQuantizer(MultiBook):
    """A stack of codebooks [book, code, dim], learnt on residuals and searched with a beam."""

    kind = "residual"

    beam: int = 8
    """Candidate sums that the search keeps from stage to stage; 1 takes the nearest code at every stage. Stages are
    learnt on what its candidates left over so far, the rivals of the best included: more than one residual of
    each vector makes books that fit new vectors better.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        self.beam = check_integer("beam", self.beam, 1, MAX_BEAM)

    def fit(self, vectors: Tensor) -> Self:
        generator = generator_of(self.seed)
        most = self.vectors_per_code * self.codes_per_book
        vectors = sample(check_vectors(vectors, at_least=self.codes_per_book), most, generator)
        residuals, paths = search.start_beam(vectors)
        books = []
        for _ in range(self.num_books):
            left = sample(_rivals(residuals), most, generator)
            books.append(kmeans(left, self.codes_per_book, generator, self.iterations))
            residuals, paths = _extend(books[-1], residuals, paths, self.beam)
        self._learnt = {"books": torch.stack(books)}
        return self

    def encode(self, vectors: Tensor) -> Tensor:
        books = self._table("books")
        return beam_search(check_vectors(vectors, books.shape[2], at_least=0), books, self.beam)

    def decode(self, codes: Tensor) -> Tensor:
        books = self._table("books")
        return sum_of(books, check_codes(codes, self.sizes))

    def _shapes(self) -> dict[str, tuple[int | None, ...]]:
        return {"books": (self.num_books, self.codes_per_book, None)}


def sum_of(books: Tensor, codes: Tensor) -> Tensor:
    """Sums of code vectors, a vector out of each book.

    Args:
        books: float32 [book, code, dim].
        codes: int64 [vector, book].

    Returns:
        float32 [vector, dim].
    """
    total = books.new_zeros(len(codes), books.shape[2])
    for book, code in zip(books, codes.T, strict=True):
        total += book[code]
    return total


def beam_search(vectors: Tensor, books: Tensor, width: int) -> Tensor:
    """Codes whose sum comes close to each vector: the best of `width` candidates carried from book to book.

    Args:
        vectors: float32 [vector, dim].
        books: float32 [book, code, dim], searched in their order.
        width: candidates; 1 takes the nearest code of every book, the lowest on a tie.

    Returns:
        int64 codes [vector, book].
    """
    if width == 1:
        return search.in_batches(lambda part: search.greedy_search(part, books.unbind(), nearest), vectors)
    return search.beam_search(vectors, books.unbind(), width)


def _extend(book: Tensor, residuals: Tensor, paths: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """Continue the beams of a large set as `search.extend_beam` does, some vectors at a time."""
    size = search.beam_batch(width, len(book))
    parts = zip(torch.split(residuals, size), torch.split(paths, size), strict=True)
    residual_parts, path_parts = zip(*(search.extend_beam(book, *part, width) for part in parts), strict=True)
    return torch.cat(residual_parts), torch.cat(path_parts)


def _rivals(residuals: Tensor) -> Tensor:
    """Select those of the candidates [vector, candidate, dim], best first, that may still win [residual, dim]."""
    errors = residuals.square().sum(2)
    return residuals[errors <= _RIVAL * errors[:, :1]]
