"""One step of training: batch -> loss -> gradients -> weights, codebooks and weight average.

Everything random is drawn from (seed, step), so that what `state` holds is a run's whole state, and a resumed run
continues bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from vqcodec.errors import ConfigError
from vqcodec.models import checkpoint as weights
from vqcodec.models.autoencoder import Autoencoder, Reconstruction
from vqcodec.models.layers import Stream, compress

from .config import LossConfig, OptimizerConfig, Recipe
from .data import Example
from .distributed import World
from .losses import signed_error, spectral_losses


class Trainer:
    """Model, optimizers and weight average, and one step of them."""

    def __init__(self, recipe: Recipe, device: torch.device, world: World, init: Path | None = None) -> None:
        torch.manual_seed(recipe.run.seed)
        self.recipe, self.device, self.world, self.step = recipe, device, world, 0
        self.model = Autoencoder(recipe.model).to(device)
        self.model.quantizer.decay = recipe.quantizer.ema_decay
        self.model.quantizer.dead_share = recipe.quantizer.dead_share
        if init is not None:
            self._begin_with(init)
        self.model.train()
        self.optimizers = build_optimizers(self.model, recipe.optimizer)
        moving = get_ema_multi_avg_fn(recipe.optimizer.weight_ema)  # type: ignore[no-untyped-call]
        self.average = AveragedModel(self.model, multi_avg_fn=moving, use_buffers=True)

    @property
    def parameters(self) -> int:
        """Numbers in the exported weights: parameters and code vectors."""
        quantizer = self.recipe.model
        codes = quantizer.num_stages * quantizer.codebook_size * quantizer.latent_dim
        return sum(parameter.numel() for parameter in self.model.parameters()) + codes

    @property
    def averaged(self) -> Autoencoder:
        """The model that is validated and exported."""
        model = self.average.module
        assert isinstance(model, Autoencoder)
        return model

    @property
    def quantizes(self) -> bool:
        """Whether the quantizer is in the path at this step."""
        return self.step >= self.recipe.quantizer.start_step

    @property
    def learning_rate(self) -> float:
        """At this step."""
        return self.recipe.optimizer.learning_rate * learning_rate_share(self.step, self.recipe)

    def train_step(self, batch: Example) -> dict[str, Tensor]:
        """One optimizer step on a batch [batch, 1, sample]; returns the loss terms and perplexities, detached."""
        rng = np.random.default_rng([self.recipe.run.seed, self.step])
        self.model.quantizer.generator.manual_seed(int(rng.integers(2**63)))
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.learning_rate
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.run.precision == "bf16"):
            output = self.model(batch.waveform, self._draw_stages(len(batch.waveform), rng), self.quantizes)
        terms = self._loss_terms(output, batch.target)
        loss = torch.stack([weight * terms[name] for name, weight in self._loss_weights().items()]).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.optimizer.gradient_clip)
        if norm.isfinite():
            for optimizer in self.optimizers:
                optimizer.step()
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        self.average.update_parameters(self.model)
        self.step += 1
        metrics = {**terms, "loss": loss, "gradient_norm": norm}
        if output.quantized is not None:
            metrics["perplexity"] = output.quantized.perplexity
        return {name: value.detach() for name, value in metrics.items()}

    @torch.no_grad()
    def initialise_codebooks(self, batches: Iterable[Example]) -> None:
        """K-means, stage by stage, on the latents of a few batches."""
        self.model.quantizer.generator.manual_seed(self.recipe.run.seed)
        latents = [self.model.encoder(batch.waveform, Stream()).mT.flatten(0, 1) for batch in batches]
        self.model.quantizer.initialise(torch.cat(latents))
        self.averaged.quantizer.load_state_dict(self.model.quantizer.state_dict())

    def _draw_stages(self, batch: int, rng: np.random.Generator) -> Tensor:
        """Quantizer dropout: stages in use for each item [batch]."""
        stages = rng.integers(1, self.recipe.model.num_stages + 1, batch)
        stages[: round(batch * self.recipe.quantizer.full_share)] = self.recipe.model.num_stages
        return torch.from_numpy(stages).to(self.device)

    def _loss_terms(self, output: Reconstruction, waveform: Tensor) -> dict[str, Tensor]:
        config = self.recipe.model
        ahead = config.lookahead * config.stride
        with torch.no_grad():
            target = compress(self.model.encoder.mdct(waveform, Stream()), config.power)
        coefficients, target = output.coefficients[..., ahead:].float(), target[..., : target.shape[-1] - ahead]
        terms = {"signed": signed_error(coefficients, target, self.recipe.loss.signed_focus)}
        if self._handover() > 0:
            reference = waveform[:, 0, : waveform.shape[-1] - config.delay]
            spectral = spectral_losses(output.waveform[:, 0, config.delay :], reference, config.sample_rate)
            terms.update(spectral._asdict())
        if output.quantized is not None:
            terms["commitment"] = output.quantized.commitment_loss
        return terms

    def _handover(self) -> float:
        """How far the hand-over to the spectral losses has come, 0 to 1."""
        loss = self.recipe.loss
        return min(1.0, max(0.0, (self.step - loss.handover_start) / max(1, loss.handover_steps)))

    def _loss_weights(self) -> dict[str, float]:
        return loss_weights(self.recipe.loss, self._handover(), self.quantizes)

    def _begin_with(self, init: Path) -> None:
        model = weights.load(init, self.device)
        if model.config != self.recipe.model:
            raise ConfigError(f"{init} is a model of other sizes than the recipe's")
        self.model.load_state_dict(model.state_dict())
        for codebook in self.model.quantizer.stages:
            codebook.counts.fill_(1.0)
            codebook.sums.copy_(codebook.vectors)

    def state(self) -> dict[str, Any]:
        """All that training goes on from."""
        return {
            "recipe": self.recipe.to_dict(),
            "step": self.step,
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go back to what `state` returned."""
        self.step = state["step"]
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)


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


def loss_weights(config: LossConfig, handover: float, quantizes: bool) -> dict[str, float]:
    """Weight of each loss term that is in use, by name, `handover` of the way from signs to spectra."""
    used = {"signed": config.signed + handover * (config.signed_final - config.signed)}
    if handover > 0:
        spectral = {"mel": config.mel, "magnitude": config.magnitude, "complex": config.complex}
        used |= {name: handover * weight for name, weight in spectral.items()}
    if quantizes:
        used["commitment"] = config.commitment
    return used
