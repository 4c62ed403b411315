"""The context model in a model file: its tensors beside those of the codec, checked. Imports no torch.

The tensors are called "context." and their name in `ContextConfig.tensors`; the sizes are JSON in the metadata, under
"context". The code vectors are the codec's own, rounded to whole numbers, and so not stored twice.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vqcodec.errors import ConfigError, CorruptFile
from vqcodec.files import atomic_output

from .. import tensor_file
from ..registry import METADATA
from .config import ContextConfig
from .integer import NARROW, WIDE, ContextNetwork, Multiplier

PREFIX = "context."
"""Begins the names of the context model's tensors, and of no others."""

KEY = "context"
"""Of the metadata."""

EXACT = 1 << 24
"""Whole numbers up to here are exact in float32."""

LARGEST_EXPONENTIAL = 1 << 14
"""Of the table that logits are looked up in."""

Tensors = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, kw_only=True, eq=False)
class ContextModel:
    """A context model as it is stored, with the code vectors that it works with."""

    config: ContextConfig
    tensors: Tensors
    """By their names without `PREFIX`."""
    vectors: NDArray[np.int64]
    """Whole code vectors [stage, code, dim]."""

    def __post_init__(self) -> None:
        check(self.config, self.tensors)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all that frequencies depend on, as 64 hexadecimal digits.

        It covers the sizes as a JSON object (sorted keys, no spaces), then, sorted by name, for each tensor and for
        `vectors` as int16 a line of name and shape and its little-endian bytes.
        """
        stored = {**self.tensors, "vectors": self.vectors.astype("<i2")}
        digest = hashlib.sha256(json.dumps(self.config.to_dict(), sort_keys=True, separators=(",", ":")).encode())
        for name, tensor in sorted(stored.items()):
            digest.update(f"\n{name} {','.join(map(str, tensor.shape))}\n".encode())
            digest.update(tensor.astype(tensor.dtype.newbyteorder("<"), copy=False).tobytes())
        return digest.hexdigest()

    def network(self, multiplier: Multiplier | None = None) -> ContextNetwork:
        """The network, ready to compute; `multiplier` as there."""
        return ContextNetwork(self.config, self.tensors, self.vectors, multiplier)


def whole_vectors(vectors: NDArray[Any], shift: int) -> NDArray[np.int64]:
    """Round code vectors times 2^shift to whole numbers, halves up, and clip them to `WIDE`: the same shape."""
    scaled = np.floor(np.ldexp(vectors.astype(np.float64), shift) + 0.5)
    return scaled.clip(-WIDE, WIDE).astype(np.int64)


def load(path: str | os.PathLike[str]) -> ContextModel | None:
    """Read the context model of a model file; None if it has none. The codec is neither built nor checked.

    Raises:
        CorruptFile: the file cannot be read, or what it holds is no context model that computes exactly.
        ConfigError: its settings are unknown to this version.
    """
    with tensor_file.opened(path, "a model file") as file:
        metadata = file.metadata() or {}
        if KEY not in metadata:
            return None
        tensor_file.check_whole(path, metadata, METADATA)
        try:
            return _read(file, _config(metadata[KEY]))
        except (ConfigError, CorruptFile) as error:
            raise type(error)(f"{path}: {error}") from error
        except (TypeError, ValueError, RecursionError) as error:
            raise CorruptFile(f"{path}: the settings of the context model cannot be read: {error}") from error


def attach(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    config: ContextConfig,
    tensors: Tensors,
    force: bool = False,
) -> None:
    """Write the model file `source` as `target` with this context model instead of any that it has.

    The codec's tensors, metadata and fingerprint stay as they are.

    Raises:
        CorruptFile: the source cannot be read, or the weights would not compute exactly.
        VqcodecError: the target cannot be written, or exists and `force` is false.
    """
    check(config, tensors)
    with tensor_file.opened(source, "a model file") as file:
        metadata = dict(file.metadata() or {})
        tensor_file.check_whole(source, metadata, METADATA)
        kept = {name: file.get_tensor(name) for name in file.keys() if not name.startswith(PREFIX)}  # noqa: SIM118
    metadata[KEY] = json.dumps(config.to_dict())
    added = {PREFIX + name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    with atomic_output(target, force) as output:
        output.write(tensor_file.to_bytes({**kept, **added}, metadata))


def book_name(stage: int) -> str:
    """The name of the tensor with the codec's code vectors of a stage."""
    return f"quantizer.codebooks.{stage}.vectors"


