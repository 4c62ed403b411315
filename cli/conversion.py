"""From the two places on the command line to a list of files to read and to write."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import typer

from vqcodec.errors import VqcodecError
from vqcodec.files import STANDARD_STREAM, check_output


@dataclass(frozen=True)
class Job:
    """One file to read and the one to write; "-" is standard input or output."""

    source: str
    target: str

    @property
    def can_peek(self) -> bool:
        """Whether the source can be read twice: standard input and named pipes cannot."""
        return os.path.isfile(self.source)


@dataclass(frozen=True)
class Plan:
    """All jobs of a command. `is_folder`: they come from a folder, and one may fail without the others."""

    jobs: tuple[Job, ...]
    is_folder: bool


def plan(source: str, target: str | None, suffix: str, find: Callable[[Path], Sequence[Path]], force: bool) -> Plan:
    """Work out the jobs, and refuse before any work is done what cannot go well.

    Args:
        source: a file, a folder or "-".
        target: the same; None for a file puts the output beside it.
        suffix: of the outputs, where their names are not given.
        find: lists the files of a folder that are to be converted.
        force: existing outputs may be overwritten.

    Raises:
        VqcodecError: a source is missing, or an output exists, cannot be written, or would be another's.
    """
    if source != STANDARD_STREAM and Path(source).is_dir():
        jobs = _mirror(Path(source), target, suffix, find)
        _check_folder(jobs, force)
        return Plan(tuple(jobs), is_folder=True)
    job = Job(source, _target_of(source, suffix) if target is None else target)
    _check_file(job, force)
    return Plan((job,), is_folder=False)


def _target_of(source: str, suffix: str) -> str:
    return STANDARD_STREAM if source == STANDARD_STREAM else str(Path(source).with_suffix(suffix))


def _check_file(job: Job, force: bool) -> None:
    if job.source != STANDARD_STREAM and not os.path.exists(job.source):
        raise VqcodecError(f"{job.source}: there is no such file")
    if job.target == STANDARD_STREAM:
        if sys.stdout.isatty():
            raise VqcodecError("standard output is a terminal; name a file to write, or redirect it")
        return
    if job.source != STANDARD_STREAM and _same(job.source, job.target):
        raise VqcodecError(f"{job.target} is both the input and the output; name another output")
    check_output(job.target, force)


def _same(one: str, other: str) -> bool:
    return os.path.realpath(one) == os.path.realpath(other) or (os.path.exists(other) and os.path.samefile(one, other))


def _mirror(root: Path, target: str | None, suffix: str, find: Callable[[Path], Sequence[Path]]) -> list[Job]:
    if target is None or target == STANDARD_STREAM:
        raise typer.BadParameter(f"{root} is a folder; name a folder to write into as well")
    if os.path.lexists(target) and not os.path.isdir(target):
        raise VqcodecError(f"{target} is a file; the folder {root} needs a folder to write into")
    sources = find(root)
    if not sources:
        raise VqcodecError(f"{root}: nothing to convert in this folder")
    return [Job(str(path), str(target / path.relative_to(root).with_suffix(suffix))) for path in sources]


def _check_folder(jobs: Sequence[Job], force: bool) -> None:
    sources: dict[str, str] = {}
    for job in jobs:
        other = sources.setdefault(job.target, job.source)
        if other != job.source:
            raise VqcodecError(f"{other} and {job.source} would both become {job.target}; rename one of them")
    existing = [job.target for job in jobs if os.path.lexists(job.target)]
    if existing and not force:
        count = f"{len(existing)} of {len(jobs)} outputs exist already"
        raise VqcodecError(f"{count}, {existing[0]} for one; add --force to overwrite them")
