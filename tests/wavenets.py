"""Small models with a WaveNet decoder for the tests."""

from __future__ import annotations

import torch

from vqcodec.models.autoencoder import Autoencoder
from vqcodec.models.config import ModelConfig
from vqcodec.models.wavenet.decoder import WaveNetDecoder


def config(**sizes: object) -> ModelConfig:
    small = {
        "name": "wave",
        "sample_rate": 8000,
        "mdct_hop": 40,
        "latent_dim": 8,
        "num_stages": 2,
        "codebook_size": 16,
        "encoder_width": 16,
        "encoder_blocks": 1,
        "decoder_kind": "wavenet",
        "decoder_width": 16,
        "decoder_blocks": 1,
        "wavenet_channels": 8,
        "wavenet_layers": 6,
        "wavenet_cycle": 4,
        "wavenet_mixtures": 3,
        "wavenet_order": 4,
    }
    return ModelConfig(**{**small, **sizes})


def model(seed: int = 0, **sizes: object) -> Autoencoder:
    """One whose every weight is random, also those that training begins with at zero, in evaluation mode."""
    torch.manual_seed(seed)
    made = Autoencoder(config(**sizes)).eval().requires_grad_(False)
    assert isinstance(made.decoder, WaveNetDecoder)
    made.decoder.stack.project_out.weight.normal_(0, 0.3)
    for book in made.quantizer.books:
        book.vectors.normal_()
        book.counts.fill_(1.0)
    return made
