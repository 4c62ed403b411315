"""Priors on the disk: a safetensors file with the sizes, the model that the codes are of, and a checksum."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from vqcodec.errors import ConfigError, CorruptFile, ModelMismatch, VqcodecError
from vqcodec.files import atomic_output

from .. import tensor_file
from .base import Prior
from .config import TRANSFORMER, PriorConfig
from .pixelcnn import PixelPrior
from .transformer import TransformerPrior

FORMAT = "1"
"""Version of the layout of the file, in its metadata under "format"."""

FACTS = "facts"
"""Key in the metadata of what is told of a training, as JSON."""


@dataclass(frozen=True, eq=False)
class StoredPrior:
    """A prior as its file has it."""

    prior: Prior
    facts: Mapping[str, Any]
    """What its training told: the model's name, the steps, the bits of held-out codes."""

    def check_model(self, fingerprint: str, path: str | os.PathLike[str]) -> None:
        """Refuse another model than the one whose codes these are.

        Raises:
            ModelMismatch: the message names both.
        """
        own = self.prior.config.fingerprint
        if own != fingerprint:
            name = self.facts.get("model", "a model")
            raise ModelMismatch(f"{path} is a prior of the codes of {name} ({own[:16]}), not of {fingerprint[:16]}")


def build(config: PriorConfig) -> Prior:
    """Make an untrained prior."""
    return TransformerPrior(config) if config.kind == TRANSFORMER else PixelPrior(config)


def save(path: str | os.PathLike[str], prior: Prior, facts: Mapping[str, Any], force: bool = False) -> None:
    """Write a prior, its weights as float16.

    Args:
        path: usually ends in ".safetensors".
        prior: on any device.
        facts: anything that JSON can hold.
        force: overwrite the file.

    Raises:
        VqcodecError: a weight is NaN or too large for float16, or the file cannot be written, or exists.
    """
    tensors = {name: tensor.detach().half().cpu() for name, tensor in prior.state_dict().items()}
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise VqcodecError(f"{name} holds values that float16 does not; the prior was not written")
    metadata = {"format": FORMAT, PriorConfig.KEY: json.dumps(prior.config.to_dict()), FACTS: json.dumps(facts)}
    arrays = {name: tensor.contiguous().numpy() for name, tensor in tensors.items()}
    with atomic_output(path, force) as output:
        output.write(tensor_file.to_bytes(arrays, metadata))


def load(path: str | os.PathLike[str], device: torch.device | str = "cpu") -> StoredPrior:
    """Read a prior: in evaluation mode, float32, without gradients.

    Raises:
        CorruptFile: the file is damaged, or is no prior.
        ConfigError: its settings are unknown to this version.
    """
    with tensor_file.opened(path, "a prior", "pt") as file:
        metadata = file.metadata() or {}
        if PriorConfig.KEY not in metadata:
            raise CorruptFile(f"{path} is no prior; `vqcodec train-prior` writes one")
        if tensor_file.CHECKSUM not in metadata:
            raise CorruptFile(f"{path} is damaged: its checksum is missing")
        tensor_file.check_whole(path, metadata, set())
        config, facts = _settings(path, metadata)
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in build(config).state_dict().items()}
    if shapes != {name: tensor.shape for name, tensor in tensors.items()}:
        raise CorruptFile(f"{path}: the tensors are not those of its settings")
    if not all(tensor.isfinite().all() for tensor in tensors.values()):
        raise CorruptFile(f"{path}: weights are NaN or infinite")
    prior = build(config)
    prior.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    return StoredPrior(prior.eval().requires_grad_(False).to(device), facts)


def _settings(path: str | os.PathLike[str], metadata: Mapping[str, str]) -> tuple[PriorConfig, Mapping[str, Any]]:
    try:
        if metadata["format"] != FORMAT:
            raise ConfigError(f"{path} is a prior of another version: {metadata['format'][:20]!r}")
        values, facts = json.loads(metadata[PriorConfig.KEY]), json.loads(metadata[FACTS])
        if not isinstance(values, dict) or not isinstance(facts, dict):
            raise ValueError("no JSON object")
        return PriorConfig.from_dict(values), facts
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise CorruptFile(f"{path}: the settings of the prior cannot be read: {error}") from None
