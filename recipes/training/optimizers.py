"""Optimizers of the codec, and their learning rate over a run."""

from __future__ import annotations

import torch
from torch import nn

from ..config import OptimizerConfig, Recipe
from ..schedule import warmed_cosine


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
    return warmed_cosine(step, recipe.run.steps, config.warmup_steps, config.final_share)
