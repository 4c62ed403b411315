"""Logits -> frequencies of symbols, in integer arithmetic alone.

The frequencies of a distribution add up to 2^16, and each is at least 1. Symbol k of K has the shares from C(k) up to
C(k + 1) - 1, where

    C(k) = k + floor(E(k) * R / 2^40) for k < K, C(K) = 2^16,
    E(k) = e(0) + ... + e(k - 1), e(j) = table[min(largest logit - logit of j, last entry)],
    R = floor((2^16 - K) * 2^40 / E(K)).
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Integers: TypeAlias = NDArray[np.int64]
Small: TypeAlias = NDArray[np.int32]
"""Whole numbers that 32 bits hold: 65536 exponentials of at most 2^14 add up to 2^30."""

SHARE_BITS = 16
TOTAL = 1 << SHARE_BITS
_RECIPROCAL_BITS = 40


def cumulate(logits: Small, table: Small) -> Small:
    """E(1), ..., E(K) of each row: [row, symbol] -> [row, symbol]."""
    below = logits.max(axis=1, keepdims=True) - logits
    sums: Small = np.take(table, below, mode="clip").cumsum(axis=1, dtype=np.int32)
    return sums


def bounds(sums: Small) -> Integers:
    """C(1), ..., C(K) of each row, of what `cumulate` returns [row, symbol]."""
    count = sums.shape[1]
    result = sums * _reciprocals(sums)[:, None]
    result >>= _RECIPROCAL_BITS
    result += np.arange(1, count + 1)
    result[:, -1] = TOTAL
    return result


def frequencies(sums: Small) -> Integers:
    """How many of the 2^16 shares each symbol has [row, symbol]."""
    return np.diff(bounds(sums), axis=1, prepend=0)


def shares_of(sums: Small, symbols: Integers) -> tuple[Integers, Integers]:
    """The first share and the number of shares of one symbol of each row [row]."""
    count, rows = sums.shape[1], np.arange(len(sums))
    before = np.where(symbols > 0, sums[rows, symbols - 1], 0)
    reciprocals = _reciprocals(sums)
    first = symbols + (before * reciprocals >> _RECIPROCAL_BITS)
    end = symbols + 1 + (sums[rows, symbols] * reciprocals >> _RECIPROCAL_BITS)
    end[symbols == count - 1] = TOTAL
    return first, end - first


def find(sums: Small, shares: Integers) -> tuple[Integers, Integers, Integers]:
    """The symbols that shares [row] belong to, with their first share and number of shares, each [row]."""
    ends, rows = bounds(sums), np.arange(len(sums))
    symbols = (ends > shares[:, None]).argmax(axis=1)
    first = np.where(symbols > 0, ends[rows, symbols - 1], 0)
    return symbols, first, ends[rows, symbols] - first


def _reciprocals(sums: Small) -> Integers:
    reciprocals: Integers = (TOTAL - sums.shape[1] << _RECIPROCAL_BITS) // sums[:, -1].astype(np.int64)
    return reciprocals
