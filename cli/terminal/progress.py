"""The progress bar of encoding and decoding: there on a terminal, else nothing at all."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from .messages import on_terminal, printable

Update = Callable[[float, str], None]
"""A function that is called with how much is done, and a few words."""


@contextlib.contextmanager
def bar(total: float | None, quiet: bool) -> Iterator[Update]:
    """Show a bar on standard error until the body ends, and give the function that moves it on.

    `total` is None where the end is not known.
    """
    if quiet or not on_terminal():
        yield lambda done, text: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (BarColumn(), TextColumn("{task.percentage:>3.0f} %"), TimeRemainingColumn())
    words = TextColumn("{task.fields[text]}", markup=False)
    with Progress(*columns, words, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=total, text="")
        yield lambda done, text: progress.update(task, completed=done, text=printable(text))
