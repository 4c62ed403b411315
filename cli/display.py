"""How a training run looks: a live panel on a terminal, else one plain line an update."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from .messages import on_terminal, say

if TYPE_CHECKING:
    from rich.console import RenderableType

    from vqcodec.recipes.train import Display

SPEED = "audio_s_per_s"
"""The metric that is no loss term: seconds of audio a second."""


@contextlib.contextmanager
def training_display() -> Iterator[Display]:
    """The display that suits standard error, as long as the body runs."""
    if not on_terminal():
        yield PlainDisplay()
        return
    with LiveDisplay() as display:
        yield display


class Clock:
    """Tells how long a run will still take, from the pace since it began."""

    def __init__(self) -> None:
        self._first: tuple[int, float] | None = None

    def remaining(self, step: int, steps: int) -> str:
        """Time until the last step, as hours, minutes and seconds; "?" while unknown."""
        now = time.monotonic()
        if self._first is None:
            self._first = (step, now)
        first_step, first_time = self._first
        if step == first_step:
            return "?"
        return clock_time((steps - step) * (now - first_time) / (step - first_step))


def clock_time(seconds: float) -> str:
    """Hours, minutes and seconds: "1:02:03"."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


class PlainDisplay:
    """One line on standard error for every piece of news."""

    def __init__(self) -> None:
        self._clock = Clock()

    def message(self, text: str) -> None:
        """Show one line of news."""
        say(text)

    def update(self, step: int, steps: int, metrics: Mapping[str, float], perplexities: Sequence[float]) -> None:
        """Show the means since the last update."""
        parts = [f"step {step}/{steps}", *(f"{name} {value:.4g}" for name, value in metrics.items())]
        if perplexities:
            parts.append("perplexity " + " ".join(f"{value:.0f}" for value in perplexities))
        say(", ".join([*parts, f"remaining {self._clock.remaining(step, steps)}"]))

    def validation(self, step: int, metrics: Mapping[str, float]) -> None:
        """Show the scores on the held-out files."""
        say(validation_line(step, metrics))


class LiveDisplay:
    """A progress bar, a table of the loss terms and the perplexity of each stage, redrawn in place."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self._clock = Clock()
        self._console = Console(stderr=True)
        self._live = Live(console=self._console, refresh_per_second=4)

    def __enter__(self) -> LiveDisplay:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def message(self, text: str) -> None:
        """Show one line of news above the panel."""
        self._console.print(text, markup=False, highlight=False)

    def update(self, step: int, steps: int, metrics: Mapping[str, float], perplexities: Sequence[float]) -> None:
        """Redraw the panel with the means since the last update."""
        from rich.console import Group

        parts = [self._bar(step, steps, metrics.get(SPEED, 0.0)), _table(metrics)]
        if perplexities:
            parts.append("perplexity  " + "  ".join(f"{value:4.0f}" for value in perplexities))
        self._live.update(Group(*parts))

    def validation(self, step: int, metrics: Mapping[str, float]) -> None:
        """Show the scores on the held-out files above the panel, where they stay."""
        self.message(validation_line(step, metrics))

    def _bar(self, step: int, steps: int, speed: float) -> RenderableType:
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        row = Table.grid(padding=(0, 2))
        remaining = self._clock.remaining(step, steps)
        facts = (f"{speed:.0f} audio s/s", f"{remaining} remaining")
        row.add_row(f"step {step}/{steps}", ProgressBar(steps, step, width=30), *facts)
        return row


def validation_line(step: int, metrics: Mapping[str, float]) -> str:
    """Scores in one line."""
    scores = ", ".join(f"{name} {value:.4g}" for name, value in metrics.items())
    return f"step {step}, held-out files: {scores}"


def _table(metrics: Mapping[str, float]) -> RenderableType:
    """The loss terms side by side."""
    from rich.table import Table

    shown = {name: value for name, value in metrics.items() if name != SPEED}
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in shown:
        table.add_column(name.replace("_", " "), justify="right")
    table.add_row(*(f"{value:.4g}" for value in shown.values()))
    return table
