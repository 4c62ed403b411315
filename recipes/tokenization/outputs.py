"""The forms in which codes are written and read again; the bytes depend on nothing but the codes and their facts.

parquet    part-000000.parquet: a row for each channel, codes as lists [stage][frame]
wds        part-000000.tar in WebDataset's layout: KEY.npy, uint16 [channel, stage, frame], and KEY.json
npy        part-000000/KEY.npy and part-000000.jsonl, a line of facts for each, which is written last
"""

from __future__ import annotations

import io
import itertools
import json
import re
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from vqcodec.errors import ConfigError, CorruptFile
from vqcodec.files import atomic_output

_NPY_HEADER = re.compile(
    rb"\x93NUMPY\x01\x00..\{'descr': '<u2', 'fortran_order': False, "
    rb"'shape': \((\d{1,9}), (\d{1,9}), (\d{1,9})\), \} *\n",
    re.DOTALL,
)

Codes = NDArray[np.uint16]
"""[channel, stage, frame]"""

Entry = tuple[Mapping[str, Any], Codes]
"""The facts of an item, among them a "key" that no other item has, and its codes."""

FORMS = {"parquet": ".parquet", "wds": ".tar", "npy": ".jsonl"}
"""Names of the forms, and the suffixes of the files that complete a part."""


def write(folder: Path, name: str, form: str, entries: Sequence[Entry]) -> None:
    """Write a part, which appears whole or not at all.

    Args:
        folder: to write into.
        name: of the part, without a suffix.
        form: one of `FORMS`.
        entries: the items, in their order.

    Raises:
        VqcodecError: it cannot be written.
    """
    if form == "npy":
        _write_arrays(folder / name, entries)
    writers = {"parquet": _write_table, "wds": _write_tar, "npy": _write_lines}
    with atomic_output(folder / f"{name}{FORMS[form]}", force=True, durable=True) as output:
        writers[form](output, entries)


def read(path: Path) -> Iterator[Entry]:
    """Read a part of any form.

    Raises:
        CorruptFile: it is damaged.
        ConfigError: the suffix of the file is that of no form.
    """
    readers: dict[str, Callable[[Path], Iterator[Entry]]] = {
        ".parquet": _read_table,
        ".tar": _read_tar,
        ".jsonl": _read_lines,
    }
    if path.suffix not in readers:
        raise ConfigError(f"{path} is no part; parts end in {', '.join(readers)}")
    try:
        yield from readers[path.suffix](path)
    except (OSError, ValueError, KeyError, TypeError, EOFError, tarfile.TarError, RecursionError) as error:
        raise CorruptFile(f"{path} is no part, or damaged: {' '.join(str(error).split())}") from None


def _write_table(output: BinaryIO, entries: Sequence[Entry]) -> None:
    pa, parquet = _arrow()
    columns = [
        ("key", pa.string()),
        ("id", pa.string()),
        ("path", pa.string()),
        ("start_s", pa.float64()),
        ("duration_s", pa.float64()),
        ("speaker", pa.string()),
        ("text", pa.string()),
        ("channel", pa.int32()),
        ("channels", pa.int32()),
        ("sample_rate", pa.int32()),
        ("source_sample_rate", pa.int32()),
        ("num_samples", pa.int64()),
        ("num_frames", pa.int32()),
        ("bitrate_bps", pa.float64()),
        ("fingerprint", pa.string()),
    ]
    rows = [{**facts, "channel": number} for facts, codes in entries for number in range(len(codes))]
    arrays = [pa.array([row[name] for row in rows], kind) for name, kind in columns]
    codes = _nested([channel for _, codes in entries for channel in codes])
    table = pa.table([*arrays, codes], [*(name for name, _ in columns), "codes"])
    parquet.write_table(table, output, compression="zstd")  # its dictionaries make a code as short as its bits


def _nested(rows: Sequence[NDArray[np.uint16]]) -> Any:
    """Codes [stage, frame] as an array of lists of lists."""
    pa, _ = _arrow()
    values = np.concatenate([np.zeros(0, np.uint16), *(row.ravel() for row in rows)])
    frames = [row.shape[1] for row in rows for _ in row]
    inner = pa.ListArray.from_arrays(_offsets(frames), pa.array(values, pa.uint16()))
    return pa.ListArray.from_arrays(_offsets([len(row) for row in rows]), inner)


def _offsets(lengths: Any) -> Any:
    return _arrow()[0].array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))


def _read_table(path: Path) -> Iterator[Entry]:
    _, parquet = _arrow()
    with parquet.ParquetFile(path) as file:
        rows = (row for batch in file.iter_batches(64) for row in batch.to_pylist())
        for _, channels in itertools.groupby(rows, lambda row: row["key"]):
            entry = list(channels)
            codes = np.array([row.pop("codes") for row in entry], np.uint16)
            facts = {name: value for name, value in entry[0].items() if name != "channel"}
            yield facts, codes


def _write_tar(output: BinaryIO, entries: Sequence[Entry]) -> None:
    with tarfile.open(fileobj=output, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for facts, codes in entries:
            for suffix, content in ((".npy", _npy(codes)), (".json", json.dumps(facts).encode())):
                member = tarfile.TarInfo(facts["key"] + suffix)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))


def _read_tar(path: Path) -> Iterator[Entry]:
    with tarfile.open(path, "r:") as tar:
        while (member := tar.next()) is not None:
            codes = _array(_content(tar, member))
            facts = tar.next()
            if facts is None or facts.name.partition(".")[0] != member.name.partition(".")[0]:
                raise ValueError(f"{member.name} has no facts")
            yield json.loads(_content(tar, facts)), codes


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    """The bytes of a member; what is no plain file, or larger than the tar file, is not read."""
    if not member.isreg() or member.issparse() or member.size > Path(str(tar.name)).stat().st_size:
        raise ValueError(f"{member.name} is no plain file")
    return cast(BinaryIO, tar.extractfile(member)).read()


def _write_arrays(folder: Path, entries: Sequence[Entry]) -> None:
    folder.mkdir(exist_ok=True)
    for facts, codes in entries:
        with atomic_output(folder / f"{facts['key']}.npy", force=True) as output:
            output.write(_npy(codes))


def _write_lines(output: BinaryIO, entries: Sequence[Entry]) -> None:
    for facts, _ in entries:
        output.write((json.dumps(facts) + "\n").encode())


def _read_lines(path: Path) -> Iterator[Entry]:
    with open(path, "rb") as file:
        for line in file:
            facts = json.loads(line)
            yield facts, _array((path.with_suffix("") / f"{int(facts['key']):09}.npy").read_bytes())


def _npy(codes: Codes) -> bytes:
    content = io.BytesIO()
    np.lib.format.write_array(content, np.ascontiguousarray(codes, "<u2"), allow_pickle=False)
    return content.getvalue()


def _array(content: bytes) -> Codes:
    """Read what `_npy` wrote, and no other kind of array."""
    header = _NPY_HEADER.match(content)
    if header is None:
        raise ValueError("codes are an array uint16 [channel, stage, frame]")
    return np.frombuffer(content, "<u2", offset=header.end()).reshape(*map(int, header.groups()))


def _arrow() -> tuple[Any, Any]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as parquet
    except ImportError:
        raise ConfigError("parquet needs pyarrow: pip install 'vqcodec[tokenize]'") from None
    return pa, parquet
