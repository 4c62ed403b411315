"""Blocks of transformers: causal attention with rotary positions, and what is kept of slots that were read."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_KERNEL = 3
_EXPANSION = 4
_BASE = 10_000.0


@dataclass(eq=False)
class BlockMemory:
    """What a block keeps of the slots that it has read."""

    keys: Tensor | None = None
    """[item, head, slot, channel]"""
    values: Tensor | None = None
    tail: Tensor | None = None
    """The last inputs of the convolution [item, slot, width]."""


@dataclass(eq=False)
class Memory:
    """What the blocks of a transformer keep."""

    blocks: dict[int, BlockMemory] = field(default_factory=dict)

    def of(self, block: int) -> BlockMemory:
        """The memory of a block, by its number."""
        return self.blocks.setdefault(block, BlockMemory())


class Block(nn.Module):
    """Attention to the slots before, and two layers; each after RMSNorm, beside the path that goes straight on.

    The input of the attention is first mixed over three slots (So et al. 2021, "Primer"), whose activation, the squared
    ReLU, is used as well.

    Args:
        width: activations of a slot.
        heads: of the attention.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.RMSNorm(width, eps=1e-6)
        self.mix = nn.Parameter(torch.tensor([0.0] * (_KERNEL - 1) + [1.0])[:, None].repeat(1, width))
        self.attention_in = nn.Linear(width, 3 * width, bias=False)
        self.query_norm = nn.RMSNorm(width // heads, eps=1e-6, elementwise_affine=False)
        self.key_norm = nn.RMSNorm(width // heads, eps=1e-6, elementwise_affine=False)
        self.attention_out = nn.Linear(width, width, bias=False)
        self.layers_norm = nn.RMSNorm(width, eps=1e-6)
        self.expand = nn.Linear(width, _EXPANSION * width, bias=False)
        self.contract = nn.Linear(_EXPANSION * width, width, bias=False)
        nn.init.zeros_(self.attention_out.weight)
        nn.init.zeros_(self.contract.weight)

    def forward(self, x: Tensor, turns: Tensor | None = None, memory: BlockMemory | None = None) -> Tensor:
        """[item, slot, width] -> the same shape.

        Args:
            x: the slots that are new.
            turns: what `rotary` gave for their places; None for attention that knows no places.
            memory: of the slots before, to which the new ones are added.
        """
        x = x + self._attend(self._mixed(self.attention_norm(x), memory), turns, memory)
        return x + self.contract(F.relu(self.expand(self.layers_norm(x))).square())  # type: ignore[no-any-return]

    def _mixed(self, x: Tensor, memory: BlockMemory | None) -> Tensor:
        tail = None if memory is None else memory.tail
        if tail is None:
            tail = x.new_zeros(len(x), _KERNEL - 1, x.shape[-1])
        longer = torch.cat([tail, x], 1)
        if memory is not None:
            memory.tail = longer[:, -(_KERNEL - 1) :]
        slots = x.shape[1]
        parts = [longer[:, tap : tap + slots] * self.mix[tap] for tap in range(_KERNEL)]
        return torch.stack(parts).sum(0)

    def _attend(self, x: Tensor, turns: Tensor | None, memory: BlockMemory | None) -> Tensor:
        items, slots, width = x.shape
        split = self.attention_in(x).view(items, slots, 3, self.heads, width // self.heads)
        queries, keys, values = split.permute(2, 0, 3, 1, 4)  # [item, head, slot, channel] each
        queries, keys = self.query_norm(queries), self.key_norm(keys)
        if turns is not None:
            queries, keys = turned(queries, turns), turned(keys, turns)
        keys, values = keys.to(values.dtype), values
        if memory is not None:
            if memory.keys is not None and memory.values is not None:
                keys, values = torch.cat([memory.keys, keys], 2), torch.cat([memory.values, values], 2)
            memory.keys, memory.values = keys, values
        mask = None
        if slots > 1:
            seen = keys.shape[2]
            mask = torch.ones(slots, seen, dtype=torch.bool, device=x.device).tril(seen - slots)
        plain = slots > 1 and keys.shape[2] == slots
        mixed = F.scaled_dot_product_attention(
            queries.to(values.dtype), keys, values, attn_mask=None if plain else mask, is_causal=plain
        )
        return self.attention_out(mixed.transpose(1, 2).reshape(items, slots, width))  # type: ignore[no-any-return]


def rotary(places: Tensor, channels: int) -> Tensor:
    """Compute the turns of rotary positions (Su et al. 2021, "RoFormer").

    Args:
        places: whole numbers [slot]; only differences between them count.
        channels: of a head; an even number.

    Returns:
        Cosines and sines, float32 [2, slot, channel / 2].
    """
    steps = torch.arange(channels // 2, device=places.device, dtype=torch.float32)
    angles = places.float()[:, None] * _BASE ** (-2 * steps / channels)
    return torch.stack([angles.cos(), angles.sin()])


def turned(x: Tensor, turns: Tensor) -> Tensor:
    """Turn each pair of channels by the angle of its slot: [item, head, slot, channel] -> the same shape."""
    cosine, sine = turns.to(x.dtype)
    first, second = x.chunk(2, -1)
    return torch.cat([first * cosine - second * sine, second * cosine + first * sine], -1)
