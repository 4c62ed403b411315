"""What the user names -> the items of the corpus, in an order that is always the same."""

from __future__ import annotations

import gzip
import json
import os
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from vqcodec import audio
from vqcodec.errors import AudioError, ConfigError

from ..data import corpora
from . import containers, fields
from .items import Item

MANIFESTS = (".jsonl", ".jsonl.gz", ".json")
CONTAINERS = (".tar", ".parquet")


def items_of(inputs: Sequence[Path]) -> Iterator[Item]:
    """List the sounds of folders, tar files, parquet files, manifests (JSON lines) and single sound files.

    In a folder these are its sound files, and where there are none its tar and parquet files. What cannot be read is
    an item with a fault.

    Raises:
        ConfigError: an input is missing, or is nothing of these.
        AudioError: there is nothing in a folder.
    """
    for path in inputs:
        if path.is_dir():
            yield from _in_folder(path)
        elif not path.exists():
            raise ConfigError(f"{path}: no such file or folder")
        else:
            yield from _in_file(path)


def _in_file(path: Path) -> Iterator[Item]:
    if path.suffix == ".tar":
        yield from containers.in_tar(path)
    elif path.suffix == ".parquet":
        yield from containers.in_table(path)
    elif path.name.endswith(MANIFESTS):
        yield from _in_manifest(path)
    elif path.suffix.lower() in audio.AUDIO_SUFFIXES:
        yield Item(str(path), path.stem, duration_s=_duration_s(path))
    else:
        known = ", ".join((*CONTAINERS, *MANIFESTS))
        raise ConfigError(f"{path} is neither a sound file nor one of {known}")


def _in_folder(folder: Path) -> Iterator[Item]:
    held = sorted(path for path in folder.rglob("*") if path.suffix in CONTAINERS and path.is_file())
    if held and not audio.find(folder):
        for path in held:
            yield from _in_file(path)
        return
    for recording in corpora.find([folder]):
        name = recording.path.relative_to(folder).with_suffix("").as_posix()
        yield Item(str(recording.path), name, duration_s=_duration_s(recording.path), speaker=recording.speaker)


def _duration_s(path: Path) -> float | None:
    """What a sound file says of its length, for the plan."""
    try:
        with audio.Reader(path) as reader:
            return reader.duration_s
    except AudioError:
        return None  # whoever encodes it will say why


def _in_manifest(path: Path) -> Iterator[Item]:
    folder, number = str(path.parent), 0
    try:
        with _opened(path) as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield _in_line(line, str(path), folder, number)
    except (OSError, EOFError, zlib.error) as error:
        yield Item(str(path), f"{path.name}:{number + 1}", fault=f"cannot be read any further: {error}")


def _in_line(line: bytes, path: str, folder: str, number: int) -> Item:
    name = f"{os.path.basename(path)}:{number}"
    try:
        return fields.item_of(json.loads(line), folder, name)
    except RecursionError:
        fault = "nested too deep"
    except ValueError as error:
        fault = str(error)
    return Item(path, name, fault=f"line {number}: {fault}")


def _opened(path: Path) -> IO[bytes]:
    return gzip.open(path) if path.suffix == ".gz" else open(path, "rb")  # type: ignore[return-value]
