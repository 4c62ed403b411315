"""The absence of a bottleneck, but for the width of the latents: a plain autoencoder."""

from __future__ import annotations

from torch import Tensor

from .base import Bottleneck, Quantized


class NoBottleneck(Bottleneck):
    """Passes latents on as they are."""

    kind = "none"

    def forward(self, latents: Tensor, stages: Tensor | None = None, noise: Tensor | None = None) -> Quantized:
        return Quantized(latents, None, {})
