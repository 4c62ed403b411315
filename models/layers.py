"""Causal layers that carry state, and the MDCT.

Every layer that looks into the past takes its left context from a `Stream`. A fresh stream holds zeros, so
that a whole signal at once and the same signal block by block run through the very same code.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

State = TypeVar("State")

_FEW_FRAMES = 4
"""Frames up to which a depthwise convolution is faster as a sum than as a convolution, which takes long to set up."""


class Stream:
    """The left contexts of every causal layer in a running signal, and its position."""

    def __init__(self) -> None:
        self._tails: dict[nn.Module, Tensor] = {}
        self._frames: dict[nn.Module, int] = {}
        self._others: dict[nn.Module, Any] = {}

    def count(self, layer: nn.Module, frames: int) -> int:
        """Note that `layer` works on the next `frames` frames; returns the number of the first of them, from 0 on."""
        first = self._frames.get(layer, 0)
        self._frames[layer] = first + frames
        return first

    def state(self, layer: nn.Module, begin: Callable[[], State]) -> State:
        """Return what else `layer` carries from block to block, which `begin` makes for a new signal."""
        if layer not in self._others:
            self._others[layer] = begin()
        state: State = self._others[layer]
        return state

    def extend(self, layer: nn.Module, x: Tensor, left: int, dim: int = -1) -> Tensor:
        """Put the last `left` frames of what `layer` saw before in front of x; frames are counted along `dim`."""
        tail = self._tails.get(layer)
        if tail is None:
            shape = list(x.shape)
            shape[dim] = left
            tail = x.new_zeros(shape)
        x = torch.cat([tail, x], dim)
        self._tails[layer] = x.narrow(dim, x.shape[dim] - left, left).clone()  # a view would keep all of x
        return x


class CausalConv1d(nn.Conv1d):
    """Conv1d that sees the present and the past: output frame t ends where input frame t * stride ends.

    The input's frames must be a multiple of the stride. [batch, frame, channel] -> [batch, frame / stride, channel].
    """

    def forward(self, x: Tensor, stream: Stream) -> Tensor:  # type: ignore[override]
        windows = causal_windows(self, x, stream, self.kernel_size[0], self.stride[0])
        return nn.functional.linear(windows, self.weight.flatten(1), self.bias)


def causal_windows(layer: nn.Module, x: Tensor, stream: Stream, size: int, stride: int) -> Tensor:
    """What `layer` sees for each output frame: [batch, frame, channel] -> [batch, frame / stride, channel * size]."""
    return stream.extend(layer, x, size - stride, dim=1).unfold(1, size, stride).flatten(2)


class ConvNeXtBlock(nn.Module):
    """Depthwise convolution, LayerNorm, two pointwise layers round a GELU, layer scale, residual.

    With `lookahead` L the output lags L frames behind the input, so that the causal convolution sees L frames
    of the future of what leaves. After Liu et al. 2022, "A ConvNet for the 2020s", in one dimension.
    """

    def __init__(self, width: int, kernel_size: int, expansion: int, lookahead: int = 0) -> None:
        super().__init__()
        self.lookahead = lookahead
        self.left = kernel_size - 1
        self.depthwise = nn.Conv1d(width, width, kernel_size, groups=width)
        self.norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, width * expansion)
        self.contract = nn.Linear(width * expansion, width)
        self.scale = nn.Parameter(torch.full((width, 1), 0.3))

    def forward(self, x: Tensor, stream: Stream) -> Tensor:
        """[batch, frame, width] -> [batch, frame, width]."""
        x = stream.extend(self, x, self.left, dim=1)
        y = self.contract(nn.functional.gelu(self.expand(self.norm(self._convolved(x)))))
        start = self.left - self.lookahead
        output: Tensor = x[:, start : start + y.shape[1]] + self.scale.squeeze(1) * y
        return output

    def _convolved(self, x: Tensor) -> Tensor:
        """The depthwise convolution [batch, left + frame, width] -> [batch, frame, width].

        As one over images of a pixel's width, of which it takes the channels where they are; a convolution in one
        dimension would copy them, and its gradient is slower.
        """
        conv = self.depthwise
        if not torch.compiler.is_exporting() and x.shape[1] - self.left <= _FEW_FRAMES:
            y = (x.unfold(1, self.left + 1, 1) * conv.weight.squeeze(1)).sum(-1)
            return y if conv.bias is None else y + conv.bias
        image = x.unsqueeze(2).permute(0, 3, 1, 2)  # [batch, width, left + frame, 1]
        y = nn.functional.conv2d(image, conv.weight.unsqueeze(3), conv.bias, groups=conv.groups)
        return y.squeeze(3).mT


def conv_next_stack(width: int, count: int, kernel_size: int, expansion: int, lookahead: int = 0) -> nn.ModuleList:
    """`count` blocks that together look `lookahead` frames ahead, the first blocks as far as they can."""
    blocks = nn.ModuleList()
    for _ in range(count):
        ahead = min(lookahead, kernel_size - 1)
        blocks.append(ConvNeXtBlock(width, kernel_size, expansion, ahead))
        lookahead -= ahead
    return blocks


def mdct_basis(hop: int) -> Tensor:
    """Rows of the orthonormal MDCT with a sine window: [hop coefficient, 2 * hop sample], float32.

    The transform is its own inverse by overlap-add. Princen, Johnson and Bradley 1987.
    """
    sample = torch.arange(2 * hop, dtype=torch.float64) + 0.5
    coefficient = torch.arange(hop, dtype=torch.float64)[:, None] + 0.5
    window = torch.sin(math.pi * sample / (2 * hop))
    basis = window * torch.cos(math.pi / hop * (sample + hop / 2) * coefficient)
    return (math.sqrt(2 / hop) * basis).float()


class MDCT(nn.Module):
    """Waveform [batch, 1, sample] -> coefficients [batch, hop, frame]; samples a multiple of the hop.

    Frame t covers the hop that it ends with and the hop before.
    """

    def __init__(self, hop: int) -> None:
        super().__init__()
        self.hop = hop
        basis = mdct_basis(hop)  # [coefficient, sample]
        kernel = torch.stack([basis[:, :hop], basis[:, hop:]], dim=-1)
        self.register_buffer("kernel", kernel, persistent=False)
        self.kernel: Tensor

    def forward(self, waveform: Tensor, stream: Stream) -> Tensor:
        hops = waveform.reshape(len(waveform), -1, self.hop).mT  # [batch, sample in hop, frame]
        return nn.functional.conv1d(stream.extend(self, hops, 1), self.kernel)


class InverseMDCT(nn.Module):
    """Coefficients [batch, hop, frame] -> waveform [batch, 1, sample], one hop late (overlap-add)."""

    def __init__(self, hop: int) -> None:
        super().__init__()
        basis = mdct_basis(hop)
        kernel = torch.stack([basis[:, hop:].T, basis[:, :hop].T], dim=-1)  # the frame before, this frame
        self.register_buffer("kernel", kernel, persistent=False)
        self.kernel: Tensor

    def forward(self, coefficients: Tensor, stream: Stream) -> Tensor:
        hops = nn.functional.conv1d(stream.extend(self, coefficients, 1), self.kernel)
        return hops.mT.flatten(1).unsqueeze(1)


def compress(x: Tensor, power: float) -> Tensor:
    """Signed power law: sign(x) |x|^power."""
    return x.sign() * x.abs().pow(power)


def expand(x: Tensor, power: float) -> Tensor:
    """The inverse of `compress`, for 0 < power <= 1."""
    return x * x.abs().pow(1 / power - 1)
