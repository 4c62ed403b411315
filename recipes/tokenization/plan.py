"""The plan of a job: which items there are, how they are cut into parts, and what the codes are made with.

plan.json      the inputs, the settings, and each part's place in items.jsonl; it is written last of all
items.jsonl    an item on each line, part after part
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from vqcodec.errors import ConfigError, VqcodecError
from vqcodec.files import atomic_output

from .inputs import items_of
from .items import Item

FORMAT = 1
PLAN = "plan.json"
ITEMS = "items.jsonl"


@dataclass(frozen=True)
class Settings:
    """All that the parts depend on, beside the inputs."""

    fingerprint: str
    """Of the model."""
    precision: str
    """What the model computes in, "float32" or "bfloat16"."""
    stages: int
    effort: int
    form: str
    """Of the parts; one of `outputs.FORMS`."""
    part_s: float
    """Seconds of audio after which a part is full."""
    part_items: int
    """Items after which it is full, whatever they last."""


class Part(NamedTuple):
    """A part of a job, which becomes one output."""

    number: int
    offset: int
    """Of its first line in items.jsonl, in bytes."""
    first: int
    """Number of its first item."""
    items: int
    audio_s: float
    """Seconds of audio, of the items of which that is known."""
    unknown: int
    """Items of which it is not."""

    @property
    def name(self) -> str:
        """What its files are called."""
        return f"part-{self.number:06}"


@dataclass(frozen=True)
class Plan:
    """A job that is cut into parts."""

    folder: Path
    settings: Settings
    parts: Sequence[Part]

    @property
    def items(self) -> int:
        """Number of items."""
        return sum(part.items for part in self.parts)

    def items_of(self, part: Part) -> Iterator[tuple[int, Item]]:
        """Read the items of a part with their numbers."""
        with open(self.folder / ITEMS, "rb") as file:
            file.seek(part.offset)
            for number in range(part.first, part.first + part.items):
                yield number, Item.from_line(file.readline())


def make(folder: Path, inputs: Sequence[Path], settings: Settings) -> Plan:
    """Plan a job, or take up the plan that is in the folder.

    Args:
        folder: for the plan and the outputs; made if it is not there.
        inputs: as in `inputs.items_of`.
        settings: what the codes are made with.

    Raises:
        ConfigError: the folder holds a plan of another job, or something else; or as `inputs.items_of`.
    """
    job = {"inputs": [_state(path) for path in inputs], "settings": asdict(settings)}
    if (folder / PLAN).exists():
        return _taken_up(folder, job, settings)
    if folder.is_dir() and any(path.name != ITEMS and not path.name.startswith(".") for path in folder.iterdir()):
        raise ConfigError(f"{folder} holds something other than tokens; name a new folder")
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_output(folder / ITEMS, force=True, durable=True) as output:
        parts = list(_cut(items_of(inputs), settings, output))
    if not parts:
        raise ConfigError(f"there are no sounds in {', '.join(map(str, inputs))}")
    lines = [f"  {json.dumps(part)}" for part in parts]
    head = json.dumps({"format": FORMAT, **job}, indent=1).removesuffix("\n}")
    with atomic_output(folder / PLAN, force=True, durable=True) as output:
        output.write((head + ',\n "parts": [\n' + ",\n".join(lines) + "\n ]\n}\n").encode())
    return Plan(folder, settings, parts)


def read(folder: Path) -> Plan:
    """Read the plan in a folder.

    Raises:
        VqcodecError: there is none, or it is damaged.
    """
    content = _read(folder)
    try:
        parts = [Part(*values) for values in content["parts"]]
        return Plan(folder, Settings(**content["settings"]), parts)
    except (KeyError, TypeError):
        raise _damaged(folder) from None


def _taken_up(folder: Path, job: dict[str, Any], settings: Settings) -> Plan:
    found = _read(folder)
    if found.get("inputs") != job["inputs"]:
        raise ConfigError(f"{folder} was planned from other inputs, or they have changed since; name another folder")
    before = found.get("settings")
    if before != job["settings"]:
        if not isinstance(before, dict):
            raise _damaged(folder)
        name = next(name for name, value in job["settings"].items() if before.get(name) != value)
        change = f"{name} {before.get(name)}, not {job['settings'][name]}"
        raise ConfigError(f"{folder} was planned with {change}; name another folder")
    return read(folder)


def _read(folder: Path) -> dict[str, Any]:
    try:
        content = json.loads((folder / PLAN).read_bytes())
    except OSError as error:
        raise VqcodecError(f"{folder} holds no plan of tokens: {error.strerror or error}") from None
    except (ValueError, RecursionError):
        raise _damaged(folder) from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise _damaged(folder)
    return content


def _damaged(folder: Path) -> VqcodecError:
    return VqcodecError(f"{folder / PLAN} is damaged, or of another version; name a new folder")


def _state(path: Path) -> list[Any]:
    """An input and, of a file, its size and the time of its last change."""
    if not path.is_file():
        return [str(path.absolute())]
    stat = path.stat()
    return [str(path.absolute()), stat.st_size, stat.st_mtime_ns]


def _cut(items: Iterator[Item], settings: Settings, output: BinaryIO) -> Iterator[Part]:
    """Write the items, and say where each part of them begins."""
    number = offset = first = count = size = unknown = 0
    audio_s = 0.0
    for item in items:
        line = item.to_line().encode()
        output.write(line)
        size += len(line)
        count += 1
        audio_s += item.duration_s or 0.0
        unknown += item.duration_s is None and item.fault is None
        if count >= settings.part_items or audio_s >= settings.part_s:
            yield Part(number, offset, first, count, round(audio_s, 3), unknown)
            number, offset, first = number + 1, offset + size, first + count
            count, size, unknown, audio_s = 0, 0, 0, 0.0
    if count:
        yield Part(number, offset, first, count, round(audio_s, 3), unknown)
