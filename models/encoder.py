"""Waveform -> latents."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .config import ModelConfig
from .layers import MDCT, CausalConv1d, Stream, compress, conv_next_stack

MAGNITUDE_FLOOR = 1e-4
"""Added to an MDCT magnitude before its logarithm is taken (full scale is about 10)."""


class Encoder(nn.Module):
    """MDCT, compressed coefficients beside log magnitudes, ConvNeXt blocks, projection to the latent."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        c, width = config, config.encoder_width
        self.power = c.power
        self.mdct = MDCT(c.mdct_hop)
        self.project_in = CausalConv1d(2 * c.mdct_hop, width, 1)
        self.norm_in = nn.LayerNorm(width)
        self.fast_blocks = conv_next_stack(width, c.encoder_fast_blocks, c.kernel_size, c.expansion)
        self.down = CausalConv1d(width, width, 2 * c.stride, c.stride) if c.stride > 1 else None
        self.blocks = conv_next_stack(width, c.encoder_blocks, c.kernel_size, c.expansion, c.encoder_lookahead)
        self.norm_out = nn.LayerNorm(width)
        self.project_out = nn.Linear(width, c.latent_dim)

    def forward(self, waveform: Tensor, stream: Stream) -> Tensor:
        """[batch, 1, sample] -> latents [batch, dim, frame]; samples a multiple of the hop length."""
        with torch.autocast(waveform.device.type, enabled=False):
            x = features(self.mdct(waveform, stream), self.power)  # [batch, 2 * mdct_hop, mdct frame]
        x = self.norm_in(self.project_in(x, stream).mT).mT
        for block in self.fast_blocks:
            x = block(x, stream)
        if self.down is not None:
            x = self.down(x, stream)  # [batch, width, frame]
        for block in self.blocks:
            x = block(x, stream)
        latents: Tensor = self.project_out(self.norm_out(x.mT)).mT
        return latents


def features(coefficients: Tensor, power: float) -> Tensor:
    """MDCT coefficients [batch, c, frame] -> [batch, 2 c, frame]: power law with sign, and scaled log magnitude."""
    log_magnitude = 0.2 * (coefficients.abs() + MAGNITUDE_FLOOR).log() + 1.0
    return torch.cat([compress(coefficients, power), log_magnitude], dim=1)
