"""Encoder, bottleneck and decoder as one module."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from .bottlenecks import Quantized, build
from .config import ModelConfig
from .decoder import Decoder
from .encoder import Encoder
from .layers import Stream


class Reconstruction(NamedTuple):
    """What `Autoencoder.forward` returns; both signals lag `ModelConfig.delay` samples behind the input."""

    waveform: Tensor
    """[batch, 1, sample]"""
    coefficients: Tensor
    """Compressed MDCT coefficients before synthesis [batch, mdct_hop, mdct frame]"""
    latents: Tensor
    """Before the bottleneck [batch, dim, latent frame]"""
    quantized: Quantized | None
    """What the bottleneck made of them; None if it was imitated."""


class Autoencoder(nn.Module):
    """The whole model. Encoding and decoding apart use `encoder`, `quantizer` and `decoder` directly."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.quantizer = build(config)
        self.decoder = Decoder(config)

    def forward(
        self, waveform: Tensor, stages: Tensor | None = None, quantize: bool = True, noise: Tensor | None = None
    ) -> Reconstruction:
        """Encode and decode a batch from silence, for training.

        Args:
            waveform: [batch, 1, sample], samples a multiple of the hop length.
            stages: stages to use for each item, int64 [batch]; all of them if None.
            quantize: without it the bottleneck is imitated (warm-up).
            noise: for the bottleneck to add, of variance 1 and the latents' shape; drawn if None.
        """
        stream = Stream()
        latents = self.encoder(waveform, stream).float()
        if stages is None:
            stages = torch.full((len(waveform),), self.config.num_stages, device=waveform.device)
        quantized = self.quantizer(latents, stages, noise) if quantize else None
        decoder_input = self.quantizer.imitate(latents, stages, noise) if quantized is None else quantized.latents
        coefficients = self.decoder.coefficients(decoder_input, stream)
        return Reconstruction(self.decoder.synthesise(coefficients, stream), coefficients, latents, quantized)
