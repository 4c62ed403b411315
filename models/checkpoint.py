"""Model files: safetensors <-> configuration, weights and fingerprint.

A model file holds all that coding needs and nothing else: every parameter and every codebook's vectors as
float16, and as metadata `format`, `config` (JSON), `fingerprint`, `parameters` and, if given, `decodes`, `training` and
`trained_on_scores` (JSON all three), and a checksum over the whole file. A context model may lie beside them: see
`context/store.py`.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vqcodec.errors import CorruptFile, VqcodecError
from vqcodec.files import atomic_output

from . import tensor_file
from .autoencoder import Autoencoder
from .config import ModelConfig
from .context.store import PREFIX as CONTEXT_PREFIX
from .registry import FORMAT, METADATA, SILENCE, describe

_LEARNING_STATE = (".counts", ".sums")  # of a codebook: needed to go on training only
_DECODE_FIELDS = (
    "sample_rate",
    "mdct_hop",
    "stride",
    "latent_dim",
    "num_stages",
    "codebook_size",
    "kernel_size",
    "expansion",
    "decoder_width",
    "decoder_blocks",
    "decoder_fast_blocks",
    "decoder_lookahead",
    "delay",
)
_STOCHASTIC_FIELDS = ("decoder_stochastic", "decoder_spread_from_hz")
_WAVENET_FIELDS = (
    "decoder_kind",
    "wavenet_channels",
    "wavenet_layers",
    "wavenet_cycle",
    "wavenet_mixtures",
    "wavenet_order",
)


def save(
    path: str | os.PathLike[str],
    model: Autoencoder,
    training: Mapping[str, Any] | None = None,
    decodes: Sequence[str] = (),
    trained_on_scores: Sequence[str] | None = None,
) -> str:
    """Write a model file, replacing `path` only once all is written. Returns the fingerprint.

    Args:
        path: usually ends in ".safetensors".
        model: on any device, in any floating-point type.
        training: facts about the training, as far as JSON can hold them.
        decodes: fingerprints of earlier models with the same codebooks, whose files this model decodes as well.
        trained_on_scores: names of the scores that its losses imitate; None if that is not known.

    Raises:
        VqcodecError: a weight is NaN or too large for float16, or the file cannot be written.
    """
    tensors = _stored(model)
    parameters = _count(tensors)
    if model.config.kind.can_vary:
        tensors[SILENCE] = model.silence.half().cpu()
    _check_finite(tensors, os.fspath(path), VqcodecError)
    fingerprint = _fingerprint(model.config, tensors)
    metadata = {
        "format": str(FORMAT),
        "config": json.dumps(model.config.to_dict()),
        "fingerprint": fingerprint,
        "parameters": str(parameters),
    }
    if decodes:
        metadata["decodes"] = json.dumps(list(decodes))
    if trained_on_scores is not None:
        metadata["trained_on_scores"] = json.dumps(list(trained_on_scores))
    if training is not None:
        metadata["training"] = json.dumps(training)
    with atomic_output(path, force=True) as file:
        file.write(tensor_file.to_bytes({name: tensor.numpy() for name, tensor in tensors.items()}, metadata))
    return fingerprint


def load(path: str | os.PathLike[str], device: torch.device | str = "cpu") -> Autoencoder:
    """Read a model file: in evaluation mode, float32, without gradients.

    The codebooks have their vectors only, not the running sums that training goes on from.

    Raises:
        CorruptFile: the file is damaged, or its tensors are not those of its configuration and fingerprint.
        ConfigError: its configuration is unknown to this version.
    """
    info = describe(path)
    _check_size(info.config, info.bytes, info.path)
    model = Autoencoder(info.config)
    tensors = _read(info.path, _stored_names(model), info.config.latent_dim)
    silence = tensors.pop(SILENCE, None)
    if _count(tensors) != info.parameters:
        raise CorruptFile(f"{path}: {_count(tensors)} parameters instead of the {info.parameters} in the metadata")
    if _fingerprint(info.config, tensors) != info.fingerprint:
        raise CorruptFile(f"{path}: the weights do not match the fingerprint in the metadata")
    model.load_state_dict({name: tensor.float() for name, tensor in tensors.items()}, strict=False)
    if silence is not None:
        model.silence.copy_(silence.float())
    return model.eval().requires_grad_(False).to(device)


def fingerprint_of(model: Autoencoder) -> str:
    """SHA-256 of all that decoding depends on, as 64 hexadecimal digits.

    It covers the sizes of decoder and bottleneck, the delay, and the tensors of `decoder` and `quantizer` as float16:
    a JSON object of the former (sorted keys, no spaces), then for each tensor, sorted by name, a line of
    name and shape and its little-endian bytes. The encoder may improve without breaking any file.
    """
    return _fingerprint(model.config, _stored(model))


def _fingerprint(config: ModelConfig, tensors: Mapping[str, Tensor]) -> str:
    fields: dict[str, Any] = {name: getattr(config, name) for name in _DECODE_FIELDS}
    fields["power"] = float(config.power)
    fields |= {name: getattr(config, name) for name in config.kind.fingerprint_fields}
    if config.decoder_stochastic:  # fingerprints are older than stochastic decoders
        fields |= {name: getattr(config, name) for name in _STOCHASTIC_FIELDS}
    if config.decoder_conceals:  # and than concealment
        fields["decoder_conceals"] = True
    if config.decoder_kind == "wavenet":  # and than these
        fields |= {name: getattr(config, name) for name in _WAVENET_FIELDS}
    digest = hashlib.sha256(json.dumps(fields, sort_keys=True, separators=(",", ":")).encode())
    for name in sorted(tensors):
        if name.startswith(("decoder.", "quantizer.")):
            shape = ",".join(map(str, tensors[name].shape))
            digest.update(f"\n{name} {shape}\n".encode())
            digest.update(tensors[name].numpy().astype("<f2", copy=False).tobytes())
    return digest.hexdigest()


def _stored_names(model: Autoencoder) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in model.state_dict().items() if not name.endswith(_LEARNING_STATE)}


def _stored(model: Autoencoder) -> dict[str, Tensor]:
    return {name: tensor.half().cpu().contiguous() for name, tensor in _stored_names(model).items()}


def _read(path: Path, expected: Mapping[str, Tensor], latent_dim: int) -> dict[str, Tensor]:
    """The tensors of a file, which must be those expected by name, shape and type; and `SILENCE` if it has that."""
    with tensor_file.opened(path, "a model file", framework="pt") as file:
        names = {name for name in file.keys() if not name.startswith(CONTEXT_PREFIX)}  # noqa: SIM118
        if SILENCE in names:
            expected = {**expected, SILENCE: torch.empty(latent_dim)}
        _check_names(path, names, set(expected))
        for name, tensor in expected.items():
            _check_tensor(f"{path}: {name}", file.get_slice(name), list(tensor.shape))
        tensor_file.check_whole(path, file.metadata(), METADATA)
        tensors = {name: file.get_tensor(name) for name in expected}
    _check_finite(tensors, os.fspath(path), CorruptFile)
    return tensors


def _check_tensor(name: str, actual: Any, shape: list[int]) -> None:
    if actual.get_dtype() != "F16":
        raise CorruptFile(f"{name} is {actual.get_dtype()}, not F16 (float16)")
    if actual.get_shape() != shape:
        raise CorruptFile(f"{name} is {actual.get_shape()}, not {shape}")


def _check_names(path: Path, actual: set[str], expected: set[str]) -> None:
    if missing := sorted(expected - actual):
        raise CorruptFile(f"{path}: {len(missing)} tensors are missing, the first is {missing[0]}")
    if extra := sorted(actual - expected):
        raise CorruptFile(f"{path}: {len(extra)} tensors are not of this model, the first is {extra[0]}")


def least_numbers(config: ModelConfig) -> int:
    """Count the numbers in the weights and codebooks of a model, biases and the like left out, without building it."""
    weights = _encoder_weights(config) + _decoder_weights(config)
    return weights + config.code_vectors + config.kind.square_layers * config.latent_dim**2


def _check_size(config: ModelConfig, file_bytes: int, path: Path) -> None:
    """Refuse a configuration that the file cannot hold, before anything of its size is allocated."""
    least = least_numbers(config)
    if 2 * least > file_bytes:
        raise CorruptFile(f"{path}: {file_bytes} bytes cannot hold the {least} numbers of the configuration")


def _encoder_weights(c: ModelConfig) -> int:
    """Numbers in the encoder, biases and the like left out; the decoder's likewise."""
    width, blocks = c.encoder_width, c.encoder_fast_blocks + c.encoder_blocks
    down = 2 * c.stride * width if c.stride > 1 else 0
    return width * (2 * c.mdct_hop + down + c.latent_dim) + blocks * _block_weights(c, width)


def _decoder_weights(c: ModelConfig) -> int:
    width, blocks = c.decoder_width, c.decoder_fast_blocks + c.decoder_blocks
    up = c.stride * width if c.stride > 1 else 0
    trunk = width * (c.latent_dim + up) + blocks * _block_weights(c, width)
    if c.decoder_kind == "mdct":
        return trunk + width * (c.mdct_hop + c.spread_bins)
    gates = 2 * c.wavenet_channels * c.wavenet_layers
    return trunk + gates * (width + 3 * c.wavenet_channels)


def _block_weights(c: ModelConfig, width: int) -> int:
    return width * c.kernel_size + 2 * c.expansion * width**2


def _check_finite(tensors: Mapping[str, Tensor], name: str, error: type[VqcodecError]) -> None:
    for key, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise error(f"{name}: {key} holds values that are NaN or beyond float16")


def _count(tensors: Mapping[str, Tensor]) -> int:
    return sum(tensor.numel() for tensor in tensors.values())
