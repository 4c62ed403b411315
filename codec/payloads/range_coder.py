"""Symbols with frequencies <-> bytes: an asymmetric numeral system (Duda 2013, "Asymmetric numeral systems").

The state x of the coder is a whole number. A symbol with f of the 2^16 shares, the first of which is c, turns it into

    floor(x / f) * 2^16 + c + x mod f,

and the decoder, which finds the symbol by the share x mod 2^16, turns it back. Words of 16 bits leave the encoder
before x reaches 2^48, and return as soon as x is below 2^32, as long as there are any. The encoder begins with x = 256
and takes the symbols from last to first; the decoder must end there. The words are written in the order in which the
decoder needs them, each with its high byte first; the first of them without its high byte if that is zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from ..errors import CorruptFile

_WORD_BITS = 16
_WORD = (1 << _WORD_BITS) - 1
_LOW = 1 << 32
_START = 1 << 8


def encode(symbols: Iterable[tuple[int, int]]) -> bytes:
    """Symbols, from last to first, as pairs of first share and number of shares -> bytes."""
    state = _START
    words: list[int] = []
    for first, shares in symbols:
        if state >= shares << 32:
            words.append(state & _WORD)
            state >>= _WORD_BITS
        quotient, remainder = divmod(state, shares)
        state = (quotient << _WORD_BITS) + first + remainder
    while state:
        words.append(state & _WORD)
        state >>= _WORD_BITS
    data = np.array(words[::-1], ">u2").tobytes()
    return data[1:] if data[0] == 0 else data


class Decoder:
    """Decodes several payloads side by side.

    Args:
        payloads: of each stream, what `encode` returned.
    """

    def __init__(self, payloads: Sequence[bytes]) -> None:
        whole = [payload.rjust(len(payload) + len(payload) % 2, b"\0") for payload in payloads]
        self._proper = np.array([len(payload) > 0 and payload[0] > 0 for payload in payloads], bool)
        self._lengths = np.array([len(payload) // 2 for payload in whole], np.int64)
        self._words = np.zeros((len(whole), max(self._lengths, default=0) + 1), np.int64)
        for row, payload in zip(self._words, whole, strict=True):
            row[: len(payload) // 2] = np.frombuffer(payload, ">u2")
        self._position = np.zeros(len(whole), np.int64)
        self._state = np.zeros(len(whole), np.int64)
        everything = np.arange(len(whole))
        for _ in range(3):
            self._refill(everything, self._state)

    def shares(self, streams: NDArray[np.int64]) -> NDArray[np.int64]:
        """The share, 0 to 2^16 - 1, that the next symbol of each of these streams has."""
        return self._state[streams] & _WORD

    def advance(self, streams: NDArray[np.int64], first: NDArray[np.int64], shares: NDArray[np.int64]) -> None:
        """Go on behind the next symbol of these streams, its first share and number of shares being known."""
        state = self._state[streams]
        self._refill(streams, shares * (state >> _WORD_BITS) + (state & _WORD) - first)

    @property
    def starved(self) -> bool:
        """Whether a stream has ended before its symbols did: those to come would be wrong."""
        return bool(((self._state < _LOW) & (self._position == self._lengths)).any())

    def finish(self) -> None:
        """Check that every stream is at its end.

        Raises:
            CorruptFile: one is not.
        """
        fine = self._proper & (self._state == _START) & (self._position == self._lengths)
        if not fine.all():
            raise CorruptFile("a payload does not end where its codes do")

    def _refill(self, streams: NDArray[np.int64], state: NDArray[np.int64]) -> None:
        position = self._position[streams]
        empty = (state < _LOW) & (position < self._lengths[streams])
        word = self._words[streams, position]
        self._state[streams] = np.where(empty, state << _WORD_BITS | word, state)
        self._position[streams] = position + empty
