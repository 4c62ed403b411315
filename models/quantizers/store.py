"""Files of quantizers: safetensors <-> kind, settings and learnt tables.

The tables are the tensors; `format`, `kind` and `settings` (JSON) are the metadata, beside a checksum.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from vqcodec.errors import ConfigError, CorruptFile, UnsupportedVersion
from vqcodec.files import atomic_output

from .. import tensor_file
from .additive import AdditiveQuantizer
from .base import Quantizer
from .composite import CompositeQuantizer
from .kmeans import KMeansQuantizer
from .lattice import LatticeQuantizer
from .lbg import LBGQuantizer
from .lvq import LearningVectorQuantizer
from .opq import OptimizedProductQuantizer
from .product import ProductQuantizer
from .residual import ResidualQuantizer
from .scalar import ScalarQuantizer
from .tree import TreeQuantizer

FORMAT = 1
"""Version of the layout of these files, in their metadata under "format"."""

_METADATA = frozenset({"format", "kind", "settings"})

KINDS: Mapping[str, type[Quantizer]] = {
    member.kind: member
    for member in (
        ScalarQuantizer,
        KMeansQuantizer,
        LBGQuantizer,
        TreeQuantizer,
        ProductQuantizer,
        OptimizedProductQuantizer,
        ResidualQuantizer,
        AdditiveQuantizer,
        CompositeQuantizer,
        LatticeQuantizer,
        LearningVectorQuantizer,
    )
}
"""Every quantizer by its kind."""


def save(path: str | os.PathLike[str], quantizer: Quantizer) -> None:
    """Write a fitted quantizer, replacing `path` only once all is written.

    Raises:
        VqcodecError: the quantizer is not fitted, or the file cannot be written.
    """
    tables = {name: table.cpu().numpy() for name, table in quantizer.tables().items()}
    metadata = {"format": str(FORMAT), "kind": quantizer.kind, "settings": json.dumps(quantizer.settings())}
    with atomic_output(path, force=True) as file:
        file.write(tensor_file.to_bytes(tables, metadata))


def load(path: str | os.PathLike[str]) -> Quantizer:
    """Read a quantizer as it was saved: on the CPU, ready to encode and decode.

    Raises:
        UnsupportedVersion: a newer version of vqcodec wrote the file.
        CorruptFile: the file is damaged, or not that of a quantizer.
    """
    metadata, tables = _read(Path(path))
    if metadata.get("format") != str(FORMAT):
        known = metadata.get("format", "").isdecimal()
        error = UnsupportedVersion if known else CorruptFile
        raise error(f"{path}: format {metadata.get('format')!r} of quantizer files is unknown, not {FORMAT}")
    quantizer = _build(path, metadata)
    try:
        quantizer.load_tables(tables)
    except CorruptFile as error:
        raise CorruptFile(f"{path}: {error}") from error
    return quantizer


def _read(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    with tensor_file.opened(path, "a quantizer file", framework="pt") as file:
        metadata = file.metadata() or {}
        tensor_file.check_whole(path, metadata, _METADATA)
        return metadata, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def _build(path: str | os.PathLike[str], metadata: Mapping[str, str]) -> Quantizer:
    """A quantizer of the kind and settings that the metadata name, not fitted."""
    kind = metadata.get("kind", "")
    if kind not in KINDS:
        raise CorruptFile(f"{path}: kind {kind!r} is not one of {', '.join(KINDS)}")
    make: Callable[..., Quantizer] = KINDS[kind]
    try:
        settings: dict[str, Any] = json.loads(metadata.get("settings", ""))
        return make(**settings)
    except (ValueError, TypeError, RecursionError, ConfigError) as error:
        raise CorruptFile(f"{path}: the settings are not those of a {kind} quantizer: {error}") from error
