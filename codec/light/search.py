"""The search for codes: a beam of sums of codes, as `vqcodec.models.search` does it with torch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
Codes = NDArray[np.int64]

_SCORES_AT_ONCE = 1 << 20
"""Vectors times candidates times codes: few enough for the processor's cache."""


def endings(x: Vectors, books: Sequence[Vectors], silence: Vectors, width: int) -> tuple[Codes, Vectors]:
    """Codes of a residual stack for every number of stages, by a beam of `width` candidates.

    Args:
        x: latents [frame, dim].
        books: a codebook [code, dim] for each stage.
        silence: latent of a frame without codes [dim].
        width: candidate sums that are kept from stage to stage.

    Returns:
        Codes [frame, ending, stage], 0 beyond the ending, and the mean squared errors of the latents
        [frame, ending]; endings are 0, 1, ... stages.
    """
    count = len(books) + 1
    codes, errors = np.zeros((len(x), count, len(books)), np.int64), np.zeros((len(x), count), np.float32)
    errors[:, 0] = np.square(x - silence).mean(-1)
    rows = max(1, _SCORES_AT_ONCE // (width * len(books[0])))
    for begin in range(0, len(x), rows):
        part = slice(begin, begin + rows)
        residuals, paths = x[part, None], np.zeros((len(x[part]), 1, 0), np.int64)
        for ending, book in enumerate(books, 1):
            residuals, paths = _extended(book, residuals, paths, width)
            codes[part, ending, :ending] = paths[:, 0]
            errors[part, ending] = np.square(residuals[:, 0]).mean(-1)
    return codes, errors


def _extended(book: Vectors, residuals: Vectors, paths: Codes, width: int) -> tuple[Vectors, Codes]:
    """The best continuations of candidates by a code of this book, best first: residuals [row, candidate, dim]."""
    rows, candidates, dim = residuals.shape
    scores = residuals.reshape(-1, dim) @ book.T - 0.5 * np.square(book).sum(1)  # minus half of the errors, and
    scores -= 0.5 * np.square(residuals).sum(-1).reshape(-1, 1)  # what all codes of a row have in common
    best = _highest(scores.reshape(rows, -1), min(width, candidates * len(book)))
    parent, code = best // len(book), best % len(book)
    residuals = np.take_along_axis(residuals, parent[..., None], 1) - book[code]
    paths = np.take_along_axis(paths, parent[..., None], 1)
    return residuals, np.concatenate([paths, code[..., None]], axis=-1)


def _highest(scores: Vectors, count: int) -> Codes:
    """Indices of the highest scores of each row, highest first: one after the other, as they are few."""
    found = np.empty((len(scores), count), np.int64)
    rows = np.arange(len(scores))
    for place in range(count):
        found[:, place] = scores.argmax(axis=1)
        scores[rows, found[:, place]] = -np.inf
    return found
