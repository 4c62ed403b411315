"""Encoder, residual VQ and decoder as one module."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from .config import ModelConfig
from .decoder import Decoder
from .encoder import Encoder
from .layers import Stream
from .quantizer import Quantized, ResidualVQ


class Reconstruction(NamedTuple):
    """What `Autoencoder.forward` returns; both signals lag `ModelConfig.delay` samples behind the input."""

    waveform: Tensor
    """[batch, 1, sample]"""
    coefficients: Tensor
    """Compressed MDCT coefficients before synthesis [batch, mdct_hop, mdct frame]"""
    latents: Tensor
    """Before quantization [batch, dim, frame]"""
    quantized: Quantized | None
    """None if the quantizer was left out."""


class Autoencoder(nn.Module):
    """The whole model. Encoding and decoding apart use `encoder`, `quantizer` and `decoder` directly."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.quantizer = ResidualVQ(config.num_stages, config.codebook_size, config.latent_dim)
        self.decoder = Decoder(config)

    def forward(
        self, waveform: Tensor, stages: Tensor | None = None, quantize: bool = True, noise: Tensor | None = None
    ) -> Reconstruction:
        """Encode and decode a batch from silence, for training.

        Args:
            waveform: [batch, 1, sample], samples a multiple of the hop length.
            stages: stages to use for each item, int64 [batch]; all of them if None.
            quantize: without it noise of the same power takes the place of the quantizer (warm-up).
            noise: that noise at variance 1, of the latents' shape; drawn if None.
        """
        stream = Stream()
        latents = self.encoder(waveform, stream).float()
        if stages is None:
            stages = torch.full((len(waveform),), self.config.num_stages, device=waveform.device)
        quantized = self.quantizer(latents, stages) if quantize else None
        decoder_input = self.quantizer.imitate(latents, stages, noise) if quantized is None else quantized.latents
        coefficients = self.decoder.coefficients(decoder_input, stream)
        return Reconstruction(self.decoder.synthesise(coefficients, stream), coefficients, latents, quantized)
