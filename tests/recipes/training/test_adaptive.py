"""The adaptive weight of a VQ-GAN: its value, its place in the loss, and the recipe that uses it."""

from __future__ import annotations

import math

import pytest
import torch

from distributed_helpers import batch_of, recipe
from vqcodec.recipes import loading
from vqcodec.recipes.distributed import World
from vqcodec.recipes.training import objective
from vqcodec.recipes.training.adversary.adaptive import MOST, adaptive_weight
from vqcodec.recipes.training.step import Trainer

CPU = torch.device("cpu")
PHASE = ["phases.adversarial_from=0", "discriminator.alone_steps=0", "discriminator.ramp_steps=1"]
PHASE += ["loss.schedule_start=0", "loss.schedule_steps=1"]


def test_the_weight_is_the_ratio_of_the_gradients() -> None:
    layer = torch.tensor([[1.0, 2.0]], requires_grad=True)
    x = torch.tensor([3.0, 4.0])
    decoded = layer @ x
    weight = adaptive_weight(2 * decoded.sum(), decoded.square().sum(), layer)
    assert weight.item() == pytest.approx(2 * 5 / (2 * 11 * 5 + 1e-4))
    assert not weight.requires_grad
    assert adaptive_weight(2 * decoded.sum(), 0 * decoded.sum(), layer).item() == MOST
    decoded.sum().backward()  # the graph is still there


def test_the_adversarial_loss_pulls_as_hard_as_the_reconstruction(monkeypatch: pytest.MonkeyPatch) -> None:
    pulls: list[tuple[float, float, float]] = []

    def watched(reconstruction: torch.Tensor, adversarial: torch.Tensor, layer: torch.Tensor) -> torch.Tensor:
        weight = adaptive_weight(reconstruction, adversarial, layer)
        losses = (reconstruction, weight * adversarial)
        norms = [torch.autograd.grad(loss, layer, retain_graph=True)[0].norm().item() for loss in losses]
        pulls.append((weight.item(), *norms))
        return weight

    monkeypatch.setattr(objective, "adaptive_weight", watched)
    trainer = Trainer(recipe(*PHASE, "discriminator.adaptive=true", "discriminator.adversarial=0.8"), CPU, World())
    for step in range(2):
        assert len(pulls) == 0
        metrics = trainer.train_step(batch_of(trainer.recipe, World(), step))
    [(weight, ours, theirs)] = pulls
    assert ours == pytest.approx(theirs, rel=1e-2)
    weights = trainer.objective.weights(1) | {"adversarial": 0.8 * weight}
    total = sum(weights[name] * float(value) for name, value in metrics.items() if name in weights)
    assert float(metrics["loss"]) == pytest.approx(total, rel=1e-4)


def test_two_steps_of_the_recipe() -> None:
    small = ["data.batch_size=2", "data.crop_s=0.5", "model.encoder_width=16", "model.decoder_width=16"]
    small += ["model.latent_dim=8", "model.codebook_size=16", "discriminator.stft_channels=4"]
    small += ["discriminator.period_channels=4", "quantizer.start_step=0", "loss.schedule_steps=1"]
    chosen = loading.load("vqgan", [*small, *PHASE])
    assert chosen.discriminator.adaptive and chosen.quantizer.learning == "gradient"
    assert chosen.discriminator.feature == 0 < chosen.loss.codebook
    trainer = Trainer(chosen, CPU, World())
    batches = [batch_of(chosen, World(), step) for step in range(2)]
    trainer.initialise_codebooks(batches)
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    for batch in batches:
        metrics = trainer.train_step(batch)
        assert all(math.isfinite(float(value.mean())) for value in metrics.values())
    assert float(metrics["adversarial"]) > 0 and float(metrics["codebook"]) > 0
    moved = [name for name, value in trainer.model.state_dict().items() if not torch.equal(value, before[name])]
    for part in ("encoder.", "decoder.project_out", "quantizer."):
        assert any(name.startswith(part) for name in moved), part
