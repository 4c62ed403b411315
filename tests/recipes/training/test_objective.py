"""The objective by itself: which terms there are at a step, what they weigh, and draws of a stochastic decoder."""

from __future__ import annotations

import pytest
import torch

from distributed_helpers import batch_of, recipe, take_steps, tensors_of
from vqcodec.recipes.distributed import World
from vqcodec.recipes.training.step import Trainer

STOCHASTIC = ["model.decoder_stochastic=true", "loss.schedule_start=0", "loss.schedule_steps=2"]
CPU = torch.device("cpu")


def gradient_of_spreads(*overrides: str) -> torch.Tensor:
    trainer = Trainer(recipe(*STOCHASTIC, *overrides), CPU, World())
    trainer.step = 2
    captured: list[torch.Tensor] = []
    assert trainer.model.decoder.project_spread is not None
    trainer.model.decoder.project_spread.bias.register_hook(lambda grad: captured.append(grad.clone()))
    trainer.train_step(batch_of(trainer.recipe, World(), 2))
    return captured[0]


def test_the_sum_is_that_of_the_terms_by_their_weights() -> None:
    trainer = Trainer(recipe(*STOCHASTIC, "loss.intelligibility=1.0"), CPU, World())
    trainer.step = 1
    metrics = trainer.train_step(batch_of(trainer.recipe, World(), 1))
    weights = trainer.objective.weights(1)
    terms = {name: value for name, value in metrics.items() if name in weights}
    assert {"signed", "mel", "magnitude", "complex", "intelligibility"} <= terms.keys()
    total = sum(weights[name] * float(value) for name, value in terms.items())
    assert float(metrics["loss"]) == pytest.approx(total, rel=1e-4)


def test_spectral_terms_come_with_the_hand_over() -> None:
    trainer = Trainer(recipe(*STOCHASTIC), CPU, World())
    assert [trainer.objective.schedule_progress(step) for step in range(4)] == [0, 0.5, 1, 1]
    assert "mel" not in trainer.train_step(batch_of(trainer.recipe, World(), 0))
    assert "mel" in trainer.train_step(batch_of(trainer.recipe, World(), 1))


def test_spreads_learn_from_spectral_losses_alone() -> None:
    assert gradient_of_spreads().abs().max() > 0
    silent = ["loss.mel=0", "loss.magnitude=0", "loss.complex=0", "loss.intelligibility=0", "loss.loudness=0"]
    assert gradient_of_spreads(*silent, "loss.similarity=0").abs().max() == 0


def test_repulsion_widens_spreads() -> None:
    """Without it, one draw, the gradient asks for less noise than with it."""
    assert gradient_of_spreads("loss.draws=1").sum() > gradient_of_spreads("loss.draws=2").sum()


@pytest.mark.parametrize("parts", [1, 2])
def test_a_resumed_run_draws_the_same_noise(parts: int) -> None:
    chosen = recipe(*STOCHASTIC, f"optimizer.accumulate={parts}")
    whole, _ = take_steps(chosen, World())
    stopped, _ = take_steps(chosen, World(), 5)
    resumed, _ = take_steps(chosen, World(), state=stopped)
    expected = dict(tensors_of(whole))
    assert all(torch.equal(tensor, expected[name]) for name, tensor in tensors_of(resumed))


def test_parts_draw_what_the_whole_would() -> None:
    _, of_whole = take_steps(recipe(*STOCHASTIC), World(), 4)
    _, of_pieces = take_steps(recipe(*STOCHASTIC, "optimizer.accumulate=2"), World(), 4)
    for expected, found in zip(of_whole[1:], of_pieces[1:], strict=True):
        for name in ("mel", "magnitude", "complex"):
            torch.testing.assert_close(found[name], expected[name], rtol=2e-3, atol=1e-3)


def test_means_are_held_to_what_is_known() -> None:
    trainer = Trainer(recipe(*STOCHASTIC, "loss.mean=0.5"), CPU, World())
    metrics = trainer.train_step(batch_of(trainer.recipe, World(), 0))
    assert metrics["mean"] > 0.5
    assert "mean" not in Trainer(recipe("loss.mean=0.5"), CPU, World()).train_step(batch_of(recipe(), World(), 0))
