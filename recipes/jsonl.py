"""A file of JSON lines, one record each, that grows while a long run goes on and survives its interruption."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from vqcodec.errors import ConfigError

Record = TypeVar("Record")


def append(path: Path, content: Mapping[str, Any]) -> None:
    """Add a record as one line."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(content, allow_nan=False) + "\n")


def read(path: Path, parse: Callable[[dict[str, Any]], Record]) -> list[Record]:
    """The records so far, in order; none without a file.

    Args:
        path: of the file.
        parse: makes a record of what stands in a line, or raises ValueError, TypeError, KeyError or AttributeError.

    Raises:
        ConfigError: a line is damaged.
    """
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    records = []
    for number, line in enumerate(lines, start=1):
        try:
            records.append(parse(json.loads(line)))
        except (ValueError, TypeError, KeyError, AttributeError):
            raise ConfigError(f"{path}, line {number}, is damaged; remove that line to measure anew") from None
    return records


def drop_torn(path: Path) -> None:
    """Cut off a last line that an interruption left without its end."""
    if not path.exists():
        return
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if whole != content:
        path.write_bytes(whole)
