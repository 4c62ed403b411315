"""Optimizers of the codec, and their learning rate over a run."""

from __future__ import annotations

import math

import torch
from torch import nn

from ..config import OptimizerConfig, Recipe


def build_optimizers(model: nn.Module, config: OptimizerConfig) -> list[torch.optim.Optimizer]:
    """AdamW for everything; or Muon for the pointwise layers' matrices and AdamW for the rest."""
    adamw = {"lr": config.learning_rate, "betas": config.betas, "weight_decay": config.weight_decay}
    if config.kind == "adamw":
        return [torch.optim.AdamW(model.parameters(), **adamw, fused=True)]  # type: ignore[arg-type]
    pointwise = [p for name, p in model.named_parameters() if name.endswith(("expand.weight", "contract.weight"))]
    chosen = set(map(id, pointwise))
    rest = [p for p in model.parameters() if id(p) not in chosen]
    muon = torch.optim.Muon(
        pointwise, lr=config.learning_rate, weight_decay=config.weight_decay, adjust_lr_fn="match_rms_adamw"
    )
    return [muon, torch.optim.AdamW(rest, **adamw, fused=True)]  # type: ignore[arg-type]


def learning_rate_share(step: int, recipe: Recipe) -> float:
    """Linear warm-up, then a cosine down to `final_share` at the last step."""
    config = recipe.optimizer
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, step / recipe.run.steps)))
    warmup = min(1.0, (step + 1) / max(1, config.warmup_steps))
    return warmup * (config.final_share + (1 - config.final_share) * cosine)
