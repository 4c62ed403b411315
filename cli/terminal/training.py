"""The display of a training run: a live panel on a terminal, else one plain line an update."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from .messages import leads, on_terminal, printable, say
from .metric_names import in_words

if TYPE_CHECKING:
    from rich.console import RenderableType

    from vqcodec.models.config import ModelConfig
    from vqcodec.recipes.training.dry_run import TrainingPlan
    from vqcodec.recipes.training.train import Display

SPEED = "audio_s_per_s"
DATA_SHARE = "data_share"
"""The metrics that the panel shows beside its bar: seconds of audio per second, and the share of time without data."""

_MEGA = 1e6


@contextlib.contextmanager
def training_display() -> Iterator[Display]:
    """The display that suits standard error, as long as the body runs."""
    if not (leads() and on_terminal()):
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
        parts = [f"step {step}/{steps}", *_described(metrics)]
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
        self._console.print(printable(text), markup=False, highlight=False)

    def update(self, step: int, steps: int, metrics: Mapping[str, float], perplexities: Sequence[float]) -> None:
        """Redraw the panel with the means since the last update."""
        from rich.console import Group

        parts = [self._bar(step, steps, metrics), _cells(metrics)]
        if perplexities:
            parts.append("perplexity  " + "  ".join(f"{value:4.0f}" for value in perplexities))
        self._live.update(Group(*parts))

    def validation(self, step: int, metrics: Mapping[str, float]) -> None:
        """Show the scores on the held-out files above the panel, where they stay."""
        self.message(validation_line(step, metrics))

    def _bar(self, step: int, steps: int, metrics: Mapping[str, float]) -> RenderableType:
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        row = Table.grid(padding=(0, 2))
        remaining = self._clock.remaining(step, steps)
        speed, waited = metrics.get(SPEED, 0.0), metrics.get(DATA_SHARE, 0.0)
        facts = (f"{speed:.0f} s of audio per s", f"{waited:.0%} waiting for data", f"{remaining} remaining")
        row.add_row(f"step {step}/{steps}", ProgressBar(steps, step, width=30), *facts)
        return row


def validation_line(step: int, metrics: Mapping[str, float]) -> str:
    """Scores in one line."""
    return f"step {step}, held-out files: {', '.join(_described(metrics))}"


def _described(metrics: Mapping[str, float]) -> list[str]:
    """Names in plain words, and values with their units."""
    return [" ".join(in_words(name, value)) for name, value in metrics.items()]


def _cells(metrics: Mapping[str, float]) -> RenderableType:
    """The loss terms side by side, in as many rows as it takes."""
    from rich.columns import Columns
    from rich.text import Text

    shown = [in_words(name, value) for name, value in metrics.items() if name not in (SPEED, DATA_SHARE)]
    return Columns([Text.assemble((name, "dim"), f" {value}") for name, value in shown], padding=(0, 2))


def show_plan(plan: TrainingPlan) -> None:
    """Print what a run will cost, on standard output."""
    from rich.console import Console
    from rich.table import Table

    table = Table.grid(padding=(0, 3))
    for name, value in plan_rows(plan):
        table.add_row(name, value)
    Console(highlight=False, markup=False).print(table)


def _bitrates(model: ModelConfig) -> str:
    """Name the bitrates of a model: "0.4 to 3.2 kbit/s"."""
    rates = " to ".join(f"{bps / 1000:g}" for bps in sorted({*model.bitrates_bps[:1], *model.bitrates_bps[-1:]}))
    return f"{rates} kbit/s" if rates else f"no codes ({model.bottleneck})"


def plan_rows(plan: TrainingPlan) -> list[tuple[str, str]]:
    """A plan as names and values."""
    model, data, run = plan.recipe.model, plan.recipe.data, plan.recipe.run
    parts = ", ".join(f"{name} {count / _MEGA:.2f} M" for name, count in plan.parameters.items())
    rows = [
        ("model", f"{model.name}: {model.sample_rate} Hz, {_bitrates(model)}"),
        ("latency", f"{1000 * model.latency_s:.0f} ms"),
        ("parameters", f"{sum(plan.parameters.values()) / _MEGA:.2f} M: {parts}"),
    ]
    if plan.discriminators:
        rows.append(("discriminators", f"{plan.discriminators / _MEGA:.2f} M, for training only"))
    rows += [
        ("arithmetic", ", ".join(f"{name} {macs / 1e9:.3f} GMAC/s" for name, macs in plan.macs_per_s.items())),
        ("batch", f"{data.batch_size} x {data.crop_s:g} s, {run.precision}, on {plan.device}"),
    ]
    rows += [
        (f"{phase.name}", f"{phase.steps} steps of {phase.step_s:.3g} s, {3600 / phase.step_s:.0f} an hour")
        for phase in plan.phases
    ]
    memory = "unknown" if plan.peak_bytes is None else f"{plan.peak_bytes / _MEGA:.0f} MB at most"
    return [
        *rows,
        ("whole run", f"{clock_time(plan.duration_s)} (hours:minutes:seconds), validation aside"),
        ("memory", memory),
        ("disk", f"{plan.disk_bytes / _MEGA:.0f} MB for checkpoints of {plan.checkpoint_bytes / _MEGA:.0f} MB"),
    ]
