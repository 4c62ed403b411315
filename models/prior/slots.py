"""The order in which a transformer reads frames: as time goes, or a gap after all that surrounds it.

A transformer reads a row of slots. Each has a place in time, and predicts the frame of that place; what it is told is
the frame just before the place, or that the row jumps there. A row begins with a jump to 0. A gap from a to b of a
sound of n frames is read in the order

    0, 1, ..., a - 1   then a jump to   b, ..., n - 1   then a jump to   a, ..., b - 1

so that the frames of the gap are predicted from both sides (Bavarian et al. 2022, "Efficient Training of Language
Models to Fill in the Middle"). The places stay those of the sound: rotary positions are computed from them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

NONE = -1
"""Stands for the codes of the frame before where the row jumps, and for those to be predicted where there is none."""


@dataclass(frozen=True, eq=False)
class Slots:
    """A row of slots for each item."""

    places: Tensor
    """Of the frames that they predict, the same for all items, int64 [slot]"""
    before: Tensor
    """Codes of the frames before, `NONE` after a jump, int64 [item, stage, slot]"""
    targets: Tensor
    """Codes to be predicted, `NONE` where there are none, int64 [item, stage, slot]"""

    @property
    def order(self) -> Tensor:
        """Numbers of the slots that predict a frame, in the order of the frames [frame]."""
        predicting = (self.targets[:, 0] != NONE).any(0).nonzero()[:, 0]
        return predicting[self.places[predicting].argsort()]


def arrange(codes: Tensor, gap: tuple[int, int] | None = None) -> Slots:
    """Arrange frames in slots.

    Args:
        codes: int64 [item, stage, frame].
        gap: the first frame of a gap, and the first one behind it; None to read as time goes.
    """
    frames = codes.shape[-1]
    if gap is None:
        return _run(codes, 0, frames, closed=False)
    start, end = gap
    runs = [_run(codes, 0, start), _run(codes, end, frames), _run(codes, start, end, closed=False)]
    return Slots(
        torch.cat([run.places for run in runs]),
        torch.cat([run.before for run in runs], -1),
        torch.cat([run.targets for run in runs], -1),
    )


def _run(codes: Tensor, start: int, end: int, closed: bool = True) -> Slots:
    """A jump to `start` and the frames up to `end`; the last of them is told as well, if it is `closed`."""
    none = codes.new_full((*codes.shape[:2], 1), NONE)
    before = torch.cat([none, codes[..., start:end]], -1)
    targets = torch.cat([codes[..., start:end], none], -1)
    places = torch.arange(start, end + 1, device=codes.device)
    kept = None if closed else -1
    return Slots(places[:kept], before[..., :kept], targets[..., :kept])
