"""Tar files in WebDataset's layout and parquet files: what sounds are in them, and each sound by its place."""

from __future__ import annotations

import io
import itertools
import json
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

from vqcodec import audio
from vqcodec.errors import AudioError, ConfigError

from . import fields
from .items import Item

_MOST_FACTS_BYTES = 1 << 20  # of the JSON or text that belongs to a sound
_ROWS_AT_ONCE = 8


def in_tar(path: Path) -> Iterator[Item]:
    """List the sounds in a tar file, with what KEY.json and KEY.txt say of them."""
    try:
        with tarfile.open(path, "r:") as tar:
            members = (member for member in tar if member.isreg() and not member.issparse())
            for key, files in itertools.groupby(members, lambda member: _key(member.name)):
                yield from _in_sample(tar, str(path), key, list(files))
    except (tarfile.TarError, OSError, EOFError) as error:
        yield Item(str(path), path.name, fault=f"not a readable tar file without compression: {error}")


def _in_sample(tar: tarfile.TarFile, source: str, key: str, files: list[tarfile.TarInfo]) -> Iterator[Item]:
    sounds = [file for file in files if PurePosixPath(file.name).suffix.lower() in audio.AUDIO_SUFFIXES]
    if not sounds:
        return
    try:
        facts = _facts(tar, files)
    except (ValueError, RecursionError) as error:
        yield Item(source, key, fault=f"the facts of {key}: {error}")
        return
    facts.pop("id")
    for sound in sounds:
        name = key if len(sounds) == 1 else sound.name
        yield Item(source, name, "tar", (sound.offset_data, sound.size), **facts)


def _facts(tar: tarfile.TarFile, files: list[tarfile.TarInfo]) -> dict[str, Any]:
    record: dict[str, Any] = {}
    for file in files:
        suffix = PurePosixPath(file.name).suffix.lower()
        if suffix not in (".json", ".txt") or file.size > _MOST_FACTS_BYTES:
            continue
        content = cast(BinaryIO, tar.extractfile(file)).read()
        if suffix == ".txt":
            record.setdefault("text", content.decode().strip())
        elif isinstance(values := json.loads(content), dict):
            record |= values
    return fields.described(record)


def _key(name: str) -> str:
    """The name up to the first dot of its last component."""
    path = PurePosixPath(name)
    return str(path.with_name(path.name.partition(".")[0] or path.name))


class Stretch(io.RawIOBase):
    """Some bytes of a file, open for reading from their start to their end.

    Args:
        path: of the file.
        start: the first byte.
        size: how many.
    """

    def __init__(self, path: str, start: int, size: int) -> None:
        self.name = path
        self._file = open(path, "rb")  # noqa: SIM115
        self._file.seek(start)
        self._left = size

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer, as far as there are bytes."""
        count = self._file.readinto(memoryview(buffer)[: self._left])
        self._left -= count
        return count

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()


def in_table(path: Path) -> Iterator[Item]:
    """List the sounds of a parquet file, a row each, as `datasets` writes them: {bytes, path}, or bytes alone."""
    parquet, arrow_error = _parquet()
    try:
        with parquet.ParquetFile(path) as file:
            column = _audio_column(file.schema_arrow)
            wanted = [name for name in file.schema_arrow.names if name != column]
            known = {*fields.ID, *fields.DURATION, *fields.SPEAKER, *fields.TEXT}
            columns = [name for name in wanted if name in known]
            columns += [f"{column}.path"] if _has_path(file.schema_arrow, column) else []
            for group in range(file.num_row_groups):
                table = file.read_row_group(group, columns=columns)
                rows = table.to_pylist() if columns else [{}] * file.metadata.row_group(group).num_rows
                for row, record in enumerate(rows):
                    yield _in_row(path, group, row, record, column)
    except (arrow_error, OSError) as error:
        yield Item(str(path), path.name, fault=f"not a readable parquet file: {' '.join(str(error).split())}")


def _in_row(path: Path, group: int, row: int, record: Mapping[str, Any], column: str) -> Item:
    name = (record.get(column) or {}).get("path") or f"{path.stem}-{group}-{row}"
    try:
        facts = fields.described(record)
    except ValueError as error:
        return Item(str(path), name, fault=str(error))
    return Item(str(path), facts.pop("id") or PurePosixPath(name).stem, "parquet", (group, row), **facts)


def _audio_column(schema: Any) -> str:
    """The column called "audio", else the first that may hold sounds."""
    import pyarrow as pa

    for field in sorted(schema, key=lambda field: field.name != "audio"):
        inner = {one.name for one in field.type} if pa.types.is_struct(field.type) else set()
        if "bytes" in inner or pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type):
            return str(field.name)
    raise OSError("it has no column of sounds")


def _has_path(schema: Any, column: str) -> bool:
    import pyarrow as pa

    kind = schema.field(column).type
    return pa.types.is_struct(kind) and any(field.name == "path" for field in kind)


class TableReader:
    """The sounds of parquet files by their places; fast where they are asked for in order."""

    def __init__(self) -> None:
        self._at: tuple[str, int, int] | None = None
        self._rows: Iterator[Any] = iter(())

    def sound(self, path: str, group: int, row: int) -> BinaryIO | str:
        """Return a sound: its bytes as a file, or the path that stands in place of them.

        Raises:
            AudioError: the file cannot be read there, or the row holds no sound.
        """
        _, arrow_error = _parquet()
        try:
            if self._at is None or self._at[:2] != (path, group) or row < self._at[2]:
                self._rows, self._at = self._open(path, group), (path, group, 0)
            value = next(itertools.islice(self._rows, row - self._at[2], None), None)
            self._at = (path, group, row + 1)
        except (arrow_error, OSError) as error:
            self._at = None
            raise AudioError(f"cannot read {path}: {' '.join(str(error).split())}") from None
        return _sound_of(value, path, row)

    def _open(self, path: str, group: int) -> Iterator[Any]:
        parquet, _ = _parquet()
        with parquet.ParquetFile(path) as file:
            column = _audio_column(file.schema_arrow)
            batches = file.iter_batches(_ROWS_AT_ONCE, row_groups=[group], columns=[column])
            for batch in batches:
                yield from batch.column(0).to_pylist()


def _sound_of(value: Any, path: str, row: int) -> BinaryIO | str:
    data = value.get("bytes") if isinstance(value, dict) else value
    if isinstance(data, bytes):
        stream = io.BytesIO(data)
        stream.name = f"{path}, row {row}"
        return stream
    name = value.get("path") if isinstance(value, dict) else None
    if isinstance(name, str) and name:
        return str(Path(path).parent / name)
    raise AudioError(f"{path}, row {row}, holds no sound")


def _parquet() -> tuple[Any, type[Exception]]:
    """The module that reads parquet files, and its errors."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as parquet
    except ImportError:
        raise ConfigError("parquet needs pyarrow: pip install 'vqcodec[tokenize]'") from None
    return parquet, pa.ArrowException
