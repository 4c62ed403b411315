"""What a long piece of work tells of itself."""

from __future__ import annotations

from typing import Protocol


class Display(Protocol):
    """Takes news, and the progress."""

    def message(self, text: str) -> None:
        """Take a line of news."""

    def update(self, share: float, text: str) -> None:
        """Take the share that is done, and a few words."""
