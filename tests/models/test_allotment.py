"""Stages frame by frame: which frames keep how many codes."""

from __future__ import annotations

import torch
from torch import Tensor

from vqcodec.models.allotment import allot, allot_mean, audibility

HOP = 320


def falling_errors(batch: int = 3, frames: int = 40, stages: int = 6) -> Tensor:
    """Errors that every stage makes smaller, by another share in every frame [batch, frame, stage + 1]."""
    generator = torch.Generator().manual_seed(0)
    shares = 0.5 + 0.4 * torch.rand(batch, frames, 1, generator=generator)
    return shares ** torch.arange(stages + 1)


def test_audibility_is_the_loudest_of_three_frames_in_line_with_the_latents() -> None:
    waveform = torch.full((1, 8 * HOP), 1e-3)
    waveform[0, 3 * HOP : 4 * HOP] = 0.5
    for late in (0, 1, 2):
        weights = audibility(waveform, HOP, late)[0]
        loud = [frame for frame, weight in enumerate(weights) if weight == weights.max()]
        assert loud == [2 + late, 3 + late, 4 + late]
        assert torch.allclose(weights.max(), torch.tensor(0.25**0.15))
    assert audibility(torch.zeros(1, 4 * HOP), HOP, 1).min() > 0


def test_a_frame_keeps_the_fewest_stages_of_the_least_cost() -> None:
    errors = torch.tensor([[8.0, 3.0, 1.0, 1.0], [8.0, 8.0, 8.0, 8.0]])
    for price, wanted in ((0.5, [2, 0]), (3.0, [1, 0]), (6.0, [0, 0]), (1e-9, [2, 0])):
        assert allot(errors, torch.ones(2), torch.tensor([price])).tolist() == wanted
    assert allot(errors, torch.tensor([0.1, 1.0]), torch.tensor([0.5])).tolist() == [0, 0]  # hardly heard


def test_the_mean_is_met_as_nearly_as_frames_allow() -> None:
    errors, weights = falling_errors(), torch.rand(3, 40, generator=torch.Generator().manual_seed(1)) + 0.1
    mean = torch.tensor([1.0, 3.5, 6.0])
    counts = allot_mean(errors, weights, mean)
    assert counts.shape == (3, 40)
    assert (counts.float().mean(-1) <= mean).all()
    assert (mean - counts.float().mean(-1) < 0.06).all()
    assert counts[2].eq(6).all()
    assert counts[1].unique().numel() > 2


def test_what_costs_more_at_equal_bits_is_no_optimum() -> None:
    """Moving a stage from any frame to any other makes the weighted error no smaller."""
    errors, weights = falling_errors(batch=1), torch.rand(1, 40, generator=torch.Generator().manual_seed(1)) + 0.1
    counts = allot_mean(errors, weights, torch.tensor([2.0]))[0]
    weighted = errors[0] * weights[0, :, None]
    gains = (weighted.gather(1, counts[:, None]) - weighted.gather(1, (counts + 1).clamp_max(6)[:, None]))[:, 0]
    losses = (weighted.gather(1, (counts - 1).clamp_min(0)[:, None]) - weighted.gather(1, counts[:, None]))[:, 0]
    assert gains[counts < 6].max() <= losses[counts > 0].min() + 1e-6
