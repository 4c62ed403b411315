"""Tables of results on standard output, in as many parts as its width needs."""

from __future__ import annotations

import sys
from collections.abc import Sequence

UNLIMITED = 10_000
"""Width without a terminal."""


def show_results(
    headings: tuple[str, str],
    rows: Sequence[tuple[str, str]],
    columns: Sequence[tuple[str, Sequence[str]]],
    column_width: int,
) -> None:
    """Print a table whose first two columns come back in each part of it.

    Args:
        headings: of the first two columns.
        rows: what these columns hold.
        columns: heading and cells of each of the others.
        column_width: characters that a column takes.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from .messages import printable

    console = Console(width=None if sys.stdout.isatty() else UNLIMITED)
    firsts = [(Text(printable(name)), value) for name, value in rows]
    room = console.width - max((name.cell_len for name, _ in firsts), default=0) - column_width
    fitting = max(1, room // column_width)
    for start in range(0, len(columns), fitting):
        shown = columns[start : start + fitting]
        table = Table(headings[0], box=box.SIMPLE_HEAD)
        for heading in (headings[1], *(heading for heading, _ in shown)):
            table.add_column(heading, justify="right", no_wrap=True)
        for place, first in enumerate(firsts):
            table.add_row(*first, *(cells[place] for _, cells in shown))
        console.print(table)
