"""Which of the last sequence numbers have been seen: packets that come twice are found in bounded memory."""

from __future__ import annotations

SIZE = 1024
"""Numbers behind the highest that are told apart; what is older counts as seen."""


class ReplayWindow:
    """Remembers the last 1024 numbers behind the highest (RFC 4303, section 3.4.3)."""

    def __init__(self) -> None:
        self.highest: int | None = None
        """The highest number seen."""
        self._seen = 0  # bit i: highest - i

    def is_new(self, number: int) -> bool:
        """Whether a number is neither seen nor too old to tell."""
        if self.highest is None or number > self.highest:
            return True
        behind = self.highest - number
        return behind < SIZE and not self._seen >> behind & 1

    def see(self, number: int) -> None:
        """Note a number that is new."""
        if self.highest is None or number > self.highest:
            ahead = SIZE if self.highest is None else min(SIZE, number - self.highest)
            self._seen = (self._seen << ahead | 1) & ((1 << SIZE) - 1)
            self.highest = number
        else:
            self._seen |= 1 << self.highest - number
