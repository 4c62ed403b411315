"""The state of a running signal as tensors that go into a graph and come out of it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vqcodec.models.layers import Stream


class ExplicitStream(Stream):
    """A `Stream` whose left contexts are given, in the order in which the layers ask for them.

    Args:
        states: what `next_states` held after the block before; without any, the signal begins with zeros.
    """

    def __init__(self, states: Sequence[Tensor] = ()) -> None:
        super().__init__()
        self._given = list(states)
        self.next_states: list[Tensor] = []
        """The states after what passed so far."""
        self.layers: list[nn.Module] = []
        """The layer that each of them belongs to."""

    def count(self, layer: nn.Module, frames: int) -> int:
        first = self._given[len(self.layers)] if self._given else torch.zeros((), dtype=torch.int64)
        self._note(layer, first + frames)
        return first  # type: ignore[return-value]  # a tensor, so that the graph does not hold it as a constant

    def extend(self, layer: nn.Module, x: Tensor, left: int, dim: int = -1) -> Tensor:
        if left == 0:
            return x
        if self._given:
            tail = self._given[len(self.layers)]
        else:
            tail = x.new_zeros(*(left if axis == dim % x.ndim else size for axis, size in enumerate(x.shape)))
        x = torch.cat([tail, x], dim)
        self._note(layer, x.narrow(dim, x.shape[dim] - left, left))
        return x

    def _note(self, layer: nn.Module, state: Tensor) -> None:
        self.layers.append(layer)
        self.next_states.append(state)
