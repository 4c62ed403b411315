"""The format of shards: a corpus as tar files in WebDataset's layout, and what is in them as JSON.

    index.json           the sample rate, and each shard's size and checksum; it is written last of all
    shard-000000.tar     a recording is two members, KEY.flac (16 bits, one channel) and KEY.json (its facts)
    shard-000000.json    the same facts, with each recording's place in the tar file

Tar files are read by place, so that a recording is found, or passed over, without reading what lies before it.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, BinaryIO, NamedTuple, TypeVar

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from vqcodec.errors import CorruptFile
from vqcodec.files import atomic_output

FORMAT = 1
INDEX = "index.json"

MAX_SAMPLES = 1 << 25
"""Of a recording: far more than the minute after which `prepare` cuts."""


def _confined(path: str) -> str:
    """Refuse a path that leads out of the folder that was searched."""
    parts = PurePosixPath(path).parts
    if not parts or ".." in parts or path.startswith("/") or "\0" in path:
        raise ValueError("a path within a folder is wanted")
    return path


Amount = Annotated[int, Field(ge=0, le=1 << 48)]
Level = Annotated[float, Field(allow_inf_nan=False)]
Inside = Annotated[str, AfterValidator(_confined)]
Part = Annotated[str, Field(pattern="^(train|validation|test)$")] | None


@dataclass(frozen=True)
class Facts:
    """The facts of a recording in a shard."""

    path: Inside
    """The file it was cut from, beginning with the name of the folder that was searched."""
    start_s: Level
    """Its place in that file."""
    corpus: str
    speaker: str
    split: Part
    """The official part it belongs to: "train", "validation" or "test"; None where there are no such parts."""
    sample_rate: Amount
    samples: Annotated[int, Field(ge=1, le=MAX_SAMPLES)]
    level_db: Level
    """Root mean square, against full scale."""
    peak_db: Level


@dataclass(frozen=True)
class Entry:
    """A recording's place in its shard, and its facts."""

    key: str
    offset: Amount
    """First byte of its FLAC file."""
    bytes: Amount
    crc32: Annotated[int, Field(ge=0, lt=1 << 32)]
    facts: Facts


@dataclass(frozen=True)
class SourceFile:
    """A file that a corpus was made of, and what became of it."""

    path: Inside
    corpus: str
    speaker: str
    split: Part
    sample_rate: Amount = 0
    """Rate of the file itself in Hz; 0 if it could not be read."""
    duration_s: Level = 0.0
    silence_s: Level = 0.0
    """Seconds that were cut away as silence."""
    dropped: str = ""
    """Why nothing of it was kept: "unreadable", "silent" or "duplicate"; empty if it was."""
    detail: str = ""
    """The reason in full: what was wrong with it, or which file it duplicates."""
    content: str = ""
    """A hash of its samples."""
    fingerprint: str = ""
    """A hash of how it sounds, for near-duplicates."""


class Shard(NamedTuple):
    """One tar file and what is known about it."""

    tar: Path
    bytes: int
    sha256: str
    entries: list[Entry]
    sources: list[SourceFile]
    """The files it was made of, unusable files included."""


@dataclass(frozen=True)
class _ShardList:
    """The list of a shard, as JSON has it."""

    bytes: Amount
    sha256: str
    entries: list[Entry]
    sources: list[SourceFile]


@dataclass(frozen=True)
class _IndexRow:
    name: Annotated[str, Field(pattern=r"^shard-[0-9]{6,9}\.tar$")]
    bytes: Amount


@dataclass(frozen=True)
class _Index:
    sample_rate: Amount
    shards: Annotated[list[_IndexRow], Field(min_length=1)]


Parsed = TypeVar("Parsed", _ShardList, _Index)


def write_shard(
    folder: Path, number: int, recordings: Iterable[tuple[Facts, bytes]], sources: Sequence[SourceFile]
) -> Shard:
    """Write a shard of recordings (facts and FLAC file), then its list: where there is a list the shard is whole.

    Raises:
        VqcodecError: the disk is full, or the folder cannot be written.
    """
    tar = folder / f"shard-{number:06}.tar"
    entries = []
    with atomic_output(tar, force=True, durable=True) as output:
        hashed = _Hashed(output)
        with tarfile.open(fileobj=hashed, mode="w|", format=tarfile.USTAR_FORMAT) as archive:  # type: ignore[call-overload]
            for position, (facts, flac) in enumerate(recordings):
                key = f"{number:06}{position:06}"
                _add(archive, f"{key}.json", json.dumps(asdict(facts)).encode())
                entries.append(Entry(key, archive.offset + tarfile.BLOCKSIZE, len(flac), zlib.crc32(flac), facts))
                _add(archive, f"{key}.flac", flac)
    shard = Shard(tar, hashed.bytes, hashed.sha256.hexdigest(), entries, list(sources))
    facts_of_it = {"bytes": shard.bytes, "sha256": shard.sha256, "entries": entries, "sources": shard.sources}
    write_json(_list_of(tar), facts_of_it, indent=None)
    return shard


