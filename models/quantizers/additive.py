"""Additive quantization: sums of code vectors out of several codebooks that are learnt together.

    min |X - B C|^2    over codebooks C [book x code, dim] and choices B [vector, book x code], with a 1 for each book

(Babenko and Lempitsky 2014, "Additive quantization for extreme vector compression"). It begins with residual
quantization and takes turns from there: with the codes held, the best codebooks are a linear least-squares problem;
with the codebooks held, a beam search proposes codes, and iterated conditional modes improve them book by book
(Besag 1986; Martinez et al. 2016, "Revisiting additive quantization"). Codes change only for the better, so no turn
adds to the error of the vectors fitted on.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from ..search import BATCH
from .base import check_codes, check_integer, check_vectors, generator_of
from .kmeans import sample
from .multibook import MultiBook
from .residual import MAX_BEAM, ResidualQuantizer, beam_search, sum_of

DAMPING = 1e-3
"""Vectors that a code would have to stand for, to move half as far as least squares asks."""


@dataclass(kw_only=True, eq=False, repr=False)
class AdditiveQuantizer(MultiBook):
    """Codebooks [book, code, dim], each for the whole space."""

    kind = "additive"

    beam: int = 8
    """Candidate sums that the search keeps from book to book."""
    sweeps: int = 4
    """Times that every code is chosen anew, the others held, after the beam search; 0 leaves its codes."""
    updates: int = 10
    """Times that codebooks and codes are improved in turn."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.beam = check_integer("beam", self.beam, 1, MAX_BEAM)
        self.sweeps = check_integer("sweeps", self.sweeps, 0)
        self.updates = check_integer("updates", self.updates, 0)

    def fit(self, vectors: Tensor) -> Self:
        vectors = check_vectors(vectors, at_least=self.codes_per_book)
        vectors = sample(vectors, self.vectors_per_code * self.codes_per_book, generator_of(self.seed))
        residual = ResidualQuantizer(
            num_books=self.num_books,
            codes_per_book=self.codes_per_book,
            beam=self.beam,
            iterations=self.iterations,
            vectors_per_code=self.vectors_per_code,
            seed=self.seed,
        ).fit(vectors)
        books = residual.tables()["books"]
        codes = self._search(vectors, books)
        for _ in range(self.updates):
            books = least_squares(vectors, codes, books)
            codes = _better(vectors, books, codes, self._search(vectors, books))
        self._learnt = {"books": books}
        return self

    def encode(self, vectors: Tensor) -> Tensor:
        books = self._table("books")
        return self._search(check_vectors(vectors, books.shape[2], at_least=0), books)

    def decode(self, codes: Tensor) -> Tensor:
        books = self._table("books")
        return sum_of(books, check_codes(codes, self.sizes))

    def _shapes(self) -> dict[str, tuple[int | None, ...]]:
        return {"books": (self.num_books, self.codes_per_book, None)}

    def _search(self, vectors: Tensor, books: Tensor) -> Tensor:
        return conditional_modes(vectors, books, beam_search(vectors, books, self.beam), self.sweeps)


def conditional_modes(
    vectors: Tensor, books: Tensor, codes: Tensor, sweeps: int, weight: float = 0.0, target: float = 0.0
) -> Tensor:
    """Choose every code anew while the others are held, book by book, several times over: none adds to

        |x - sum_i c_i|^2 + weight (sum_{i != j} <c_i, c_j> - target)^2.

    Args:
        vectors: float32 [vector, dim].
        books: float32 [book, code, dim].
        codes: int64 [vector, book], to begin with.
        sweeps: times over all books.
        weight: of the second term, as composite quantization has it; 0 leaves the squared error.
        target: what the inner products in it should come to.

    Returns:
        int64 codes [vector, book].
    """
    norms = books.square().sum(2)  # [book, code]

    def improved(part: Tensor, code: Tensor) -> Tensor:
        code = code.clone()
        total = sum_of(books, code)
        inner = total.square().sum(1)  # of all pairs, once the squares of the codes' own are off it
        for index in range(len(books)):
            inner -= norms[index, code[:, index]]
        for index in list(range(len(books))) * sweeps:
            book, norm = books[index], norms[index]
            others = total - book[code[:, index]]
            cost = torch.addmm(norm, part - others, book.T, alpha=-2)  # [vector, code]
            if weight:
                products = 2 * others @ book.T  # in either order
                rest = inner - products.gather(1, code[:, index, None])[:, 0]
                all_inner = products + rest[:, None]
                cost += weight * (all_inner - target).square()
            code[:, index] = cost.argmin(1)
            total = others + book[code[:, index]]
            if weight:
                inner = all_inner.gather(1, code[:, index, None])[:, 0]
        return code

    size = max(1, BATCH * 16 // books.shape[1])
    parts = zip(torch.split(vectors, size), torch.split(codes, size), strict=True)
    return torch.cat([improved(*pair) for pair in parts])


def least_squares(vectors: Tensor, codes: Tensor, books: Tensor, damping: float = DAMPING) -> Tensor:
    """The codebooks whose sums come closest to the vectors, with their codes as they are.

    Solves for the change D of the books, (B'B + damping) D = B'(X - B C): codes that stand for nothing stay where they
    are, and the error never grows. Vectors may be moved between books without any change of the sums; so
    that a search in the books' order sees as much as it can, all but the first get mean zero.

    Args:
        vectors: float32 [vector, dim].
        codes: int64 [vector, book].
        books: float32 [book, code, dim], as they were.
        damping: of the change, in vectors: a code of so many is moved half as far as least squares asks, all else held.

    Returns:
        float32 [book, code, dim].
    """
    num_books, size, dim = books.shape
    residuals = (vectors - sum_of(books, codes)).double()
    normal = torch.zeros(num_books * size, num_books * size, dtype=torch.float64, device=books.device)
    blocks = normal.view(num_books, size, num_books, size)
    for i, j in itertools.product(range(num_books), repeat=2):
        pairs = torch.bincount(codes[:, i] * size + codes[:, j], minlength=size * size)
        blocks[i, :, j] = pairs.view(size, size)
    normal.diagonal().add_(damping)
    right = torch.zeros(num_books, size, dim, dtype=torch.float64, device=books.device)
    for book, code in zip(right, codes.T, strict=True):
        book.index_add_(0, code, residuals)
    change = torch.cholesky_solve(right.flatten(0, 1), torch.linalg.cholesky(normal))
    return _centred(books + change.view_as(books).float(), codes)


def _centred(books: Tensor, codes: Tensor) -> Tensor:
    """Codebooks with the means of all later books, over the codes in use, moved into the first."""
    means = torch.stack([book[code].mean(0) for book, code in zip(books, codes.T, strict=True)])
    means[0] -= means.sum(0)
    return books - means[:, None]


def _better(vectors: Tensor, books: Tensor, old: Tensor, new: Tensor) -> Tensor:
    """Choose for each vector, from two sets of codes [vector, book], the codes that decode to less error."""
    before, after = ((vectors - sum_of(books, codes)).square().sum(1, keepdim=True) for codes in (old, new))
    return torch.where(after < before, new, old)
