"""The search for codes, which bottlenecks and quantizers share: the nearest code, and a beam of sums of codes.

The nearest code c of a vector x has the highest score x c - |c|^2 / 2, because |x - c|^2 = |x|^2 - 2 score.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

BATCH = 1 << 16
"""Vectors that a pass over a large set takes at a time."""

_CPU_SCORES = 1 << 20
"""Scores, vectors times codes, that `nearest` holds at a time: few enough to stay in the processor's cache."""

_DEVICE_SCORES = 1 << 26
"""The limit on a GPU, where many small batches would be slower than a few large batches."""

_BEAM_SCORES = 1600 << 10
"""Scores, vectors times candidates times codes, that a beam search holds at a time: few enough for the shared cache."""

_GROUP = 64
"""Size of the groups of neighbours that `_highest` compares by their maxima."""

_FEW = 3
"""Highest values that the CPU finds faster one after the other than with `topk`."""

_MIN_GROUPS = 8
"""Groups for each index that is asked for, from which on `_highest` is faster than `topk`."""


def scores(x: Tensor, codes: Tensor) -> Tensor:
    """Scores of codes [code, dim] for vectors [..., dim], highest for the nearest code: float32 [..., code]."""
    offset = -0.5 * codes.square().sum(1)
    with torch.autocast(x.device.type, enabled=False):  # bfloat16 would mistake codes that lie close together
        flat = torch.addmm(offset, x.reshape(-1, codes.shape[1]), codes.T)
    return flat.reshape(*x.shape[:-1], len(codes))


@torch.no_grad()
def nearest(x: Tensor, codes: Tensor, origin: Tensor | None = None) -> Tensor:
    """Index of the nearest code, the lowest on a tie.

    Args:
        x: float32 [vector, dim].
        codes: float32 [code, dim], on the same device.
        origin: [dim]. Vectors and codes are taken relative to it: what is far from zero would otherwise lose its
            digits in the products. Zero if None.

    Returns:
        int64 [vector].
    """
    if origin is not None:
        codes = codes - origin
    most = _CPU_SCORES if x.device.type == "cpu" else _DEVICE_SCORES
    return in_batches(
        lambda part: argmax(scores(part if origin is None else part - origin, codes)), x, most // len(codes)
    )


def greedy_search(x: Tensor, books: Sequence[Tensor], find: Callable[[Tensor, Tensor], Tensor] = nearest) -> Tensor:
    """Codes of a residual stack, at every stage the nearest code to the residual of those before.

    Args:
        x: float32 [vector, dim].
        books: a codebook [code, dim] for each stage.
        find: function of vectors and a codebook that returns the indices of the nearest codes.

    Returns:
        int64 [vector, stage].
    """
    codes = []
    for book in books:
        codes.append(find(x, book))
        x = x - book[codes[-1]]
    return torch.stack(codes, dim=1)


def beam_search(x: Tensor, books: Sequence[Tensor], width: int) -> Tensor:
    """Codes of a residual stack whose sum comes close to each vector: the best of the candidates kept to the end.

    Args:
        x: float32 [vector, dim].
        books: a codebook [code, dim] for each stage, all of the same size.
        width: candidate sums that are kept from stage to stage.

    Returns:
        int64 [vector, stage].
    """

    def search(part: Tensor) -> Tensor:
        residuals, paths = start_beam(part)
        for book in books:
            residuals, paths = extend_beam(book, residuals, paths, width)
        return paths[:, 0]  # best first

    return in_batches(search, x, beam_batch(width, len(books[0])))


def prefix_search(x: Tensor, books: Sequence[Tensor], width: int) -> tuple[Tensor, Tensor]:
    """Codes of a residual stack for every number of stages: the best candidate of the beam wherever it may end.

    Args:
        x: float32 [vector, dim].
        books: a codebook [code, dim] for each stage, all of the same size.
        width: candidate sums that are kept from stage to stage.

    Returns:
        Codes int64 [vector, ending, stage], the first `ending` of a row being those of a vector of as many stages and
        the others 0; and the mean squared errors of all endings, of 0 to all stages, float32 [vector, ending].
    """
    endings = len(books) + 1

    def search(part: Tensor) -> Tensor:
        residuals, paths = start_beam(part)
        found = part.new_zeros(len(part), endings, endings)  # errors and codes side by side, for `in_batches`
        found[:, 0, 0] = part.square().mean(-1)
        for ending, book in enumerate(books, 1):
            residuals, paths = extend_beam(book, residuals, paths, width)
            found[:, ending, 0] = residuals[:, 0].square().mean(-1)
            found[:, ending, 1 : 1 + ending] = paths[:, 0]
        return found

    found = in_batches(search, x, beam_batch(width, len(books[0])))
    return found[..., 1:].long(), found[..., 0]


