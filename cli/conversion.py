"""Conversion of files: from the two places on the command line to the files, done one by one, with progress."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from vqcodec.errors import VqcodecError
from vqcodec.files import STANDARD_STREAM, check_output

from .terminal import progress
from .terminal.messages import FAILURE, error, explain, note, say

if TYPE_CHECKING:
    from vqcodec.codec import FileResult


@dataclass(frozen=True)
class Conversion:
    """A file to read and a file to write; "-" is standard input or output."""

    source: str
    target: str

    @property
    def can_peek(self) -> bool:
        """Whether the source can be read twice: standard input and named pipes cannot."""
        return os.path.isfile(self.source)


@dataclass(frozen=True)
class Conversions:
    """All files of a command. `is_folder`: they come from a folder, and any may fail without the others."""

    files: tuple[Conversion, ...]
    is_folder: bool


def plan(
    source: str, target: str | None, suffix: str, find: Callable[[Path], Sequence[Path]], force: bool
) -> Conversions:
    """Work out the conversions, and refuse before any work is done what cannot go well.

    Args:
        source: a file, a folder or "-".
        target: the same; None for a file puts the output beside it, a slash at the end into a folder, which is made.
        suffix: of the outputs, where their names are not given.
        find: lists the files of a folder that are to be converted.
        force: existing outputs may be overwritten.

    Raises:
        VqcodecError: a source is missing, or an output exists, cannot be written, or would be another's.
    """
    if not source or target == "":
        raise typer.BadParameter("the name of a file is empty")
    if source != STANDARD_STREAM and Path(source).is_dir():
        files = _mirror(Path(source), target, suffix, find)
        _check_folder(files, force)
        return Conversions(tuple(files), is_folder=True)
    file = Conversion(source, _target_of(source, target, suffix))
    _check_file(file, force, makes_folder=target is not None and target != file.target)
    return Conversions((file,), is_folder=False)


def _target_of(source: str, target: str | None, suffix: str) -> str:
    """The file to write: beside the source by default, or in the folder that `target` names by a slash at its end."""
    if target is not None and not target.endswith(("/", os.sep)):
        return target
    if source == STANDARD_STREAM:
        if target is not None:
            raise typer.BadParameter(f"{target} is a folder; name a file for standard input")
        return STANDARD_STREAM
    beside = Path(source).with_suffix(suffix)
    return str(beside if target is None else Path(target) / beside.name)


def _check_file(file: Conversion, force: bool, makes_folder: bool) -> None:
    if file.source != STANDARD_STREAM and not os.path.exists(file.source):
        raise VqcodecError(f"{file.source}: no such file")
    if file.target == STANDARD_STREAM:
        if sys.stdout.isatty():
            raise VqcodecError("standard output is a terminal; name a file to write, or redirect it")
        return
    if file.source != STANDARD_STREAM and _same(file.source, file.target):
        raise VqcodecError(f"{file.target} is both the input and the output; name another output")
    if makes_folder:
        os.makedirs(os.path.dirname(file.target), exist_ok=True)
    check_output(file.target, force)


def _same(path: str, other: str) -> bool:
    return os.path.realpath(path) == os.path.realpath(other) or (
        os.path.exists(other) and os.path.samefile(path, other)
    )


def _mirror(root: Path, target: str | None, suffix: str, find: Callable[[Path], Sequence[Path]]) -> list[Conversion]:
    if target is None or target == STANDARD_STREAM:
        raise typer.BadParameter(f"{root} is a folder; name a folder to write into as well")
    if os.path.lexists(target) and not os.path.isdir(target):
        raise VqcodecError(f"{target} is a file; the folder {root} needs a folder to write into")
    sources = find(root)
    if not sources:
        raise VqcodecError(f"{root}: nothing to convert in this folder")
    return [Conversion(str(path), str(target / path.relative_to(root).with_suffix(suffix))) for path in sources]


def _check_folder(files: Sequence[Conversion], force: bool) -> None:
    sources: dict[str, str] = {}
    for file in files:
        other = sources.setdefault(file.target, file.source)
        if other != file.source:
            raise VqcodecError(f"{other} and {file.source} would both become {file.target}; rename one of them")
    existing = [file.target for file in files if os.path.lexists(file.target)]
    if existing and not force:
        count = f"{len(existing)} of {len(files)} outputs exist already"
        raise VqcodecError(f"{count}, such as {existing[0]}; add --force to overwrite them")


Convert = Callable[[Conversion, Callable[[float], None]], "FileResult"]
"""Converts a file, and calls back now and then with the seconds of audio that are done."""


@dataclass
class Totals:
    """Counts of the files that are done, and of their audio."""

    compressed: Callable[[FileResult], int]
    """Tells how many bytes of a result are those of the .vq file."""
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
        kbps = self.bytes * 8e-3 / self.audio_s if self.audio_s else 0.0
        facts = f"{_duration(self.audio_s)}, {self.bytes} bytes, {kbps:.2f} kbit/s"
        return f"{facts}, {self.speed():.0f} x real time"


def run(
    work: Conversions, convert: Convert, compressed: Callable[[FileResult], int], total_s: float | None, quiet: bool
) -> None:
    """Do all conversions. `total_s`: seconds of audio of a single file, for the bar, if known.

    Raises whatever `convert` raises for a single file; in a folder the others are still done, and the
    command then ends with exit code 1.
    """
    totals = Totals(compressed)
    if work.is_folder:
        _run_folder(work, convert, totals, quiet)
    else:
        _run_file(work.files[0], convert, totals, total_s, quiet)


def _run_file(file: Conversion, convert: Convert, totals: Totals, total_s: float | None, quiet: bool) -> None:
    with progress.bar(total_s, quiet) as update:
        result = convert(file, lambda done_s: update(done_s, f"{totals.speed(done_s):.0f} x real time"))
    totals.add(result)
    _report_damage(file, result)
    if not quiet:
        say(f"{file.source} -> {file.target}: {totals}")


def _run_folder(work: Conversions, convert: Convert, totals: Totals, quiet: bool) -> None:
    with progress.bar(len(work.files), quiet) as update:
        for done, file in enumerate(work.files):

            def show(done_s: float, done: int = done, name: str = os.path.basename(file.source)) -> None:
                update(done, f"{done}/{len(work.files)} files, {totals.speed(done_s):.0f} x real time, {name}")

            show(0.0)
            _run_one(file, convert, totals, show)
    if not quiet:
        failed = f" ({totals.failed} failed)" if totals.failed else ""
        say(f"{totals.files} files{failed}: {totals}")
    if totals.failed:
        raise typer.Exit(FAILURE)


def _run_one(file: Conversion, convert: Convert, totals: Totals, show: Callable[[float], None]) -> None:
    """Do one file of a folder; a failure is reported and counted."""
    try:
        os.makedirs(os.path.dirname(file.target), exist_ok=True)
        result = convert(file, show)
    except Exception as failure:
        text = explain(failure)
        if text is None:
            raise
        error(text if file.source in text else f"{file.source}: {text}")
        totals.failed += 1
        return
    totals.add(result)
    _report_damage(file, result)


def _report_damage(file: Conversion, result: FileResult) -> None:
    """Say what was wrong with a file of which only a part could be used."""
    if result.damage is not None:
        note(f"{file.source} is damaged; {result.duration_s:.1f} s of audio were saved ({result.damage})")


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 600 else f"{seconds / 3600:.2f} h"