def read_shard(tar: Path) -> Shard:
    """Read the list of a shard; the tar file itself is not touched.

    Raises:
        CorruptFile: its list is missing or damaged, or of something that the shard cannot hold.
    """
    path = _list_of(tar)
    listed = _parsed(_ShardList, path, "the list of a shard")
    if beyond := [entry.key for entry in listed.entries if entry.offset + entry.bytes > listed.bytes]:
        raise CorruptFile(f"{path}: recording {beyond[0]} ends behind the end of its shard; prepare the corpus again")
    return Shard(tar, listed.bytes, listed.sha256, listed.entries, listed.sources)


def write_index(folder: Path, shards: Sequence[Shard], sample_rate: int) -> None:
    """Write what makes a folder of shards a corpus that can be trained on."""
    rows: list[dict[str, Any]] = [
        {
            "name": shard.tar.name,
            "recordings": len(shard.entries),
            "samples": sum(entry.facts.samples for entry in shard.entries),
            "bytes": shard.bytes,
            "sha256": shard.sha256,
        }
        for shard in shards
    ]
    totals = {name: sum(row[name] for row in rows) for name in ("recordings", "samples")}
    write_json(folder / INDEX, {"format": FORMAT, "sample_rate": sample_rate, **totals, "shards": rows})


def is_corpus(folder: Path) -> bool:
    """Tell whether a folder holds shards, whole and ready to train on."""
    return (folder / INDEX).is_file()


def read_index(folder: Path) -> tuple[int, list[Path]]:
    """The sample rate in Hz, and the shards in their order.

    Raises:
        CorruptFile: the index is damaged or of a newer format, or a shard is missing or has another size.
    """
    version = read_json(folder / INDEX).get("format")
    if version != FORMAT:
        raise CorruptFile(f"{folder / INDEX} has the format {version!r:.20}, not {FORMAT}; prepare it again")
    index = _parsed(_Index, folder / INDEX, "an index of shards")
    shards = [(folder / row.name, row.bytes) for row in index.shards]
    for shard, size in shards:
        found = shard.stat().st_size if shard.is_file() else None
        if found != size:
            problem = "is missing" if found is None else f"has {found} bytes, not {size}"
            raise CorruptFile(f"{shard} {problem}; copy it once more, or prepare the corpus again")
    return index.sample_rate, [shard for shard, _ in shards]


def write_json(path: Path, values: dict[str, Any], indent: int | None = 1) -> None:
    """Write JSON, dataclasses as objects; the old file or the new one is there at any time."""
    with atomic_output(path, force=True, durable=True) as output:
        output.write(json.dumps(values, indent=indent, default=asdict).encode())


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        CorruptFile: there is none.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CorruptFile(f"{path} cannot be read ({error}); prepare the corpus again") from None
    if not isinstance(values, dict):
        raise CorruptFile(f"{path} holds no JSON object; prepare the corpus again")
    return values


def _parsed(kind: type[Parsed], path: Path, what: str) -> Parsed:
    """Read a JSON file whose every value is of the type and in the range that `kind` says.

    Raises:
        CorruptFile: one is not, or the file cannot be read.
    """
    try:
        return TypeAdapter(kind).validate_json(path.read_bytes(), strict=True)
    except OSError as error:
        raise CorruptFile(f"{path} cannot be read ({error.strerror}); prepare the corpus again") from None
    except ValidationError as error:
        fault = error.errors(include_input=False, include_url=False)[0]
        problem = ": ".join(filter(None, [".".join(map(str, fault["loc"])), fault["msg"]]))
        raise CorruptFile(f"{path} is not {what} ({problem}); prepare the corpus again") from None


class _Hashed:
    """An open file that is written from start to end, with a checksum of what went through."""

    def __init__(self, output: BinaryIO) -> None:
        self._output = output
        self.sha256 = hashlib.sha256()
        self.bytes = 0

    def write(self, data: bytes) -> int:
        self.sha256.update(data)
        self.bytes += len(data)
        return self._output.write(data)


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    """Add a member without owner or date, so that the same shard has the same bytes."""
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))


def _list_of(tar: Path) -> Path:
    return tar.with_suffix(".json")
