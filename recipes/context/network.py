"""The context network as it is trained, and how it becomes whole numbers.

Activations here are those of `vqcodec.models.context.integer` divided by 32, sums of code vectors are divided by 64.
While `whole` is false all of them are real numbers; once it is true, activations and weights are rounded as they will
be, gradients passing straight through, and in float32 the logits are those of the integer network, to the last bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from vqcodec.models.context.config import EXPONENTIALS, ContextConfig
from vqcodec.models.context.integer import NARROW, WIDE
from vqcodec.models.context.store import LARGEST_EXPONENTIAL

_STEP_BITS = 5
STEPS = 1 << _STEP_BITS
"""Whole activations, and whole logits, are so many to one."""

_SUM_BITS = 6
SUM_STEPS = 1 << _SUM_BITS
"""Whole sums of code vectors are so many to one."""

_WIDE, _NARROW = WIDE / STEPS, NARROW / STEPS
_LARGEST_WEIGHT = 127
_MOST_BITS = 16


class ContextTraining(nn.Module):
    """A context network that learns.

    Args:
        config: the sizes.
        vectors: whole code vectors [stage, code, dim].
    """

    def __init__(self, config: ContextConfig, vectors: NDArray[np.int64]) -> None:
        super().__init__()
        self.config = config
        self.whole = False
        stages, width, dim = config.num_stages, config.width, config.latent_dim
        self.register_buffer("vectors", torch.from_numpy(vectors).float() / SUM_STEPS, persistent=False)
        self.vectors: Tensor
        self.input = _matrix(width, 2 * dim)
        self.input_table = nn.Parameter(0.1 * torch.randn(stages + 2, width))
        self.blocks = nn.ModuleList(_Block(config) for _ in range(config.blocks))
        self.count_hidden = _Layer(config.count_hidden, width)
        self.count_logits = _Layer(stages + 1, config.count_hidden)
        self.hidden = nn.ParameterList(_matrix(config.hidden, width) for _ in range(stages))
        self.partial = nn.ParameterList(_matrix(config.hidden, dim) for _ in range(stages))
        self.hidden_table = nn.Parameter(0.1 * torch.randn(stages, stages + 1, config.hidden))
        self.logits = nn.ModuleList(_Layer(config.codebook_size, config.hidden) for _ in range(stages))
        for layer in self.logits:
            assert isinstance(layer, _Layer)
            layer.weight.data *= 0.3

    def forward(self, codes: Tensor, counts: Tensor) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """Logits of the counts, and of the codes of those frames that have them.

        Args:
            codes: int64 [item, stage, frame].
            counts: numbers of stages sent, int64 [item, frame].

        Returns:
            [item * frame, 1 + num_stages] and, for each stage, the numbers of the frames that have a code, from
            0 to item * frame - 1, with their logits [frame with a code, code].
        """
        stages = self.config.num_stages
        sent = (torch.arange(stages, device=codes.device)[:, None] < counts[:, None]).unsqueeze(-1)
        looked_up = torch.stack([self.vectors[stage][codes[:, stage]] for stage in range(stages)], 1)
        sums = (looked_up * sent).cumsum(1).clamp(-WIDE / SUM_STEPS, WIDE / SUM_STEPS)  # [item, stage, frame, dim]
        x = self._trunk(sums, counts).flatten(0, 1)
        count_logits = self._round(self.count_logits(self._narrow(self.count_hidden(x, self.whole)), self.whole))
        own = counts.flatten()
        found = []
        for stage in range(stages):
            chosen = (own > stage).nonzero()[:, 0]
            before = sums[:, stage - 1].flatten(0, 1)[chosen] if stage else None
            found.append((chosen, self._stage(stage, x[chosen], own[chosen], before)))
        return count_logits, found

    def _trunk(self, sums: Tensor, counts: Tensor) -> Tensor:
        ends = torch.cat([sums[:, -1], sums[:, min(1, self.config.num_stages - 1)]], -1)
        past = F.pad(ends, (0, 0, 1, 0))[:, :-1]
        before = F.pad(counts, (1, 0), value=self.config.first_frame)[:, :-1]
        weight: Tensor = self.input
        table: Tensor = self.input_table
        if self.whole:
            bits = _bits(weight)
            weight, table = _through(weight, bits), _through(table, bits + _SUM_BITS)
        x = self._wide(F.linear(past, weight) + table[before])
        for block in self.blocks:
            x = block(x, self.whole)
        return x

    def _stage(self, stage: int, x: Tensor, counts: Tensor, before: Tensor | None) -> Tensor:
        weight, partial, table = self.hidden[stage], self.partial[stage], self.hidden_table[stage]
        if self.whole:
            bits = _joint_bits(weight, partial)
            weight, partial = _through(weight, bits), _through(partial, bits - 1)
            table = _through(table, bits + _STEP_BITS)
        hidden = F.linear(x, weight) + table[counts]
        if before is not None:
            hidden = hidden + F.linear(before, partial)
        return self._round(self.logits[stage](self._narrow(hidden), self.whole))

    def _round(self, x: Tensor) -> Tensor:
        return _through(x, _STEP_BITS) if self.whole else x

    def _wide(self, x: Tensor) -> Tensor:
        return self._round(x).clamp(-_WIDE, _WIDE)

    def _narrow(self, x: Tensor) -> Tensor:
        return self._round(x).clamp(0, _NARROW)

    @torch.no_grad()
    def tensors(self) -> dict[str, NDArray[Any]]:
        """Whole weights, by the names of `ContextConfig.tensors`."""
        found: dict[str, Tensor] = {}
        bits = _bits(self.input)
        found["input.weight"] = _whole(self.input, bits)
        found["input.table"] = _whole(self.input_table, bits + _SUM_BITS)
        found["input.shift"] = torch.tensor([bits + _SUM_BITS - _STEP_BITS])
        for index, block in enumerate(self.blocks):
            assert isinstance(block, _Block)
            bits = _bits(block.depthwise)
            found[f"blocks.{index}.depthwise.weight"] = _whole(block.depthwise, bits)
            found[f"blocks.{index}.depthwise.shift"] = torch.tensor([bits])
            found |= block.expand.tensors(f"blocks.{index}.expand") | block.contract.tensors(f"blocks.{index}.contract")
        found |= self.count_hidden.tensors("count.hidden") | self.count_logits.tensors("count.logits")
        joint = [_joint_bits(*pair) for pair in zip(self.hidden, self.partial, strict=True)]
        found["hidden.weight"] = torch.stack([_whole(*pair) for pair in zip(self.hidden, joint, strict=True)])
        partial = [_whole(weight, bits - 1) for weight, bits in zip(self.partial, joint, strict=True)]
        found["hidden.partial"] = torch.stack(partial)
        tables = [_whole(table, bits + _STEP_BITS) for table, bits in zip(self.hidden_table, joint, strict=True)]
        found["hidden.table"] = torch.stack(tables)
        found["hidden.shift"] = torch.tensor(joint)
        layers = [layer.tensors("logits") for layer in self.logits]  # type: ignore[operator]
        found |= {name: torch.stack([layer[name] for layer in layers]) for name in ("logits.weight", "logits.bias")}
        found["logits.shift"] = torch.cat([layer["logits.shift"] for layer in layers])
        found["exponentials"] = torch.from_numpy(exponentials())
        return {name: found[name].cpu().numpy().astype(kind) for name, kind, _ in self.config.tensors()}


class _Layer(nn.Module):
    def __init__(self, outputs: int, inputs: int) -> None:
        super().__init__()
        self.weight, self.bias = _matrix(outputs, inputs), nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor, whole: bool) -> Tensor:
        weight: Tensor = self.weight
        bias: Tensor = self.bias
        if whole:
            bits = _bits(weight)
            weight, bias = _through(weight, bits), _through(bias, bits + _STEP_BITS)
        return F.linear(x, weight, bias)

    def tensors(self, name: str) -> dict[str, Tensor]:
        bits = _bits(self.weight)
        weight, bias = _whole(self.weight, bits), _whole(self.bias, bits + _STEP_BITS)
        return {f"{name}.weight": weight, f"{name}.bias": bias, f"{name}.shift": torch.tensor([bits])}


class _Block(nn.Module):
    def __init__(self, config: ContextConfig) -> None:
        super().__init__()
        inner = config.width * config.expansion
        self.depthwise = nn.Parameter(0.1 * torch.randn(config.kernel_size, config.width))
        self.depthwise.data[-1] += 1
        self.expand, self.contract = _Layer(inner, config.width), _Layer(config.width, inner)
        self.contract.weight.data *= 0.5

    def forward(self, x: Tensor, whole: bool) -> Tensor:
        taps = _through(self.depthwise, _bits(self.depthwise)) if whole else self.depthwise
        past = F.pad(x, (0, 0, len(taps) - 1, 0))
        y = sum(past[:, place : place + x.shape[1]] * tap for place, tap in enumerate(taps))
        y = _rounded(y, whole).clamp(-_WIDE, _WIDE)
        y = _rounded(self.expand(y, whole), whole).clamp(0, _NARROW)
        return (x + _rounded(self.contract(y, whole), whole)).clamp(-_WIDE, _WIDE)


def exponentials() -> NDArray[np.int32]:
    """The table of exponentials, each rounded from its exact value; the last entry is 0."""
    exact = [LARGEST_EXPONENTIAL * (Decimal(-index) / STEPS).exp() for index in range(EXPONENTIALS - 1)]
    return np.array([*(int(value + Decimal("0.5")) for value in exact), 0], np.int32)


def _matrix(outputs: int, inputs: int) -> nn.Parameter:
    return nn.Parameter((2 * torch.rand(outputs, inputs) - 1) / math.sqrt(inputs))


def _bits(weight: Tensor) -> int:
    """The power of two that makes weights whole numbers of up to 127."""
    largest = max(float(weight.detach().abs().max()), 2.0**-_MOST_BITS)
    return min(_MOST_BITS, math.floor(math.log2(_LARGEST_WEIGHT / largest)))


def _joint_bits(weight: Tensor, partial: Tensor) -> int:
    return min(_bits(weight), _bits(partial) + 1)


def _whole(x: Tensor, bits: int) -> Tensor:
    return torch.floor(x.detach() * 2.0**bits + 0.5)


def _rounded(x: Any, whole: bool) -> Tensor:
    return _through(x, _STEP_BITS) if whole else x


def _through(x: Tensor, bits: int) -> Tensor:
    """Round to multiples of 2^-bits, halves up; the gradient passes straight through."""
    apply: Callable[..., Tensor] = _Through.apply
    return apply(x, 2.0**bits)


class _Through(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, steps: float) -> Tensor:
        return torch.floor(x * steps + 0.5) / steps

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None
