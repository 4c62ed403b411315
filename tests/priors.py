"""Tiny priors that depend strongly on what came before."""

from __future__ import annotations

import torch

from vqcodec.models.prior import store
from vqcodec.models.prior.base import Prior
from vqcodec.models.prior.config import PIXELCNN, TRANSFORMER, PriorConfig

KINDS = (TRANSFORMER, PIXELCNN)


def tiny(kind: str = TRANSFORMER, seed: int = 0, **sizes: object) -> Prior:
    """A prior in float64 with random weights, in evaluation mode."""
    values: dict[str, object] = {
        "kind": kind,
        "fingerprint": "0" * 64,
        "num_stages": 2,
        "codebook_size": 3,
        "frame_rate": 50.0,
        "context_frames": 40,
        "width": 16,
        "layers": 5,
        "code_dim": 4,
    }
    torch.manual_seed(seed)
    prior = store.build(PriorConfig(**{**values, **sizes}))  # type: ignore[arg-type]
    for parameter in prior.parameters():
        parameter.data += 0.4 * torch.randn_like(parameter)
    return prior.double().eval().requires_grad_(False)


def random_codes(prior: Prior, items: int, frames: int, seed: int = 1) -> torch.Tensor:
    """int64 [item, stage, frame]"""
    generator = torch.Generator().manual_seed(seed)
    config = prior.config
    return torch.randint(config.codebook_size, (items, config.num_stages, frames), generator=generator)
