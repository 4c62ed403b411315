"""Sizes of a context model. Imports no torch."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from vqcodec.errors import ConfigError

MAX_SYMBOLS = 4096
"""The largest codebook: of the 2^16 shares of a distribution, every code has at least one."""

MAX_BYTES = 3_000_000
"""Of the tensors of a context model that `ContextConfig.fitting` chooses sizes for."""

_LIMITS = {
    "num_stages": (1, 64),
    "codebook_size": (2, MAX_SYMBOLS),
    "latent_dim": (1, 1024),
    "vector_shift": (-16, 16),
    "width": (1, 1024),
    "blocks": (1, 16),
    "kernel_size": (1, 16),
    "expansion": (1, 4),
    "hidden": (1, 1024),
    "count_hidden": (1, 1024),
}


@dataclass(frozen=True, kw_only=True)
class ContextConfig:
    """Sizes of a context model; any that are out of range raise `ConfigError`."""

    num_stages: int
    """Of the codec."""
    codebook_size: int
    """Of the codec."""
    latent_dim: int
    """Of the codec."""
    vector_shift: int
    """Code vectors are multiplied by 2 to this power and rounded to whole numbers."""
    width: int = 256
    """Activations of a frame."""
    blocks: int = 3
    """Blocks, each a convolution over time of every activation by itself and two layers."""
    kernel_size: int = 5
    """Frames that a convolution covers."""
    expansion: int = 2
    """Width inside a block, in widths."""
    hidden: int = 128
    """Activations that the logits of a stage are computed from."""
    count_hidden: int = 64
    """Activations that the logits of a count are computed from."""

    def __post_init__(self) -> None:
        for name, (low, high) in _LIMITS.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                raise ConfigError(f"context.{name} must be a whole number from {low} to {high}, not {value!r}")

    @classmethod
    def fitting(cls, **sizes: int) -> ContextConfig:
        """Choose the largest `hidden`, up to its default, with which a model of these sizes has at most `MAX_BYTES`.

        Raises:
            ConfigError: none is small enough, or a size is out of range.
        """
        for hidden in range(cls.hidden, 0, -_HIDDEN_STEP):
            config = cls(**sizes, hidden=hidden)
            if config.bytes <= MAX_BYTES:
                return config
        raise ConfigError(f"a context model for {sizes} has more than {MAX_BYTES} bytes")

    @property
    def bytes(self) -> int:
        """Bytes of the tensors."""
        return sum(math.prod(shape) * (1 if kind == "int8" else 4) for _, kind, shape in self.tensors())

    @property
    def first_frame(self) -> int:
        """Stands for the count of the frame before the first frame of a packet."""
        return self.num_stages + 1

    def tensors(self) -> Iterator[tuple[str, str, tuple[int, ...]]]:
        """Name, type and shape of every tensor of the model."""
        stages, size, dim = self.num_stages, self.codebook_size, self.latent_dim
        inner = self.width * self.expansion
        yield "input.weight", "int8", (self.width, 2 * dim)
        yield "input.table", "int32", (stages + 2, self.width)
        yield "input.shift", "int32", (1,)
        for block in range(self.blocks):
            yield f"blocks.{block}.depthwise.weight", "int8", (self.kernel_size, self.width)
            yield f"blocks.{block}.depthwise.shift", "int32", (1,)
            yield from _layer(f"blocks.{block}.expand", inner, self.width)
            yield from _layer(f"blocks.{block}.contract", self.width, inner)
        yield from _layer("count.hidden", self.count_hidden, self.width)
        yield from _layer("count.logits", stages + 1, self.count_hidden)
        yield "hidden.weight", "int8", (stages, self.hidden, self.width)
        yield "hidden.partial", "int8", (stages, self.hidden, dim)
        yield "hidden.table", "int32", (stages, stages + 1, self.hidden)
        yield "hidden.shift", "int32", (stages,)
        yield "logits.weight", "int8", (stages, size, self.hidden)
        yield "logits.bias", "int32", (stages, size)
        yield "logits.shift", "int32", (stages,)
        yield "exponentials", "int32", (EXPONENTIALS,)

    def to_dict(self) -> dict[str, Any]:
        """The fields by name."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ContextConfig:
        """The inverse of `to_dict`.

        Raises:
            ConfigError: a field is missing, unknown or out of range.
        """
        names = {field.name for field in dataclasses.fields(cls)}
        if names != set(values):
            raise ConfigError(f"the context model has other settings than this version: {sorted(names ^ set(values))}")
        return cls(**values)


_HIDDEN_STEP = 8

EXPONENTIALS = 312
"""Entries of the table of exponentials: exp(-i / 32) for i = 0, 1, ..., and at last 0."""


def _layer(name: str, outputs: int, inputs: int) -> Iterator[tuple[str, str, tuple[int, ...]]]:
    yield f"{name}.weight", "int8", (outputs, inputs)
    yield f"{name}.bias", "int32", (outputs,)
    yield f"{name}.shift", "int32", (1,)
