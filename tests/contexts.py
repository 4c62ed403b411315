"""Small context models for the tests: random weights, the same on every run."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vqcodec.models.context.config import EXPONENTIALS, ContextConfig
from vqcodec.models.context.store import ContextModel, whole_vectors


def small_config(**sizes: int) -> ContextConfig:
    """Sizes of a model that computes fast."""
    defaults = {"num_stages": 4, "codebook_size": 16, "latent_dim": 8, "vector_shift": 6, "width": 32, "blocks": 2}
    return ContextConfig(**{**defaults, "hidden": 24, "count_hidden": 16, **sizes})


def tensors_of(config: ContextConfig, seed: int = 0) -> dict[str, NDArray[Any]]:
    """Random weights of sensible magnitudes."""
    random = np.random.default_rng(seed)
    tensors: dict[str, NDArray[Any]] = {}
    for name, kind, shape in config.tensors():
        if name.endswith(".shift"):
            tensors[name] = np.full(shape, 9 if name == "input.shift" else 8, np.int32)
        elif name == "exponentials":
            tensors[name] = np.floor(2.0**14 * np.exp(-np.arange(EXPONENTIALS) / 32)).astype(np.int32)
            tensors[name][-1] = 0
        elif kind == "int8":
            tensors[name] = random.integers(-127, 128, shape).astype(np.int8)
        else:
            tensors[name] = random.integers(-1500, 1500, shape).astype(np.int32)
    return tensors


def context_model(config: ContextConfig | None = None, seed: int = 0) -> ContextModel:
    """A model of random weights and code vectors."""
    config = config or small_config()
    random = np.random.default_rng(seed + 1)
    shape = (config.num_stages, config.codebook_size, config.latent_dim)
    vectors = whole_vectors(random.normal(0, 0.7, shape), config.vector_shift)
    return ContextModel(config=config, tensors=tensors_of(config, seed), vectors=vectors)


def packet(
    config: ContextConfig, channels: int, frames: int, seed: int = 0
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Random codes and counts of a packet."""
    random = np.random.default_rng(seed)
    counts = random.integers(0, config.num_stages + 1, (channels, frames))
    codes = random.integers(0, config.codebook_size, (channels, config.num_stages, frames))
    return codes * (np.arange(config.num_stages)[:, None] < counts[:, None]), counts
