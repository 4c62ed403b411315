"""What is random about a step: stages, noise, and frames that get lost.

It is drawn for the whole batch from (seed, step), so that every process, and every part of a batch, takes its share of
the same draws.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vqcodec.models.bottlenecks.base import Bottleneck

from ..config import Recipe

CONTRACTED_FRAMES = 16
"""Latent frames, from the beginning of each crop, that the contractive loss looks at: it takes second derivatives."""

LONGEST_BURST = 10
"""Frames in a row that are lost at most: beyond 0.2 s nobody can guess how speech goes on."""
LOSS_SHARE = (0.02, 0.3)
"""Range of the share of frames that are lost."""
BURST_FRAMES = (1.0, 5.0)
"""Range of the mean length of a burst."""


class Drawn(NamedTuple):
    """Random choices for the items of a batch."""

    stages: Tensor
    """Stages in use, or their mean over the frames, int64 [item]"""
    stages_share: float
    """Their mean over the mean of the whole batch."""
    varying: Tensor | None
    """Items whose stages vary from frame to frame, bool [item]; None if there never are any."""
    lost: Tensor | None
    """Frames that do not reach the decoder, bool [item, frame]; None if the decoder does not conceal."""
    keys: Tensor
    """Of the noise that a stochastic decoder draws with, int64 [item, draw + 1]"""
    noise: Tensor | None
    """White, for what takes the quantizer's place or for a bottleneck that samples [item, dim, frame]; else None."""
    probe: Tensor | None
    """Random signs for the contractive loss [item, dim, frame]; None if it is not in use."""

    @classmethod
    def of(cls, recipe: Recipe, quantizer: Bottleneck, step: int, samples: int, quantizes: bool) -> Drawn:
        """Draw for the whole batch of a step, on the CPU.

        Args:
            recipe: sizes, shares and the seed.
            quantizer: whose generator the noise comes from; it is seeded for this step.
            step: of the run.
            samples: of a crop.
            quantizes: whether the quantizer is in the path.
        """
        rng = np.random.default_rng([recipe.run.seed, step])
        quantizer.generator.manual_seed(int(rng.integers(2**63)))
        batch, frames = recipe.data.batch_size, samples // recipe.model.latent_hop
        shape = (batch, recipe.model.latent_dim, frames)
        stages = torch.from_numpy(_stages(recipe, rng))
        noise = torch.randn(shape, generator=quantizer.generator) if quantizer.samples or not quantizes else None
        start = recipe.phases.decoder_only_from
        contracts = recipe.loss.contractive and (start is None or step < start)
        probe = _signs((*shape[:2], min(frames, CONTRACTED_FRAMES)), quantizer.generator) if contracts else None
        keys = torch.from_numpy(rng.integers(2**31, size=(recipe.loss.draws + 1, batch))).T
        return cls(stages, 1.0, _varying(recipe), _lost(recipe, rng, frames), keys, noise, probe)

    def of_items(self, items: slice, device: torch.device) -> Drawn:
        """Take the share of some of the items."""

        def taken(values: Tensor) -> Tensor:
            return values[items].to(device)

        return Drawn(
            stages=taken(self.stages),
            stages_share=float(self.stages[items].double().mean() / self.stages.double().mean()),
            varying=None if self.varying is None else taken(self.varying),
            lost=None if self.lost is None else taken(self.lost),
            keys=taken(self.keys),
            noise=None if self.noise is None else taken(self.noise),
            probe=None if self.probe is None else taken(self.probe),
        )


def lost_frames(frames: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Draw frames that get lost in bursts [frame]: a Gilbert-Elliott channel that is either good or loses everything.

    Source: Gilbert 1960, "Capacity of a burst-noise channel".
    """
    share, burst = rng.uniform(*LOSS_SHARE), rng.uniform(*BURST_FRAMES)
    enters, leaves = share / (burst * (1 - share)), 1 / burst
    lost, length = np.zeros(frames, bool), 0
    for frame, draw in enumerate(rng.random(frames)):
        length = length + 1 if draw < (1 - leaves if length else enters) and length < LONGEST_BURST else 0
        lost[frame] = length > 0
    return lost


def _stages(recipe: Recipe, rng: np.random.Generator) -> NDArray[np.int64]:
    """Quantizer dropout: stages in use for each item [batch]; all where no prefix will do."""
    batch, most = recipe.data.batch_size, recipe.model.num_stages
    if len(recipe.model.stage_choices) < most:
        return np.full(batch, most)
    stages = rng.integers(1, most + 1, batch)
    stages[: round(batch * recipe.quantizer.full_share)] = most
    return stages


def _varying(recipe: Recipe) -> Tensor | None:
    """Items whose stages vary: the last of a batch."""
    batch, share = recipe.data.batch_size, recipe.quantizer.varying_share
    return torch.arange(batch) >= batch - round(batch * share) if share else None


def _lost(recipe: Recipe, rng: np.random.Generator, frames: int) -> Tensor | None:
    if not recipe.model.decoder_conceals:
        return None
    lost = np.zeros((recipe.data.batch_size, frames), bool)
    for item in lost:
        if rng.random() < recipe.augment.lost_frames:
            item[:] = lost_frames(frames, rng)
    return torch.from_numpy(lost)


def _signs(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return 2.0 * torch.randint(2, shape, generator=generator) - 1
