"""The processes of a run: which one this is, and what they tell each other."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class World:
    """One process among those that train together."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process writes files and talks."""
        return self.rank == 0

    def share(self, batch: int) -> range:
        """The items of a batch that are this process's, one stretch of it."""
        each = batch // self.size
        return range(self.rank * each, (self.rank + 1) * each)
