"""The names under which manifests and tables say where a sound is, and what is known of it."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

from .items import Item

PATH = ("path", "audio_filepath", "audio_path", "wav", "file")
OFFSET = ("offset", "start")
DURATION = ("duration", "duration_s")
ID = ("id", "utt_id", "key", "segment_id")
SPEAKER = ("speaker", "speaker_id", "spk", "client_id")
TEXT = ("text", "transcript", "transcription", "sentence")


def item_of(record: Any, folder: str, fallback: str) -> Item:
    """Read a line of a manifest: a flat record, or a cut or recording as Lhotse writes it.

    A line with an offset stands for a stretch of a sound, one without for all of it.

    Args:
        record: the parsed line.
        folder: that relative paths are relative to.
        fallback: the name of an item whose line gives it none.

    Raises:
        ValueError: there is no path, or a value is of the wrong kind.
    """
    if not isinstance(record, dict):
        raise ValueError("a line is an object with a path")
    path = _string(record, PATH) or _path_of_recording(record)
    if not path:
        raise ValueError(f"no path under any of the names {', '.join(PATH)}")
    facts = described(record)
    return Item(
        source=os.path.join(folder, path),
        id=facts.pop("id") or os.path.splitext(os.path.basename(path))[0] or fallback,
        start_s=_seconds(record, OFFSET),
        channel=_channel(record.get("channel")),
        **facts,
    )


def described(record: Mapping[str, Any]) -> dict[str, Any]:
    """Collect what a record says of a sound: its id, duration, speaker and text, None where it does not.

    Raises:
        ValueError: a value is of the wrong kind.
    """
    speaker, text = _string(record, SPEAKER), _string(record, TEXT)
    said = record.get("supervisions")
    if isinstance(said, list):
        parts = [part for part in said if isinstance(part, dict)]
        speakers = {_string(part, SPEAKER) for part in parts}
        speaker = speaker or (speakers.pop() if len(speakers) == 1 else None)
        text = text or " ".join(filter(None, (_string(part, TEXT) for part in parts))) or None
    return {"id": _string(record, ID), "duration_s": _seconds(record, DURATION), "speaker": speaker, "text": text}


def _path_of_recording(record: Mapping[str, Any]) -> str | None:
    """The file of a recording in Lhotse's words, or of the recording that a cut is taken from."""
    recording = record.get("recording", record)
    sources = recording.get("sources") if isinstance(recording, dict) else None
    if not isinstance(sources, list) or not sources:
        return None
    first = sources[0]
    if len(sources) > 1 or not isinstance(first, dict) or first.get("type", "file") != "file":
        raise ValueError("a recording is in one file on disk")
    return _string(first, ("source",))


def _first(record: Mapping[str, Any], names: Sequence[str]) -> Any:
    for name in names:
        value = record.get(name)
        if value is not None:
            return value
    return None


def _string(record: Mapping[str, Any], names: Sequence[str]) -> str | None:
    value = _first(record, names)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{'/'.join(names)} is text")
    return value or None


def _seconds(record: Mapping[str, Any], names: Sequence[str]) -> float | None:
    value = _first(record, names)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e9 or math.isnan(value):
        raise ValueError(f"{'/'.join(names)} is a number of seconds")
    return float(value)


def _channel(value: Any) -> int | None:
    """A single channel by its number; a list that names several means all of them."""
    if isinstance(value, list):
        value = value[0] if len(value) == 1 else None
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
        raise ValueError("channel is a whole number")
    return value
