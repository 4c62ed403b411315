"""The progress bar of the commands: there on a terminal, else nothing at all, or a line now and then."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from .messages import on_terminal, printable, say

Update = Callable[[float, str], None]
"""A function that is called with how much is done, and a few words."""


@contextlib.contextmanager
def bar(total: float | None, quiet: bool, lines: bool = False) -> Iterator[Update]:
    """Show a bar on standard error until the body ends, and give the function that moves it on.

    Args:
        total: how much there is to do; None where that is not known.
        quiet: show nothing.
        lines: without a terminal, print a line for every tenth.
    """
    if quiet or not on_terminal():
        yield _lines(total) if lines and total and not quiet else lambda done, text: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (BarColumn(), TextColumn("{task.percentage:>3.0f} %"), TimeRemainingColumn())
    words = TextColumn("{task.fields[text]}", markup=False)
    with Progress(*columns, words, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=total, text="")
        yield lambda done, text: progress.update(task, completed=done, text=printable(text))


class News:
    """News of a training go to the bar, where there is one; else a line tells each of them.

    Args:
        update: moves the bar on.
        quiet: tell nothing.
    """

    def __init__(self, update: Update, quiet: bool) -> None:
        self.update = update
        self._plain = not quiet and not on_terminal()

    def message(self, text: str) -> None:
        """Take a line of news."""
        if self._plain:
            say(text)


def _lines(total: float) -> Update:
    """Make a function that prints a line whenever another tenth is done, or something else is being done."""
    last = (-1, "")

    def update(done: float, text: str) -> None:
        nonlocal last
        now = (int(10 * done / total), text)
        if now != last:
            last = now
            say(f"{10 * now[0]:3} %  {text}")

    return update
