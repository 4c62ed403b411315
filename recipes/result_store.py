"""The folder of a long run: a file of records that grows by one line each and survives interruptions, and tables."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from vqcodec.errors import ConfigError
from vqcodec.files import atomic_output

Record = TypeVar("Record")


class ResultStore:
    """The records of a run in `results.jsonl`, and files written from them.

    Args:
        folder: of the run; made when something is written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def _lines(self) -> Path:
        return self.folder / "results.jsonl"

    def _append_line(self, content: Mapping[str, Any]) -> None:
        """Add a record as one line."""
        with self._lines.open("a", encoding="utf-8") as file:
            file.write(json.dumps(content, allow_nan=False) + "\n")

    def _read_lines(self, parse: Callable[[dict[str, Any]], Record]) -> list[Record]:
        """Read the records so far, in order; none without a file.

        Args:
            parse: makes a record of the content of a line, or raises ValueError, TypeError, KeyError or AttributeError.

        Raises:
            ConfigError: a line is damaged.
        """
        lines = self._lines.read_text(encoding="utf-8").splitlines() if self._lines.exists() else []
        records = []
        for number, line in enumerate(lines, start=1):
            try:
                records.append(parse(json.loads(line)))
            except (ValueError, TypeError, KeyError, AttributeError):
                raise ConfigError(
                    f"{self._lines}, line {number}, is damaged; remove that line to measure anew"
                ) from None
        return records

    def _drop_torn_line(self) -> None:
        """Cut off a last line that an interruption left without its end."""
        if not self._lines.exists():
            return
        content = self._lines.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if whole != content:
            self._lines.write_bytes(whole)

    def _check_unused(self, wanted: str) -> None:
        """Refuse a folder that holds something else than `wanted`.

        Raises:
            ConfigError: the folder is not empty.
        """
        if self.folder.exists() and any(self.folder.iterdir()):
            raise ConfigError(f"{self.folder} holds something other than {wanted}; name a new folder")

    def _mismatch(self, difference: str) -> ConfigError:
        """The error for a folder that was made with other settings."""
        return ConfigError(
            f"{self.folder} was made with {difference}; name another folder, or add --force to start anew"
        )

    def _write_json(self, name: str, content: Mapping[str, Any]) -> None:
        with atomic_output(self.folder / name, force=True) as output:
            output.write((json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode())

    def _write_csv(self, name: str, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
        with atomic_output(self.folder / name, force=True) as output:
            output.write(csv_of(columns, rows).encode())


def csv_of(columns: Sequence[str], rows: Iterable[Mapping[str, Any]], line_end: str = "\r\n") -> str:
    """Write a table as CSV in which nothing is a formula: before names that begin like one stands an apostrophe."""
    text = io.StringIO()
    table = csv.DictWriter(text, columns, lineterminator=line_end)
    table.writeheader()
    table.writerows({name: _inert(value) for name, value in row.items()} for row in rows)
    return text.getvalue()


def _inert(value: Any) -> Any:
    if not isinstance(value, str) or not value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value
