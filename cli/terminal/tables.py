"""Tables of results on standard output, in as many parts as its width needs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from rich.table import Table

UNLIMITED = 10_000
"""Width without a terminal."""
NARROW = 80
"""Width that every terminal has."""

Column: TypeAlias = tuple[str, Sequence[str]]
"""Heading and cells."""


def show_narrow(headings: tuple[str, str], rows: Sequence[tuple[str, str]], columns: Sequence[Column]) -> list[str]:
    """Print a table of the first columns, as many as fit into 80 characters.

    Args:
        headings: of the two columns that are always there.
        rows: what these columns hold.
        columns: the others, the most important ones first.

    Returns:
        The headings of the columns that are left out.
    """
    from rich.console import Console
    from rich.measure import Measurement

    console = Console(width=UNLIMITED)
    shown = 1
    while shown < len(columns):
        table = _table(headings, rows, columns[: shown + 1])
        if Measurement.get(console, console.options, table).maximum > NARROW:
            break
        shown += 1
    console.print(_table(headings, rows, columns[:shown]))
    return [heading for heading, _ in columns[shown:]]


def show_results(
    headings: tuple[str, str],
    rows: Sequence[tuple[str, str]],
    columns: Sequence[Column],
    column_width: int,
) -> None:
    """Print all of a table whose first two columns come back in each part of it.

    Args:
        headings: of the first two columns.
        rows: what these columns hold.
        columns: heading and cells of each of the others.
        column_width: characters that a column takes.
    """
    from rich.cells import cell_len
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else UNLIMITED)
    room = console.width - max((cell_len(name) for name, _ in rows), default=0) - column_width
    fitting = max(1, room // column_width)
    for start in range(0, len(columns), fitting):
        console.print(_table(headings, rows, columns[start : start + fitting]))


def _table(headings: tuple[str, str], rows: Sequence[tuple[str, str]], columns: Sequence[Column]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from .messages import printable

    table = Table(headings[0], box=box.SIMPLE_HEAD)
    for heading in (headings[1], *(heading for heading, _ in columns)):
        table.add_column(heading, justify="right", no_wrap=True)
    for place, (name, value) in enumerate(rows):
        table.add_row(Text(printable(name)), value, *(cells[place] for _, cells in columns))
    return table
