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
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from vqcodec.errors import CorruptFile
from vqcodec.files import atomic_output

FORMAT = 1
INDEX = "index.json"


@dataclass(frozen=True)
class Facts:
    """The facts of a recording in a shard."""

    path: str
    """The file it was cut from, beginning with the name of the folder that was searched."""
    start_s: float
    """Its place in that file."""
    corpus: str
    speaker: str
    split: str | None
    """The official part it belongs to: "train", "validation" or "test"; None where there are no such parts."""
    sample_rate: int
    samples: int
    level_db: float
    """Root mean square, against full scale."""
    peak_db: float


@dataclass(frozen=True)
class Entry:
    """A recording's place in its shard, and its facts."""

    key: str
    offset: int
    """First byte of its FLAC file."""
    bytes: int
    crc32: int
    facts: Facts


@dataclass(frozen=True)
class SourceFile:
    """A file that a corpus was made of, and what became of it."""

    path: str
    corpus: str
    speaker: str
    split: str | None
    sample_rate: int = 0
    """Rate of the file itself in Hz; 0 if it could not be read."""
    duration_s: float = 0.0
    silence_s: float = 0.0
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
        CorruptFile: its list is missing or damaged.
    """
    path = _list_of(tar)
    values = read_json(path)
    try:
        entries = [Entry(**{**entry, "facts": Facts(**entry["facts"])}) for entry in values["entries"]]
        sources = [SourceFile(**source) for source in values["sources"]]
        return Shard(tar, values["bytes"], values["sha256"], entries, sources)
    except (KeyError, TypeError) as error:
        raise CorruptFile(f"{path} is not the list of a shard ({error}); prepare the corpus again") from None


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
    index = read_json(folder / INDEX)
    if index.get("format") != FORMAT:
        raise CorruptFile(f"{folder / INDEX} has the format {index.get('format')!r}, not {FORMAT}; prepare it again")
    try:
        shards = [(folder / row["name"], row["bytes"]) for row in index["shards"]]
        sample_rate = int(index["sample_rate"])
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptFile(f"{folder / INDEX} is not an index of shards ({error}); prepare the corpus again") from None
    for shard, size in shards:
        found = shard.stat().st_size if shard.is_file() else None
        if found != size:
            problem = "is missing" if found is None else f"has {found} bytes, not {size}"
            raise CorruptFile(f"{shard} {problem}; copy it once more, or prepare the corpus again")
    return sample_rate, [shard for shard, _ in shards]


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
    except (OSError, ValueError) as error:
        raise CorruptFile(f"{path} cannot be read ({error}); prepare the corpus again") from None
    if not isinstance(values, dict):
        raise CorruptFile(f"{path} holds no JSON object; prepare the corpus again")
    return values


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
