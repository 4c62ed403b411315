"""Runs a plan, file by file, with progress, and sums up what it took."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import typer

from . import progress
from .conversion import Job, Plan
from .messages import FAILURE, error, explain, note, say

if TYPE_CHECKING:
    from vqcodec.codec import FileResult

Convert = Callable[[Job, Callable[[float], None]], "FileResult"]
"""Does one job, and calls back now and then with the seconds of audio that are done."""


@dataclass
class Totals:
    """What has been done so far."""

    compressed: Callable[[FileResult], int]
    """Which bytes of a result are those of the .vq file."""
    files: int = 0
    failed: int = 0
    audio_s: float = 0.0
    bytes: int = 0
    started: float = field(default_factory=time.perf_counter)

    def add(self, result: FileResult) -> None:
        """Count a file that is done."""
        self.files += 1
        self.audio_s += result.duration_s
        self.bytes += self.compressed(result)

    def speed(self, more_s: float = 0.0) -> float:
        """Seconds of audio, with `more_s` of a file that is not done yet, per second."""
        return (self.audio_s + more_s) / max(time.perf_counter() - self.started, 1e-9)

    def __str__(self) -> str:
        rate = self.bytes * 8e-3 / self.audio_s if self.audio_s else 0.0
        facts = f"{_duration(self.audio_s)}, {self.bytes} bytes, {rate:.2f} kbit/s"
        return f"{facts}, {self.speed():.0f} x real time"


def run(
    plan: Plan, convert: Convert, compressed: Callable[[FileResult], int], total_s: float | None, quiet: bool
) -> None:
    """Do all jobs of a plan. `total_s`: seconds of audio of a single file, for the bar, if known.

    Raises whatever `convert` raises for a single file; in a folder the others are still done, and the
    command then ends with exit code 1.
    """
    totals = Totals(compressed)
    if plan.is_folder:
        _run_folder(plan, convert, totals, quiet)
    else:
        _run_file(plan.jobs[0], convert, totals, total_s, quiet)


def _run_file(job: Job, convert: Convert, totals: Totals, total_s: float | None, quiet: bool) -> None:
    with progress.bar(total_s, quiet) as update:
        result = convert(job, lambda done_s: update(done_s, f"{totals.speed(done_s):.0f} x real time"))
    totals.add(result)
    _report_damage(job, result)
    if not quiet:
        say(f"{job.source} -> {job.target}: {totals}")


def _run_folder(plan: Plan, convert: Convert, totals: Totals, quiet: bool) -> None:
    with progress.bar(len(plan.jobs), quiet) as update:
        for done, job in enumerate(plan.jobs):

            def show(done_s: float, done: int = done, name: str = os.path.basename(job.source)) -> None:
                update(done, f"{done}/{len(plan.jobs)} files, {totals.speed(done_s):.0f} x real time, {name}")

            show(0.0)
            _run_one(job, convert, totals, show)
    if not quiet:
        failed = f" ({totals.failed} failed)" if totals.failed else ""
        say(f"{totals.files} files{failed}: {totals}")
    if totals.failed:
        raise typer.Exit(FAILURE)


def _run_one(job: Job, convert: Convert, totals: Totals, show: Callable[[float], None]) -> None:
    """Do one file of a folder; a failure is reported and counted."""
    try:
        os.makedirs(os.path.dirname(job.target), exist_ok=True)
        result = convert(job, show)
    except Exception as failure:
        text = explain(failure)
        if text is None:
            raise
        error(text if job.source in text else f"{job.source}: {text}")
        totals.failed += 1
        return
    totals.add(result)
    _report_damage(job, result)


def _report_damage(job: Job, result: FileResult) -> None:
    """Say what was wrong with a file that was salvaged."""
    if result.damage is not None:
        note(f"{job.source} is damaged; {result.duration_s:.1f} s of audio were saved ({result.damage})")


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 600 else f"{seconds / 3600:.2f} h"
