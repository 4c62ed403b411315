"""Composite quantization: sums of code vectors whose inner products across codebooks always come to about the same.

    min |X - sum_i C_i|^2 + weight sum_vectors (sum_{i != j} <c_i, c_j> - cross)^2

(Zhang, Du and Wang 2014, "Composite quantization for approximate nearest neighbor search"). It is additive quantization
with a constraint, which in product quantization is stricter: there the books are orthogonal and the products 0. The
constraint makes it possible to compute distances by looking up tables,

    |q - sum_i c_i|^2 = sum_i |q - c_i|^2 - (books - 1) |q|^2 + sum_{i != j} <c_i, c_j>,

where the last term need not be known for each vector. It begins with the books of an optimized product quantizer, which
meet the constraint exactly; codes, the constant and the books (by L-BFGS) are then improved in turn, and no turn adds
to the objective. So on the vectors fitted on it ends no worse than where it began.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor

from vqcodec.errors import ConfigError

from .additive import conditional_modes
from .base import check_codes, check_integer, check_vectors, generator_of, nearest
from .kmeans import sample
from .multibook import MultiBook
from .opq import OptimizedProductQuantizer
from .residual import sum_of

_LINE_SEARCHES = 10
"""Steps of L-BFGS in every update of the books."""


@dataclass(kw_only=True, eq=False, repr=False)
class CompositeQuantizer(MultiBook):
    """Codebooks [book, code, dim], and what their inner products across books should come to."""

    kind = "composite"

    penalty: float = 10.0
    """On inner products that are not constant; the weight is this over the vectors' mean squared distance from their
    mean, so that it does not depend on their unit.
    """
    sweeps: int = 4
    """Times that every code is chosen anew, the others held."""
    updates: int = 10
    """Times that codes, constant and books are improved in turn."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.penalty = _check_penalty(self.penalty)
        self.sweeps = check_integer("sweeps", self.sweeps, 1)
        self.updates = check_integer("updates", self.updates, 0)

    def fit(self, vectors: Tensor) -> Self:
        vectors = check_vectors(vectors, at_least=self.codes_per_book)
        vectors = sample(vectors, self.vectors_per_code * self.codes_per_book, generator_of(self.seed))
        product = OptimizedProductQuantizer(
            num_books=self.num_books,
            codes_per_book=self.codes_per_book,
            iterations=self.iterations,
            vectors_per_code=self.vectors_per_code,
            seed=self.seed,
        ).fit(vectors)
        books, codes, cross = _books_of(product), product.encode(vectors), 0.0
        weight = self.penalty / (float(vectors.var(0, correction=0).sum()) or 1.0)
        for _ in range(self.updates):
            codes = conditional_modes(vectors, books, codes, self.sweeps, weight, cross)
            cross = float(inner_products(books, codes).mean())
            books = descend(vectors, books, codes, weight, cross)
        self._learnt = {"books": books, "cross": torch.tensor(cross), "weight": torch.tensor(weight)}
        return self

    def encode(self, vectors: Tensor) -> Tensor:
        books = self._table("books")
        vectors = check_vectors(vectors, books.shape[2], at_least=0)
        weight, cross = float(self._table("weight")), float(self._table("cross"))
        codes = torch.stack([nearest(vectors, book) for book in books], dim=1)
        return conditional_modes(vectors, books, codes, self.sweeps, weight, cross)

    def decode(self, codes: Tensor) -> Tensor:
        books = self._table("books")
        return sum_of(books, check_codes(codes, self.sizes))

    def distances(self, queries: Tensor, codes: Tensor) -> Tensor:
        """Squared distances of queries to coded vectors, by table lookups only: nothing is decoded.

        They are off by what the vector's inner products differ from their constant.

        Args:
            queries: float32 [query, dim].
            codes: int64 [vector, book].

        Returns:
            float32 [query, vector].

        Raises:
            VqcodecError: the quantizer is not fitted, or the arguments are not what it can use.
        """
        books = self._table("books")
        queries = check_vectors(queries, books.shape[2])
        check_codes(codes, self.sizes)
        squares = queries.square().sum(1, keepdim=True)
        distances = float(self._table("cross")) - (self.num_books - 1) * squares.repeat(1, len(codes))
        for book, code in zip(books, codes.T, strict=True):
            table = squares - 2 * queries @ book.T + book.square().sum(1)  # [query, code]
            distances += table[:, code]
        return distances

    def _shapes(self) -> dict[str, tuple[int | None, ...]]:
        return {"books": (self.num_books, self.codes_per_book, None), "cross": (), "weight": ()}


def inner_products(books: Tensor, codes: Tensor) -> Tensor:
    """Inner products of each vector's codes across books, all pairs i != j: codes [vector, book] -> [vector]."""
    own = sum_of(books.square().sum(2, keepdim=True), codes)[:, 0]
    return sum_of(books, codes).square().sum(1) - own


def _check_penalty(penalty: float) -> float:
    if isinstance(penalty, bool) or not isinstance(penalty, int | float) or not 0 <= penalty < math.inf:
        raise ConfigError(f"penalty is {penalty!r}, not a finite number, 0 or more")
    return float(penalty)


def _books_of(product: OptimizedProductQuantizer) -> Tensor:
    """The books of all parts turned back, zero outside of their part: [book, code, dim]."""
    rotation, *books = product.tables().values()
    blocks = [book.new_zeros(len(book), len(rotation)) for book in books]
    for block, book, part in zip(blocks, books, torch.arange(len(rotation)).tensor_split(len(books)), strict=True):
        block[:, part] = book
    return torch.stack(blocks) @ rotation.T


def descend(vectors: Tensor, books: Tensor, codes: Tensor, weight: float, cross: float) -> Tensor:
    """Books [book, code, dim] of a lower objective, the codes and the constant held."""

    def value_and_slope(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        value, gradient = objective(vectors, books.new_tensor(flat).view_as(books), codes, weight, cross)
        return value, gradient.double().flatten().cpu().numpy()

    start = books.double().flatten().cpu().numpy()
    result = minimize(value_and_slope, start, jac=True, method="L-BFGS-B", options={"maxiter": _LINE_SEARCHES})
    better = books.new_tensor(result.x).view_as(books)
    return better if result.fun < value_and_slope(start)[0] else books


def objective(vectors: Tensor, books: Tensor, codes: Tensor, weight: float, cross: float) -> tuple[float, Tensor]:
    """The objective of fitting, per vector, and its gradient in the books [book, code, dim]."""
    total = sum_of(books, codes)
    excess = inner_products(books, codes) - cross  # [vector]
    error = total - vectors
    value = error.square().sum() + weight * excess.square().sum()
    slopes = (
        2 * error + 4 * weight * excess[:, None] * total
    )  # of the sums, at constant norms of the codes [vector, dim]
    gradient = torch.zeros_like(books)
    for index, code in enumerate(codes.T):
        gradient[index].index_add_(0, code, slopes)
        uses = torch.bincount(code, excess, minlength=books.shape[1]).to(books)
        gradient[index] -= 4 * weight * uses[:, None] * books[index]
    return float(value) / len(vectors), gradient / len(vectors)
