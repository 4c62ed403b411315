"""The results of a benchmark, and their JSON.

    {
      "format": "vqcodec bench",
      "version": 1,
      "machine": {"cpu": "...", "cpus": 2, ...},         the fields of `machine.Machine`
      "model": {"name": "speech_16k", ...},              the fields of `BenchmarkedModel`
      "settings": {"seconds": 30.0, "repeat": 5, ...},   the fields of `settings.BenchmarkSettings`
      "figures": [
        {"group": "whole", "name": "encode", "setting": "3 kbit/s", "place": "cpu, 1 thread",
         "unit": "x", "better": "higher", "best": 205.1, "median": 198.7, "count": 5},
        ...                                              the fields of `measurement.Figure`
      ],
      "skipped": ["other codecs: they need the package transformers: pip install 'vqcodec[neural]'"]
    }

Within a version, fields and figures may be added: a reader ignores what it does not know. A new version changes the
meaning of something.
"""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from vqcodec.codec import Codec
from vqcodec.errors import ConfigError

from .machine import Machine
from .measurement import Figure
from .settings import BenchmarkSettings

FORMAT = "vqcodec bench"
VERSION = 1

_WANTED = "give a file that vqcodec bench --json wrote"


@dataclass(frozen=True, kw_only=True)
class BenchmarkedModel:
    """Which model was measured."""

    name: str
    fingerprint: str
    """64 hexadecimal digits."""
    parameters: int
    """Numbers in the networks and the codebooks."""
    sample_rate: int
    precision: str = "float32"
    """What its products with weights were computed in."""

    @classmethod
    def of(cls, codec: Codec) -> BenchmarkedModel:
        """The facts about a loaded model."""
        networks = sum(parameter.numel() for parameter in codec.model.parameters())
        return cls(
            name=codec.name,
            fingerprint=codec.fingerprint,
            parameters=networks + codec.model.quantizer.code_vectors,
            sample_rate=codec.sample_rate,
            precision=codec.precision,
        )


@dataclass(frozen=True, kw_only=True)
class BenchmarkReport:
    """One benchmark."""

    format: Literal["vqcodec bench"] = "vqcodec bench"
    version: Literal[1] = 1
    machine: Machine
    model: BenchmarkedModel
    settings: BenchmarkSettings
    figures: tuple[Figure, ...]
    skipped: tuple[str, ...]
    """Measurements that failed, and why."""


def to_json(report: BenchmarkReport) -> bytes:
    """The report as JSON, ending in a line feed."""
    return _adapter().dump_json(report, indent=2) + b"\n"


def load(path: str | os.PathLike[str]) -> BenchmarkReport:
    """Read what `to_json` wrote.

    Raises:
        ConfigError: the file cannot be read, or holds no such report.
    """
    name = os.fspath(path)
    try:
        data = Path(path).read_bytes()
        values = from_json(data)
    except OSError as error:
        raise ConfigError(f"cannot read {name}: {error.strerror or error}") from error
    except ValueError as error:
        raise ConfigError(f"{name} is no JSON ({error}); {_WANTED}") from error
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise ConfigError(f"{name} is not a report of vqcodec bench; {_WANTED}")
    if values.get("version") != VERSION:
        found = str(values.get("version"))[:20]
        raise ConfigError(f"{name}: version {found} of the report is unknown, this vqcodec reads {VERSION}")
    try:
        return _adapter().validate_json(data, strict=True)
    except ConfigError as error:
        raise ConfigError(f"{name}: settings: {error}") from error
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(str(part) for part in fault["loc"])
        raise ConfigError(f"{name}: {where}: {fault['msg']}; {_WANTED}") from error


@functools.cache
def _adapter() -> TypeAdapter[BenchmarkReport]:
    return TypeAdapter(BenchmarkReport)
