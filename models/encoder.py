"""Waveform -> latents."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .config import ModelConfig
from .layers import MDCT, CausalConv1d, Stream, conv_next_stack

MAGNITUDE_FLOOR = 1e-4
"""MDCT magnitude under which there is silence to the encoder (full scale is about 10)."""


class Encoder(nn.Module):
    """MDCT, compressed coefficients beside log magnitudes, ConvNeXt blocks, projection to the latent.

    All latents have the same length: every frame gets the same bits, and a quantizer makes the most of them if what
    it sees does not depend on how loud the frame is.
    """

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
        self.project_out = nn.Linear(width, c.latent_dim)
        self.norm_out = nn.LayerNorm(c.latent_dim, elementwise_affine=False)

    def forward(self, waveform: Tensor, stream: Stream) -> Tensor:
        """[batch, 1, sample] -> latents [batch, dim, frame]; samples a multiple of the hop length."""
        with torch.autocast(waveform.device.type, enabled=False):
            x = features(self.mdct(waveform, stream), self.power)  # [batch, 2 * mdct_hop, mdct frame]
        x = self.norm_in(self.project_in(x.mT, stream))  # [batch, mdct frame, width]
        for block in self.fast_blocks:
            x = block(x, stream)
        if self.down is not None:
            x = self.down(x, stream)  # [batch, frame, width]
        for block in self.blocks:
            x = block(x, stream)
        latents: Tensor = self.norm_out(self.project_out(x)).mT
        return latents


def features(coefficients: Tensor, power: float) -> Tensor:
    """MDCT coefficients [batch, c, frame] -> [batch, 2 c, frame]: power law with sign, and scaled log magnitude.

    Both flatten out under `MAGNITUDE_FLOOR`: the power law itself would make a great deal of a rounding error.
    """
    energy = coefficients.square() + MAGNITUDE_FLOOR**2
    compressed = coefficients * energy.pow((power - 1) / 2)
    return torch.cat([compressed, 0.1 * energy.log() + 1.0], dim=1)
