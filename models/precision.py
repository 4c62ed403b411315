"""Coding in bfloat16: matrices in half the bytes, multiplied in half the time or less where the processor can do so.

Only products with weights are taken in bfloat16, with sums in float32 inside of them. What carries the signal from
block to block, normalisation, the search for codes and the MDCT stay float32, so the decoded waveform lies some 42 dB
above the difference from that in float32.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from vqcodec.errors import ConfigError

from . import processor
from .autoencoder import Autoencoder
from .layers import CausalConv1d, ConvNeXtBlock, Stream, causal_windows

PRECISIONS = ("auto", "float32", "bfloat16")

_INSTRUCTIONS = ("avx512_bf16", "amx_bf16")
"""Of x86 processors that multiply in bfloat16. Others that do so were not measured, and compute in float32."""


def chosen(precision: str, device: torch.device) -> Literal["float32", "bfloat16"]:
    """Choose the precision to compute in: "auto" is bfloat16 where that is faster, so far on some processors only.

    Raises:
        ConfigError: there is no such precision.
    """
    if precision not in PRECISIONS:
        raise ConfigError(f"the precision is one of {', '.join(PRECISIONS)}, not {precision!r}")
    if precision == "bfloat16" or (precision == "auto" and device.type == "cpu" and processor.has_any(_INSTRUCTIONS)):
        return "bfloat16"
    return "float32"


def reduce(model: Autoencoder) -> None:
    """Replace the products with weights of encoder and decoder by those in bfloat16; for coding only.

    A WaveNet decoder stays as it is: its every sample depends on all bits of those before.

    The model's state cannot be saved any more.
    """
    for part in (model.encoder, model.decoder) if model.config.decoder_kind == "mdct" else (model.encoder,):
        for owner in list(part.modules()):
            for name, layer in list(owner.named_children()):
                if isinstance(layer, nn.Linear):
                    setattr(owner, name, _Linear(layer.weight, layer.bias, inside=isinstance(owner, ConvNeXtBlock)))
                elif isinstance(layer, CausalConv1d):
                    setattr(owner, name, _CausalConv1d(layer))


class _Linear(nn.Module):
    """A linear layer in bfloat16, whose result is float32 unless it stays `inside` of a block."""

    def __init__(self, weight: Tensor, bias: Tensor | None, inside: bool = False) -> None:
        super().__init__()
        weight = weight.detach().to(torch.bfloat16)
        self._is_packed = weight.device.type == "cpu" and hasattr(torch.ops.mkldnn, "_linear_pointwise")
        if self._is_packed:  # in the order in which oneDNN multiplies
            weight = torch.ops.mkldnn._reorder_linear_weight(weight)
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias.detach().to(torch.bfloat16), requires_grad=False)
        self._inside = inside

    def forward(self, x: Tensor) -> Tensor:
        x = x.to(torch.bfloat16)
        if self._is_packed:
            y: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "none", [], "")
        else:
            y = nn.functional.linear(x, self.weight, self.bias)
        return y if self._inside else y.float()


class _CausalConv1d(nn.Module):
    def __init__(self, layer: CausalConv1d) -> None:
        super().__init__()
        self._size, self._stride = layer.kernel_size[0], layer.stride[0]
        self._product = _Linear(layer.weight.flatten(1), layer.bias)

    def forward(self, x: Tensor, stream: Stream) -> Tensor:
        y: Tensor = self._product(causal_windows(self, x, stream, self._size, self._stride))
        return y
