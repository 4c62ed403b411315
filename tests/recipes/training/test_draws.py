"""What is random about a step."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from distributed_helpers import recipe
from vqcodec.errors import ConfigError
from vqcodec.models.autoencoder import Autoencoder
from vqcodec.recipes.training import draws
from vqcodec.recipes.training.checks import check
from vqcodec.recipes.training.draws import Drawn, lost_frames

CPU = torch.device("cpu")
VARIED = ["quantizer.varying_share=0.5", "model.decoder_conceals=true", "augment.lost_frames=1.0"]


def drawn(*overrides: str, step: int = 3) -> Drawn:
    chosen = recipe(*overrides)
    return Drawn.of(chosen, Autoencoder(chosen.model).quantizer, step, 40 * chosen.model.latent_hop, quantizes=True)


def same(a: Drawn, b: Drawn) -> bool:
    pairs = zip(a, b, strict=True)
    return all(torch.equal(x, y) if isinstance(x, torch.Tensor) else x == y for x, y in pairs)


def test_draws_follow_from_seed_and_step() -> None:
    assert same(drawn(*VARIED), drawn(*VARIED))
    assert not same(drawn(*VARIED), drawn(*VARIED, step=4))
    assert not same(drawn(*VARIED), drawn(*VARIED, "run.seed=1"))


def test_parts_take_their_shares_of_the_same_draws() -> None:
    whole = drawn(*VARIED)
    batch = len(whole.stages)
    parts = [whole.of_items(slice(i, i + 1), CPU) for i in range(batch)]
    for name in ("stages", "varying", "lost", "keys"):
        assert torch.equal(torch.cat([getattr(part, name) for part in parts]), getattr(whole, name))
    assert np.isclose(np.mean([part.stages_share for part in parts]), 1)


def test_without_the_settings_nothing_varies_and_nothing_is_lost() -> None:
    plain = drawn()
    assert plain.varying is None
    assert plain.lost is None


def test_frames_are_lost_in_bursts_of_bounded_length() -> None:
    rng = np.random.default_rng(0)
    lost = np.stack([lost_frames(200, rng) for _ in range(300)])
    assert 0.1 < lost.mean() < 0.2
    longest = max(max(map(len, "".join("x" if f else " " for f in row).split()), default=0) for row in lost)
    assert longest == draws.LONGEST_BURST
    follows = lost[:, 1:][lost[:, :-1]].mean()
    assert follows > 2 * lost.mean()


def test_losses_hit_their_share_of_the_items() -> None:
    half = [drawn(*VARIED, "augment.lost_frames=0.5", step=step).lost for step in range(60)]
    hit = torch.cat([lost.any(1).float() for lost in half if lost is not None])
    assert 0.3 < hit.mean() < 0.6


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["quantizer.varying_share=0.5", "bottleneck.kind=vq", "model.num_stages=1"], "varying_share"),
        (["augment.lost_frames=0.1"], "decoder_conceals"),
    ],
)
def test_models_that_cannot_are_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check(recipe(*overrides))
