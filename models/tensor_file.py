"""safetensors files whose bytes follow from what is in them, with a checksum over the whole. Imports no torch.

The layout is that of https://github.com/huggingface/safetensors: 8 bytes with the length of a JSON header, the header,
and the tensors' bytes. The library writes the metadata in an order that chance decides; here all is sorted.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Set
from typing import Any

from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from vqcodec.errors import CorruptFile

CHECKSUM = "sha256"
"""Key in the metadata of the SHA-256 of the whole file, computed with zeros in place of its own 64 digits."""

MAX_HEADER_BYTES = 8 << 20
"""The longest header that is read. A model of 300 tensors has one of 40 kB."""

_UNKNOWN = "0" * 64
_BLOCK_BYTES = 1 << 20
_TYPES = {"float16": "F16", "float32": "F32", "float64": "F64", "int8": "I8", "int32": "I32", "int64": "I64"}
_TYPES |= {"uint8": "U8", "int16": "I16", "bool": "BOOL"}


def to_bytes(tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> bytes:
    """Lay out a file: the same bytes for the same tensors and metadata, in whatever order they come.

    Args:
        tensors: by name; widest type first in the file, so that all are aligned, and else sorted by name.
        metadata: a former checksum among it is replaced.
    """
    header: dict[str, Any] = {"__metadata__": dict(sorted({**metadata, CHECKSUM: _UNKNOWN}.items()))}
    parts: list[bytes] = []
    end = 0
    for name in sorted(tensors, key=lambda name: (-tensors[name].itemsize, name)):
        array = tensors[name]
        parts.append(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes())
        start, end = end, end + len(parts[-1])
        header[name] = {"dtype": _TYPES[array.dtype.name], "shape": list(array.shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    start_of_file = len(text).to_bytes(8, "little") + text
    digest = hashlib.sha256(start_of_file)
    for part in parts:
        digest.update(part)
    return b"".join([_with_digits(start_of_file, _UNKNOWN, digest.hexdigest()), *parts])


@contextlib.contextmanager
def opened(path: str | os.PathLike[str], what: str, framework: str = "numpy") -> Iterator[Any]:
    """Open a file as `safetensors.safe_open` does, once its header is known to be of a sensible length.

    Args:
        path: the file.
        what: it should be, for messages: "a model file".
        framework: "numpy", or "pt" for torch.

    Raises:
        CorruptFile: it cannot be read, here or in the body.
    """
    try:
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
        if length > MAX_HEADER_BYTES:
            raise CorruptFile(f"{path} cannot be read as {what}: it begins with a header of {length} bytes")
        with safe_open(path, framework=framework) as tensors:
            yield tensors
    except (SafetensorError, OSError) as error:
        raise CorruptFile(f"{path} cannot be read as {what}: {error}") from error


def check_whole(path: str | os.PathLike[str], metadata: Mapping[str, str], known: Set[str]) -> None:
    """Compare the checksum of a file with its bytes; files written before there were any may do without.

    Args:
        path: the file.
        metadata: what it holds.
        known: keys of the metadata that files without a checksum have: any other may be the damaged key of one.

    Raises:
        CorruptFile: a byte of the file has changed, or it cannot be read.
    """
    if CHECKSUM not in metadata:
        if strange := sorted(metadata.keys() - known):
            raise CorruptFile(f"{path}: {strange[0][:40]!r} in the metadata is unknown, and there is no checksum")
        return
    wanted = metadata[CHECKSUM]
    if len(wanted) != len(_UNKNOWN) or _sha256(path, wanted) != wanted:
        raise CorruptFile(f"{path} is damaged: its bytes do not match its checksum; get the file anew")


def _sha256(path: str | os.PathLike[str], digits: str) -> str:
    """The checksum of a file in whose header these digits stand for it."""
    try:
        with open(path, "rb") as file:
            start = file.read(8)
            start += file.read(int.from_bytes(start, "little"))
            digest = hashlib.sha256(_with_digits(start, digits, _UNKNOWN))
            while block := file.read(_BLOCK_BYTES):
                digest.update(block)
    except OSError as error:
        raise CorruptFile(f"{path} cannot be read: {error.strerror or error}") from error
    return digest.hexdigest()


def _with_digits(start: bytes, old: str, new: str) -> bytes:
    """The start of a file, up to the end of its header, with other digits for the checksum."""
    entry = f'"{CHECKSUM}":"'
    return start.replace((entry + old).encode(), (entry + new).encode())
