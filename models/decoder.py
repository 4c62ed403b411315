"""Latents -> waveform: the encoder's mirror."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .config import ModelConfig
from .layers import InverseMDCT, Stream, conv_next_stack, expand


class Decoder(nn.Module):
    """Projection from the latent, ConvNeXt blocks, compressed MDCT coefficients, inverse power law and MDCT."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        c, width = config, config.decoder_width
        self.power = c.power
        self.stride = c.stride
        self.project_in = nn.Linear(c.latent_dim, width)
        self.norm_in = nn.LayerNorm(width)
        self.blocks = conv_next_stack(width, c.decoder_blocks, c.kernel_size, c.expansion, c.decoder_lookahead)
        self.up = nn.Linear(width, width * c.stride) if c.stride > 1 else None
        self.fast_blocks = conv_next_stack(width, c.decoder_fast_blocks, c.kernel_size, c.expansion)
        self.norm_out = nn.LayerNorm(width)
        self.project_out = nn.Linear(width, c.mdct_hop)
        self.inverse_mdct = InverseMDCT(c.mdct_hop)

    def forward(self, latents: Tensor, stream: Stream) -> Tensor:
        """[batch, dim, frame] -> waveform [batch, 1, sample], `ModelConfig.delay` samples late."""
        return self.synthesise(self.coefficients(latents, stream), stream)

    def coefficients(self, latents: Tensor, stream: Stream) -> Tensor:
        """[batch, dim, frame] -> MDCT coefficients, still compressed by the power law [batch, mdct_hop, mdct frame]."""
        x = self.norm_in(self.project_in(latents.mT)).mT  # [batch, width, frame]
        for block in self.blocks:
            x = block(x, stream)
        if self.up is not None:
            x = self.up(x.mT).unflatten(-1, (self.stride, -1)).flatten(1, 2).mT  # [batch, width, mdct frame]
        for block in self.fast_blocks:
            x = block(x, stream)
        coefficients: Tensor = self.project_out(self.norm_out(x.mT)).mT
        return coefficients

    def synthesise(self, coefficients: Tensor, stream: Stream) -> Tensor:
        """Compressed coefficients [batch, mdct_hop, mdct frame] -> waveform [batch, 1, sample], in float32."""
        with torch.autocast(coefficients.device.type, enabled=False):
            waveform: Tensor = self.inverse_mdct(expand(coefficients.float(), self.power), stream)
        return waveform
