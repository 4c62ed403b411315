"""Conversion of all files of a command, with progress."""

from __future__ import annotations

import functools
import os

import typer

from ..terminal import progress
from ..terminal.messages import FAILURE, say
from .crew import Convert, Crew, Task, attempt
from .outcomes import Totals
from .places import Conversion, Conversions


def run(
    work: Conversions,
    convert: Convert,
    quiet: bool,
    total_s: float | None = None,
    task: Task | None = None,
    jobs: int = 1,
) -> None:
    """Do all conversions.

    Args:
        work: the files.
        convert: converts one of them, in this process.
        quiet: say nothing but errors.
        total_s: seconds of audio of a single file, for the bar, if known.
        task: opens the same converter in other processes.
        jobs: number of processes that share many files.

    Raises:
        Exit: of many files some failed, while the others were done.
        VqcodecError: whatever `convert` raises for a single file.
    """
    if work.many:
        _run_many(work, convert, quiet, task, jobs)
    else:
        _run_file(work.files[0], convert, quiet, total_s)


def _run_file(file: Conversion, convert: Convert, quiet: bool, total_s: float | None) -> None:
    totals = Totals()
    with progress.bar(total_s, quiet) as update:
        outcome = convert(file, lambda done_s: update(done_s, f"{totals.speed(done_s):.0f} x real time"))
    totals.add(file, outcome)
    if not quiet:
        say(f"{file.source} -> {file.target}: {outcome.summary or totals}")


def _run_many(work: Conversions, convert: Convert, quiet: bool, task: Task | None, jobs: int) -> None:
    totals, files = Totals(), work.files
    with Crew(files, task, jobs) as crew, progress.bar(len(files), quiet) as update:

        def show(name: str = "", done_s: float = 0.0) -> None:
            for news in crew.news():
                totals.take(news, files[news.place])
            done = totals.files + totals.failed
            update(done, f"{done}/{len(files)} files, {totals.speed(done_s):.0f} x real time, {name}")

        while (place := crew.take()) is not None:
            name = os.path.basename(files[place].source)
            show(name)
            news = attempt(place, files[place], convert, functools.partial(show, name))
            totals.take(news, files[place])
        while crew.waits():
            show()
        show()  # what the helpers said last
    if not quiet:
        counts = {"failed": totals.failed, "skipped": work.skipped}
        others = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
        count = f"{totals.files} file{'s' * (totals.files != 1)}{others and f' ({others})'}"
        say(f"{count}: {totals}" if totals.files else count)
    if totals.failed:
        raise typer.Exit(FAILURE)
