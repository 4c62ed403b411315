"""One checkpoint on the disk: written whole or not at all, and checked when it is read.

It is what `torch.save` writes, an archive of members that are stored as they are. Nothing but tensors and plain values
is read from it.
"""

from __future__ import annotations

import contextlib
import os
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from vqcodec.errors import ConfigError, CorruptFile, VqcodecError
from vqcodec.files import atomic_output
from vqcodec.models import checkpoint

from ..config import Recipe
from ..loading import from_dict

MAX_STEP = 1 << 40
"""The last step that a checkpoint may be of."""

_LONGEST_REASON = 200


def write(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint, whole or not at all, into a folder that is made if need be.

    Raises:
        VqcodecError: it cannot be written.
    """
    try:
        path.parent.mkdir(exist_ok=True)
        with atomic_output(path, force=True, durable=True) as file:
            torch.save(state, file)
    except (OSError, RuntimeError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or "is the disk full?"
        raise VqcodecError(f"cannot write {path}: {reason}") from error


def read(path: Path) -> dict[str, Any]:
    """Read a checkpoint, on the CPU, its checksums compared.

    Raises:
        CorruptFile: it cannot be read, or what it says of its run is of the wrong kind.
    """
    try:
        _check_archive(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
        _check_facts(state)
    except Exception as error:
        raise CorruptFile(f"{path} is not a readable checkpoint ({_reason(error).partition('. ')[0]})") from None
    return dict(state)


def recipe_of(path: Path, state: Mapping[str, Any]) -> Recipe:
    """The settings that the run of a checkpoint had.

    Raises:
        ConfigError: they are unknown to this version.
        CorruptFile: there are none, or they are of a model that the file cannot hold.
    """
    if "recipe" not in state:
        raise CorruptFile(f"{path} holds no recipe")
    try:
        recipe = from_dict(state["recipe"])
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    least, held = 4 * checkpoint.least_numbers(recipe.model), os.path.getsize(path)
    if least > held:
        raise CorruptFile(f"{path}: {held} bytes cannot hold the model of its recipe, which has more than {least}")
    return recipe


@contextlib.contextmanager
def taken_over(source: Path) -> Iterator[None]:
    """Turn what goes wrong while the parts of a state are taken over into one line.

    Raises:
        CorruptFile: they do not fit what is to take them over.
    """
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RuntimeError) as error:
        raise CorruptFile(f"{source}: the checkpoint does not fit its recipe ({_reason(error)})") from None


def _check_archive(path: Path) -> None:
    """Refuse packed members, which may unpack to any size, and those whose checksums are wrong."""
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        stored = all(member.compress_type == zipfile.ZIP_STORED for member in members)
        if not stored or sum(member.file_size for member in members) > path.stat().st_size:
            raise zipfile.BadZipFile("it is packed, as no checkpoint is")
        damaged = archive.testzip()
    if damaged is not None:
        raise zipfile.BadZipFile(f"wrong checksum of {damaged}")


def _check_facts(state: object) -> None:
    if not isinstance(state, dict) or type(step := state.get("step")) is not int or not 0 <= step <= MAX_STEP:
        raise ValueError("it is of no step")
    for key in ("decodes", "trained_on_scores"):
        names = state.get(key, [])
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError(f"{key!r} is no list of names")


def _reason(error: Exception) -> str:
    """The first line of a message, or the second where that only announces it."""
    if isinstance(error, KeyError):
        return f"there is no {str(error)[:_LONGEST_REASON]}"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    line = lines[1] if lines[0].endswith(":") and len(lines) > 1 else lines[0]
    return line.rstrip(".")[:_LONGEST_REASON]
