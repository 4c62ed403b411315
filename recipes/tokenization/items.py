"""An item of a corpus: what becomes one entry of the tokens, and where its sound is found."""

from __future__ import annotations

import json
import operator
from dataclasses import dataclass, fields
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Item:
    """A sound of a corpus, or a stretch of one."""

    source: str
    """The sound file, or the file that holds it."""
    id: str
    kind: Literal["file", "tar", "parquet"] = "file"
    """What the source is."""
    place: tuple[int, int] | None = None
    """Of a tar file first byte and size; of a parquet file row group and row in it."""
    start_s: float | None = None
    """Where the stretch begins; None for a whole sound."""
    duration_s: float | None = None
    """Length of the stretch; of a whole sound what is said of it, or None."""
    channel: int | None = None
    """The only channel that is wanted."""
    speaker: str | None = None
    text: str | None = None
    fault: str | None = None
    """Why there is nothing to encode."""

    def to_line(self) -> str:
        """Write the item as JSON, with an end of line."""
        values = zip(_NAMES, _values(self), strict=True)
        return _ENCODER.encode({name: value for name, value in values if value is not None}) + "\n"

    @classmethod
    def from_line(cls, line: bytes | str) -> Item:
        """Read what `to_line` wrote."""
        values: dict[str, Any] = json.loads(line)
        if "place" in values:
            values["place"] = tuple(values["place"])
        return cls(**values)


_NAMES = tuple(field.name for field in fields(Item))
_values = operator.attrgetter(*_NAMES)
_ENCODER = json.JSONEncoder(separators=(",", ":"))


def unicode(text: str) -> str:
    """Replace halves of surrogates, which names of files may hold, by what UTF-8 can write."""
    return text.encode("utf-8", "backslashreplace").decode()