def beam_batch(width: int, size: int) -> int:
    """Number of vectors to search at a time with beams of that width and codebooks of that size."""
    return max(1, _BEAM_SCORES // (width * size))


def start_beam(x: Tensor) -> tuple[Tensor, Tensor]:
    """The only candidate before the first stage: residuals [vector, 1, dim] and empty paths [vector, 1, 0]."""
    return x.unsqueeze(1), torch.zeros(len(x), 1, 0, dtype=torch.int64, device=x.device)


def extend_beam(book: Tensor, residuals: Tensor, paths: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """Continue a beam by one stage: the `width` best of all continuations by a code of this book, best first.

    Args:
        book: [code, dim].
        residuals: what each candidate leaves over [vector, candidate, dim].
        paths: codes of each candidate so far, int64 [vector, candidate, stage].
        width: candidates to keep; fewer are kept where there are fewer continuations.

    Returns:
        Residuals and paths of the new candidates.
    """
    values, size = scores(residuals, book), len(book)
    halves = 0.5 * residuals.square().sum(-1)  # scores less these are minus half of the errors
    best = _highest(values, halves, min(width, values.shape[1] * size))
    parent, code = best // size, best % size
    residuals = _rows(residuals, parent) - book[code]
    return residuals, torch.cat([_rows(paths, parent), code.unsqueeze(-1)], dim=-1)


def _highest(values: Tensor, less: Tensor, count: int) -> Tensor:
    """Indices of the `count` highest of all values in a row, highest first.

    They lie in the `count` groups of neighbours with the highest maxima, and maxima are computed much faster than a
    sorted selection.

    Args:
        values: [row, candidate, code].
        less: to be subtracted from the values of each candidate [row, candidate].
        count: how many.

    Returns:
        int64 [row, count], into the flat values of the row.
    """
    rows, candidates, size = values.shape
    if size % _GROUP or candidates * size // _GROUP < _MIN_GROUPS * count:
        return _top((values - less.unsqueeze(-1)).flatten(1), count)
    groups = values.view(rows, candidates, -1, _GROUP)
    maxima = groups.amax(-1) - less.unsqueeze(-1)  # [row, candidate, group]
    chosen = _top(maxima.flatten(1), count)  # [row, count]
    within = _rows(groups.flatten(1, 2), chosen) - _rows(less.unsqueeze(-1), chosen // groups.shape[2])
    place = _top(within.flatten(1), count)
    return chosen.gather(1, place // _GROUP) * _GROUP + place % _GROUP


def _top(values: Tensor, count: int) -> Tensor:
    """Indices of the `count` highest values of each row, highest first: [row, value] -> int64 [row, count]."""
    if count > _FEW or values.device.type != "cpu":
        return argmax(values).unsqueeze(1) if count == 1 else values.topk(count).indices
    found = [argmax(values).unsqueeze(1)]
    for _ in range(count - 1):
        values = values.scatter(1, found[-1], -torch.inf)
        found.append(argmax(values).unsqueeze(1))
    return torch.cat(found, dim=1)


def _rows(x: Tensor, index: Tensor) -> Tensor:
    """Select x[i, index[i, j]] of x [row, place, value]: [row, j, value]."""
    first = torch.arange(len(x), device=x.device).unsqueeze(1) * x.shape[1]
    return x.flatten(0, 1).index_select(0, (first + index).flatten()).view(*index.shape, x.shape[2])


def argmax(values: Tensor) -> Tensor:
    """Index of the highest value of each row, the lowest on a tie: [row, value] -> int64 [row]."""
    if values.device.type != "cpu" or torch.compiler.is_compiling():
        return values.argmax(1)
    return torch.from_numpy(values.numpy().argmax(1))  # ten times as fast as torch's


def in_batches(function: Callable[[Tensor], Tensor], rows: Tensor, size: int = BATCH) -> Tensor:
    """Apply a function to rows [row, ...], `size` at a time (at least 1), and join its results [row, ...].

    Every result goes to its place at once: thousands of small ones, kept until the end, would fragment the memory.
    """
    size = max(1, size)
    first, *others = torch.split(rows, size)
    result = function(first)
    if not others:
        return result
    joined = result.new_empty(len(rows), *result.shape[1:])
    joined[: len(first)] = result
    for index, part in enumerate(others, 1):
        joined[index * size : index * size + len(part)] = function(part)
    return joined
