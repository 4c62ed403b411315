"""The files of a command: from the names on the command line to pairs of a source and a target."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import typer

from vqcodec.errors import VqcodecError
from vqcodec.files import STANDARD_STREAM, check_output

VQ = ".vq"


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
    """All files of a command. `many`: any of them may fail without the others. `skipped`: how many exist already."""

    files: tuple[Conversion, ...]
    many: bool
    skipped: int = 0


@dataclass(frozen=True)
class Plan:
    """How a command turns names into files.

    Args:
        suffix: of the outputs, where their names are not given.
        find: lists the files of a folder that are to be converted.
        force: existing outputs are overwritten.
        skip_existing: what has an output already is left out.
    """

    suffix: str
    find: Callable[[Path], Sequence[Path]]
    force: bool = False
    skip_existing: bool = False

    def files(self, names: Sequence[str], out: str | None) -> Conversions:
        """Work out the conversions, and refuse before any work is done what cannot go well.

        Args:
            names: inputs, or one input and its output; a file, a folder or "-" each.
            out: folder to write into; all names are inputs then.

        Raises:
            VqcodecError: a source is missing, or an output exists, cannot be written, or would be another's.
        """
        if "" in names or out == "":
            raise typer.BadParameter("the name of a file is empty")
        if self.force and self.skip_existing:
            raise typer.BadParameter("choose either --force or --skip-existing")
        sources, target = _split(names, out)
        if target is None or not _is_folder(target, out, sources):
            file = Conversion(sources[0], _beside(sources[0], self.suffix) if target is None else target)
            return self._single(file)
        files = [file for source in sources for file in self._into(source, target)]
        return self._many(files)

    def _single(self, file: Conversion) -> Conversions:
        if Path(file.source).is_dir():
            raise typer.BadParameter(f"{file.source} is a folder; name a folder to write into as well")
        if self.skip_existing and file.target != STANDARD_STREAM and os.path.lexists(file.target):
            return Conversions((), many=True, skipped=1)
        _check_file(file, self.force, self.suffix)
        return Conversions((file,), many=False)

    def _into(self, source: str, folder: str) -> list[Conversion]:
        """The files of one input, to be written into a folder."""
        if source == STANDARD_STREAM:
            raise typer.BadParameter("standard input has no name; give its output one, instead of a folder")
        if not os.path.isdir(source):
            return [Conversion(source, os.path.join(folder, Path(source).with_suffix(self.suffix).name))]
        found = self.find(Path(source))
        if not found:
            raise VqcodecError(f"{source}: nothing to convert in this folder")
        return [
            Conversion(str(path), str(folder / path.relative_to(source).with_suffix(self.suffix))) for path in found
        ]

    def _many(self, files: Sequence[Conversion]) -> Conversions:
        _check_clashes(files)
        existing = {file.target for file in files if os.path.lexists(file.target)}
        if existing and not (self.force or self.skip_existing):
            count = f"{len(existing)} of {len(files)} outputs exist already"
            remedy = "add --skip-existing to leave them as they are, or --force to overwrite them"
            raise VqcodecError(f"{count}, such as {min(existing)}; {remedy}")
        plan = Conversions(tuple(files), many=True)
        if not self.skip_existing:
            return plan
        missing = tuple(file for file in files if file.target not in existing)
        return replace(plan, files=missing, skipped=len(files) - len(missing))


def find_vq(folder: Path) -> list[Path]:
    """List the .vq files in a folder and below it, sorted."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() == VQ and path.is_file())


def _split(names: Sequence[str], out: str | None) -> tuple[Sequence[str], str | None]:
    """The inputs, and where they go if that was said."""
    if out is not None:
        return names, out
    if len(names) > 2:
        raise typer.BadParameter("several inputs need a folder to write into; add --out FOLDER")
    return names[:1], names[1] if len(names) == 2 else None


def _is_folder(target: str, out: str | None, sources: Sequence[str]) -> bool:
    """Whether outputs go into a folder called `target`, rather than to a file of that name."""
    source_is_folder = sources[0] != STANDARD_STREAM and os.path.isdir(sources[0])
    if out is None and not source_is_folder and not target.endswith(("/", os.sep)):
        return False
    if target == STANDARD_STREAM:
        if source_is_folder:
            raise typer.BadParameter(f"{sources[0]} is a folder; name a folder to write into as well")
        raise typer.BadParameter("--out is a folder to write into, which standard output is not")
    if os.path.lexists(target) and not os.path.isdir(target):
        raise VqcodecError(f"{target} is a file; {sources[0]} needs a folder to write into")
    return True


def _beside(source: str, suffix: str) -> str:
    return STANDARD_STREAM if source == STANDARD_STREAM else str(Path(source).with_suffix(suffix))


def _check_vq_name(target: str) -> None:
    """Refuse to call a .vq file by the name of a sound file."""
    suffix = Path(target).suffix.lower()
    if suffix in ("", VQ):
        return
    from vqcodec.audio import AUDIO_SUFFIXES

    if suffix in AUDIO_SUFFIXES:
        better = Path(target).with_suffix(VQ)
        remedy = f"call it {better}, or if it is an input as well, add --out FOLDER"
        raise VqcodecError(f"{target} is the name of a sound file, but a .vq file would be written; {remedy}")


def _check_file(file: Conversion, force: bool, suffix: str) -> None:
    if file.source != STANDARD_STREAM and not os.path.exists(file.source):
        raise VqcodecError(f"{file.source}: no such file")
    if file.target == STANDARD_STREAM:
        if sys.stdout.isatty():
            raise VqcodecError("standard output is a terminal; name a file to write, or redirect it")
        return
    if file.source != STANDARD_STREAM and _same(file.source, file.target):
        raise VqcodecError(f"{file.target} is both the input and the output; name another output")
    if suffix == VQ:
        _check_vq_name(file.target)
    check_output(file.target, force)


def _same(path: str, other: str) -> bool:
    return os.path.realpath(path) == os.path.realpath(other) or (
        os.path.exists(other) and os.path.samefile(path, other)
    )


def _check_clashes(files: Sequence[Conversion]) -> None:
    """Refuse outputs that are another's, or an input."""
    sources: dict[str, str] = {}
    for file in files:
        other = sources.setdefault(file.target, file.source)
        if other != file.source:
            raise VqcodecError(f"{other} and {file.source} would both become {file.target}; rename one of them")
    inputs = {os.path.realpath(file.source) for file in files}
    for file in files:
        if os.path.realpath(file.target) in inputs:
            raise VqcodecError(f"{file.target} is both an input and an output; name another folder")
