"""Stages frame by frame: which frames keep how many codes."""

from __future__ import annotations

import torch
from torch import Tensor

from vqcodec.models.allotment import Audibility, allot, allot_mean
from vqcodec.models.layers import Stream

HOP = 320


def falling_errors(batch: int = 3, frames: int = 40, stages: int = 6) -> Tensor:
    """Errors that every stage makes smaller, by another share in every frame [batch, frame, stage + 1]."""
    generator = torch.Generator().manual_seed(0)
    shares = 0.5 + 0.4 * torch.rand(batch, frames, 1, generator=generator)
    return shares ** torch.arange(stages + 1)


def test_audibility_is_the_loudest_of_three_frames_in_line_with_the_latents() -> None:
    waveform = torch.full((1, 1, 8 * HOP), 1e-3)
    waveform[..., 3 * HOP : 4 * HOP] = 0.5
    for late, wanted in ((0, [3, 4]), (1, [3, 4, 5]), (2, [4, 5, 6])):
        weights = Audibility(HOP, late)(waveform, Stream())[0]
        assert [frame for frame, weight in enumerate(weights) if weight == weights.max()] == wanted
        assert torch.allclose(weights.max(), torch.tensor(0.25**0.15))
        assert weights[late:].min() > 0


def test_silence_and_dither_weigh_nothing() -> None:
    dither = torch.randint(-1, 2, (1, 1, 20 * HOP), generator=torch.Generator().manual_seed(0)) / 32768
    for quiet in (torch.zeros_like(dither), dither):
        assert Audibility(HOP, 1)(quiet, Stream()).eq(0).all()
    assert Audibility(HOP, 1)(10 * dither, Stream())[0, 2:].gt(0).all()


def test_audibility_in_blocks_is_that_of_the_whole() -> None:
    waveform = torch.randn(2, 1, 12 * HOP, generator=torch.Generator().manual_seed(0))
    for late in (0, 1, 2):
        layer, stream = Audibility(HOP, late), Stream()
        parts = [layer(part, stream) for part in waveform.split([HOP, 4 * HOP, 7 * HOP], dim=-1)]
        assert torch.equal(torch.cat(parts, -1), layer(waveform, Stream()))


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