def check(config: ContextConfig, tensors: Tensors) -> None:
    """Refuse weights of the wrong shape or type, and those whose partial sums could leave what float32 holds exactly.

    Raises:
        CorruptFile: the message names the tensor.
    """
    for name, kind, shape in config.tensors():
        if name not in tensors or tensors[name].shape != shape or tensors[name].dtype != np.dtype(kind):
            raise CorruptFile(f"context.{name} is not {kind} {list(shape)}")
        if name.endswith(".shift") and not ((tensors[name] >= 1) & (tensors[name] <= 22)).all():
            raise CorruptFile(f"context.{name} must lie between 1 and 22")
    table = tensors["exponentials"]
    if table[0] < 1 or table.min() < 0 or table.max() > LARGEST_EXPONENTIAL:
        raise CorruptFile(f"context.exponentials must lie between 0 and {LARGEST_EXPONENTIAL}, and begin above 0")
    for name, largest in largest_sums(config, tensors):
        if largest >= EXACT:
            raise CorruptFile(f"context.{name}: a partial sum could reach {largest}, which float32 does not hold")


def largest_sums(config: ContextConfig, tensors: Tensors) -> Iterator[tuple[str, int]]:
    """Each layer, and the largest magnitude of any of its partial sums, in units of its smallest weight."""

    def layer(name: str, limit: int) -> tuple[str, int]:
        sums = _sums(tensors[f"{name}.weight"], limit) + _magnitude(tensors[f"{name}.bias"])
        return name, int(sums.max()) + _half(tensors[f"{name}.shift"])

    table = _magnitude(tensors["input.table"]).max()
    yield "input", int(_sums(tensors["input.weight"], WIDE).max() + table) + _half(tensors["input.shift"])
    for block in range(config.blocks):
        taps = tensors[f"blocks.{block}.depthwise.weight"].T
        shift = tensors[f"blocks.{block}.depthwise.shift"]
        yield f"blocks.{block}.depthwise", int(_sums(taps, WIDE).max()) + _half(shift)
        yield layer(f"blocks.{block}.expand", WIDE)
        yield layer(f"blocks.{block}.contract", NARROW)
    yield layer("count.hidden", WIDE)
    yield layer("count.logits", NARROW)
    for stage in range(config.num_stages):
        sums = _sums(tensors["hidden.weight"][stage], WIDE) + _sums(tensors["hidden.partial"][stage], WIDE)
        sums = sums + _magnitude(tensors["hidden.table"][stage]).max(axis=0)
        yield f"hidden, stage {stage}", int(sums.max()) + _half(tensors["hidden.shift"][stage])
        sums = _sums(tensors["logits.weight"][stage], NARROW) + _magnitude(tensors["logits.bias"][stage])
        yield f"logits, stage {stage}", int(sums.max()) + _half(tensors["logits.shift"][stage])


def _sums(weight: NDArray[Any], limit: int) -> NDArray[np.int64]:
    """The largest sum of each output of a matrix [out, in] whose inputs are of magnitude `limit` at most."""
    sums: NDArray[np.int64] = _magnitude(weight).sum(axis=1) * limit
    return sums


def _magnitude(values: NDArray[Any]) -> NDArray[np.int64]:
    return np.abs(values.astype(np.int64))


def _half(shift: Any) -> int:
    return 1 << int(np.ravel(shift)[0]) - 1


def _config(text: str) -> ContextConfig:
    values = json.loads(text)
    if not isinstance(values, dict):
        raise ValueError("the settings of the context model are no JSON object")
    return ContextConfig.from_dict(values)


def _read(file: Any, config: ContextConfig) -> ContextModel:
    names = set(file.keys())
    expected = {name for name, _, _ in config.tensors()}
    stored = {name.removeprefix(PREFIX) for name in names if name.startswith(PREFIX)}
    books = [book_name(stage) for stage in range(config.num_stages)]
    if stored != expected or not names.issuperset(books):
        raise CorruptFile("the tensors of the context model are not those of its settings")
    _check_book_shapes(file, books, config)
    tensors = {name: file.get_tensor(PREFIX + name) for name in sorted(expected)}
    vectors = np.stack([file.get_tensor(book) for book in books])
    if not np.isfinite(vectors).all():
        raise CorruptFile("code vectors are NaN or infinite")
    return ContextModel(config=config, tensors=tensors, vectors=whole_vectors(vectors, config.vector_shift))


def _check_book_shapes(file: Any, books: list[str], config: ContextConfig) -> None:
    shape = [config.codebook_size, config.latent_dim]
    for book in books:
        part = file.get_slice(book)
        if part.get_shape() != shape or part.get_dtype() != "F16":
            raise CorruptFile(f"{book} is not float16 {shape}, as the context model expects")
