"""The models that ship in `weights/`, and the metadata of any model file. Imports no torch."""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from vqcodec.errors import ConfigError, CorruptFile, ModelMismatch

from . import tensor_file
from .config import ModelConfig

DEFAULT = "speech_16k"
"""The model that is used where none is named."""

FORMAT = 1
"""Version of the layout of model files, in their metadata under "format"."""

SHORT_FINGERPRINT_BYTES = 8
"""The share of a fingerprint that a `.vq` file names its model by."""

METADATA = frozenset(
    {"format", "config", "fingerprint", "parameters", "decodes", "training", "trained_on_scores", "context"}
)
"""Keys in the metadata of model files, their checksum aside."""

SILENCE = "silence"
"""The tensor with the latent of a frame without codes; files written before such frames have none, and it is 0."""

_WEIGHTS = Path(__file__).parent / "weights"
_SUFFIX = ".safetensors"
_FORMER = _WEIGHTS / "former.json"
"""Fingerprints of weights that shipped once, with the model's name and where to get them."""

_FRONT_MATTER = re.compile(r"\+\+\+\n(.*?)^\+\+\+$", re.DOTALL | re.MULTILINE)
_SHA256 = re.compile("[0-9a-f]{64}")
_JSON_NAMES: Mapping[type, str] = {dict: "object", list: "list"}
_MAX_METADATA_CHARACTERS = 1 << 20


Entry = TypeVar("Entry", dict[str, Any], list[Any])


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """The metadata of a model file."""

    name: str
    path: Path
    config: ModelConfig
    fingerprint: str
    """SHA-256 of what decoding depends on, as 64 hexadecimal digits; see `checkpoint.fingerprint_of`."""
    decodes: tuple[str, ...]
    """Fingerprints of earlier models whose files it decodes as well: their decoder was trained on, nothing else."""
    parameters: int
    """Numbers stored, codebooks included."""
    bytes: int
    """Size of the file."""
    training: Mapping[str, Any]
    """Facts about the training, as they were saved."""
    trained_on_scores: tuple[str, ...] | None
    """Names of the scores that the losses of its training imitate; None if neither the file nor its card says so."""


def names() -> tuple[str, ...]:
    """The models that ship, in alphabetical order."""
    return tuple(sorted(path.stem for path in _WEIGHTS.glob(f"*{_SUFFIX}")))


def find(name_or_path: str | os.PathLike[str]) -> Path:
    """The file of a model that ships, or the path itself if there is such a file.

    Raises:
        ModelMismatch: there is neither.
    """
    name = os.fspath(name_or_path)
    if name in names():
        return _WEIGHTS / f"{name}{_SUFFIX}"
    path = Path(name)
    if path.is_file():
        return path
    raise ModelMismatch(f"unknown model {name!r}; choose {', '.join(names()) or 'a file'} or give the path of one")


def describe(path: str | os.PathLike[str]) -> ModelInfo:
    """Read the metadata of a model file; the weights are neither read nor checked.

    Raises:
        CorruptFile: it cannot be read, or is not a safetensors file with a model of vqcodec.
        ConfigError: its configuration is unknown to this version.
    """
    path = Path(path)
    metadata = _metadata(path)
    version = _entry(path, metadata, "format")
    if version != str(FORMAT):
        raise CorruptFile(f"{path}: model format {version[:20]!r} is unknown to this version, which reads {FORMAT}")
    fingerprint = _entry(path, metadata, "fingerprint")
    parameters = _entry(path, metadata, "parameters")
    decodes = _json_entry(path, metadata, "decodes", list) if "decodes" in metadata else []
    if not all(isinstance(entry, str) and _SHA256.fullmatch(entry) for entry in [fingerprint, *decodes]):
        raise CorruptFile(f"{path}: a fingerprint in the metadata is not a SHA-256")
    if not (parameters.isdecimal() and len(parameters) < 16):
        raise CorruptFile(f"{path}: the number of parameters in the metadata is {parameters[:20]!r}")
    config = _config(path, _json_entry(path, metadata, "config", dict))
    return ModelInfo(
        name=config.name,
        path=path,
        config=config,
        fingerprint=fingerprint,
        decodes=tuple(decodes),
        parameters=int(parameters),
        bytes=path.stat().st_size,
        training=_json_entry(path, metadata, "training", dict) if "training" in metadata else {},
        trained_on_scores=_trained_on_scores(path, metadata),
    )


def by_fingerprint(start: bytes) -> ModelInfo | None:
    """The shipped model that decodes files with these bytes (8 in a `.vq` file) of a fingerprint; None if none does."""
    for name in names():
        info = describe(find(name))
        if any(bytes.fromhex(fingerprint).startswith(start) for fingerprint in (info.fingerprint, *info.decodes)):
            return info
    return None


def whereabouts(start: bytes) -> str:
    """Describe the model that these bytes of a fingerprint name, and where to get its weights, in a few words."""
    shown = start.hex()
    if (info := by_fingerprint(start)) is not None:
        return f"the model {info.name} ({shown}), which comes with this version"
    for former in json.loads(_FORMER.read_text(encoding="utf-8")):
        if bytes.fromhex(former["fingerprint"]).startswith(start):
            return f"the model {former['name']} ({shown}); {former['where']}"
    return f"a model with fingerprint {shown}, which has never shipped; ask whoever encoded it for the weights"


def _trained_on_scores(path: Path, metadata: Mapping[str, str]) -> tuple[str, ...] | None:
    key = "trained_on_scores"
    names = _json_entry(path, metadata, key, list) if key in metadata else _card(path).get(key)
    if names is None:
        return None
    if not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise CorruptFile(f"{path}: {key!r} is not a list of names")
    return tuple(names)


def _card(path: Path) -> Mapping[str, Any]:
    """The front matter of the model card beside a model file: TOML between two lines of "+++"; empty without one."""
    card = path.with_suffix(".md")
    try:
        found = _FRONT_MATTER.match(card.read_text(encoding="utf-8"))
        return tomllib.loads(found[1]) if found else {}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise CorruptFile(f"{card}: the front matter of the model card cannot be read: {error}") from error


def _metadata(path: Path) -> Mapping[str, str]:
    with tensor_file.opened(path, "a model file") as file:
        return file.metadata() or {}


def _entry(path: Path, metadata: Mapping[str, str], key: str) -> str:
    value = metadata.get(key)
    if value is None:
        raise CorruptFile(f"{path} is not a model of vqcodec: its metadata has no {key!r}")
    if len(value) > _MAX_METADATA_CHARACTERS:
        raise CorruptFile(f"{path}: {key!r} in the metadata has {len(value)} characters")
    return value


def _json_entry(path: Path, metadata: Mapping[str, str], key: str, kind: type[Entry]) -> Entry:
    try:
        value = json.loads(_entry(path, metadata, key))
    except (ValueError, RecursionError) as error:
        raise CorruptFile(f"{path}: {key!r} in the metadata is not JSON: {error}") from error
    if not isinstance(value, kind):
        raise CorruptFile(f"{path}: {key!r} in the metadata is not a JSON {_JSON_NAMES[kind]}")
    return value


def _config(path: Path, values: Mapping[str, Any]) -> ModelConfig:
    try:
        return ModelConfig.from_dict(values)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
