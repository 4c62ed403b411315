"""Drawing of codes from a prior: temperature, top-k, top-p, a guard against repetition, and a seed for each item."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vqcodec.errors import ConfigError

from .base import Condition, Prior, Session

Progress = Callable[[float], None]
"""A function that is told the share that is done."""


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How codes are drawn; a value out of range raises `ConfigError`."""

    temperature: float = 1.0
    """Logits are divided by it; 0 takes the likeliest code."""
    top_k: int | None = None
    """Only so many of the likeliest codes are drawn from."""
    top_p: float = 1.0
    """Only the likeliest codes whose probabilities add up to this are drawn from."""
    repetition_share: float = 1.0
    """A code that makes up more than this share of the last frames of its stage is drawn again, from all codes."""
    repetition_frames: int = 10
    """The last frames that are looked at."""

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < math.inf:
            raise ConfigError(f"the temperature is 0 or more, not {self.temperature}")
        if self.top_k is not None and self.top_k < 1:
            raise ConfigError(f"top-k is 1 or more, not {self.top_k}")
        if not 0 < self.top_p <= 1:
            raise ConfigError(f"top-p lies above 0 and up to 1, not at {self.top_p}")
        if not 0 <= self.repetition_share <= 1 or self.repetition_frames < 1:
            raise ConfigError("the guard against repetition takes a share from 0 to 1, of 1 frame or more")

    def probabilities(self, logits: Tensor) -> Tensor:
        """Turn logits into the probabilities that codes are drawn with: [item, code] -> the same shape."""
        if self.temperature == 0:
            return torch.zeros_like(logits).scatter_(1, logits.argmax(1, keepdim=True), 1.0)
        shares = torch.softmax(logits / self.temperature, 1)
        if self.top_k is None and self.top_p == 1:
            return shares
        largest, codes = shares.sort(dim=1, descending=True, stable=True)
        if self.top_k is not None:
            largest[:, self.top_k :] = 0
        largest = largest / largest.sum(1, keepdim=True)
        before = largest.cumsum(1) - largest
        largest = torch.where(before < self.top_p, largest, 0)
        return torch.zeros_like(shares).scatter_(1, codes, largest / largest.sum(1, keepdim=True))


class Draws:
    """Draws codes of several items, those of each item by a seed of its own.

    Args:
        sampling: how.
        seeds: of the items.
    """

    def __init__(self, sampling: Sampling, seeds: Sequence[int]) -> None:
        self.sampling = sampling
        self._generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def code(self, logits: Tensor, recent: Tensor) -> Tensor:
        """Draw a code of each item.

        A code that the last frames were full of comes from all codes instead (Chen et al. 2024, "VALL-E 2"), which
        ends loops that top-k and top-p run into.

        Args:
            logits: [item, code].
            recent: codes of the last frames of the same stage, int64 [item, frame].

        Returns:
            int64 [item]
        """
        drawn = self._draw(self.sampling.probabilities(logits))
        if self.sampling.repetition_share < 1:
            most = self.sampling.repetition_share * self.sampling.repetition_frames
            repeated = (recent == drawn[:, None]).sum(1) > most
            drawn = torch.where(repeated, self._draw(torch.softmax(logits, 1)), drawn)
        return drawn

    def _draw(self, probabilities: Tensor) -> Tensor:
        """Invert the cumulated probabilities at a number from 0 to 1, which each item draws for itself."""
        numbers = [torch.rand(1, generator=generator, dtype=torch.float64) for generator in self._generators]
        sums = probabilities.double().cumsum(1)
        wanted = torch.stack(numbers).to(sums.device) * sums[:, -1:]
        first = torch.searchsorted(sums, wanted, right=True)[:, 0]
        last = (probabilities > 0).double().cumsum(1).argmax(1)  # rounding must not lead beyond it
        return torch.minimum(first, last)


@torch.inference_mode()
def extend(
    prior: Prior,
    prompt: Tensor,
    frames: int,
    draws: Draws,
    condition: Condition | None = None,
    *,
    cached: bool = True,
    progress: Progress | None = None,
) -> Tensor:
    """Continue codes; with a prompt of no frames, begin with nothing.

    Args:
        prior: in evaluation mode.
        prompt: int64 [item, stage, frame].
        frames: to be added.
        draws: of as many items.
        condition: what codes are predicted from.
        cached: False computes everything anew for each code, to the same effect.
        progress: told the share that is done.

    Returns:
        The prompt and what follows it, int64 [item, stage, frame].

    Raises:
        ConfigError: that is longer than the context of the prior, or the condition is one that it does not know.
    """
    known = prompt.shape[-1]
    _check_length(prior, known + frames)
    session = prior.begin(len(prompt), condition or Condition(), cached)
    session.read(prompt, 0)
    codes = torch.cat([prompt, prompt.new_zeros(*prompt.shape[:2], frames)], -1)
    _fill(session, codes, known, known + frames, draws, progress)
    return codes


@torch.inference_mode()
def infill(
    prior: Prior,
    codes: Tensor,
    gap: tuple[int, int],
    draws: Draws,
    condition: Condition | None = None,
    *,
    cached: bool = True,
    progress: Progress | None = None,
) -> Tensor:
    """Draw the frames of a gap from what is on both sides of it; all other frames stay as they are.

    Args:
        prior: in evaluation mode.
        codes: int64 [item, stage, frame]; those in the gap are not looked at.
        gap: its first frame, and the first one behind it.
        draws: of as many items.
        condition: what codes are predicted from.
        cached: False computes everything anew for each code, to the same effect.
        progress: told the share that is done.

    Returns:
        int64 [item, stage, frame]

    Raises:
        ConfigError: the prior cannot infill, there are more frames than its context has, the gap is not in them, or the
            condition is one that the prior does not know.
    """
    start, end = gap
    if not prior.can_infill:
        raise ConfigError(f"a prior of the kind {prior.config.kind!r} knows no frames behind a gap")
    if not 0 <= start < end <= codes.shape[-1]:
        raise ConfigError(f"the gap from frame {start} to {end} is not in {codes.shape[-1]} frames")
    _check_length(prior, codes.shape[-1])
    session = prior.begin(len(codes), condition or Condition(), cached)
    session.read(codes[..., :start], 0)
    session.read(codes[..., end:], end)
    session.read(codes[..., :0], start)
    filled = codes.clone()
    _fill(session, filled, start, end, draws, progress)
    return filled


def _fill(session: Session, codes: Tensor, start: int, end: int, draws: Draws, progress: Progress | None) -> None:
    """Draw the frames from `start` to `end`, in place."""
    for frame in range(start, end):
        window = codes[..., max(0, frame - draws.sampling.repetition_frames) : frame]
        begun = codes[..., :0, frame]
        for stage in range(codes.shape[1]):
            drawn = draws.code(session.logits(begun), window[:, stage])
            begun = torch.cat([begun, drawn[:, None]], 1)
        codes[..., frame] = begun
        if frame + 1 < end:
            session.push(begun)
        if progress is not None:
            progress((frame + 1 - start) / (end - start))


def _check_length(prior: Prior, frames: int) -> None:
    config = prior.config
    if frames > config.context_frames:
        length = f"{frames / config.frame_rate:g} s"
        raise ConfigError(f"{length} in all are longer than the context of the prior, {config.context_s:g} s")
