"""The course of a learning rate."""

from __future__ import annotations

import math


def warmed_cosine(step: int, steps: int, warmup_steps: int, final_share: float) -> float:
    """Share of the learning rate at a step: it rises in a line over the warm-up, and falls on a cosine throughout.

    Args:
        step: from 0 on.
        steps: of the whole run, in whose last one `final_share` is left.
        warmup_steps: of the rise; none if 0.
        final_share: from 0 to 1.
    """
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, step / steps)))
    warmup = min(1.0, (step + 1) / max(1, warmup_steps))
    return warmup * (final_share + (1 - final_share) * cosine)
