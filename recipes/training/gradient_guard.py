"""The gradient-spike guard: steps whose gradient norm is far above the usual one are skipped."""

from __future__ import annotations

import math
from typing import Any

from vqcodec.errors import VqcodecError

LEARNING_STEPS = 20
"""Gradients at the start from which the usual norm is learnt; all finite ones are accepted."""

_LARGEST_COUNT = 1 << 40
_LARGEST_LOG = 700.0  # whose exponential float64 still holds

RATE = 0.02
"""Share by which a gradient moves the usual norm, in the log domain."""


class TrainingDiverged(VqcodecError):
    """Too many steps in a row would have wrecked the model."""


class GradientSpikeGuard:
    """Finds outliers among the gradients by their norm.

    The usual norm is a running mean of logarithms. After the start no single gradient counts in it for more than a
    factor of e, so that outliers hardly move it, but a lasting change of scale (another phase) is learnt in a while.
    """

    def __init__(self, factor: float, patience: int) -> None:
        """
        Args:
            factor: a gradient is an outlier whose norm is more than this many times the usual one, or not finite.
            patience: outliers in a row after which training has diverged.
        """
        self.factor, self.patience = factor, patience
        self.skipped = 0
        """Outliers in the whole run."""
        self._in_a_row = 0
        self._seen = 0
        self._log_usual = 0.0

    @property
    def usual(self) -> float:
        """The usual norm of the gradient so far."""
        return math.exp(self._log_usual)

    def accepts(self, norm: float) -> bool:
        """Decide whether to take the step with this norm of the gradient; the usual norm is updated either way.

        Raises:
            TrainingDiverged: this was the last of `patience` outliers in a row.
        """
        outlier = not math.isfinite(norm) or (self._seen >= LEARNING_STEPS and norm > self.factor * self.usual)
        if math.isfinite(norm) and norm > 0:  # silence has no gradient, and teaches nothing
            self._learn(math.log(norm))
        if not outlier:
            self._in_a_row = 0
            return True
        self.skipped += 1
        self._in_a_row += 1
        if self._in_a_row >= self.patience:
            raise TrainingDiverged(
                f"training diverged: {self._in_a_row} steps in a row had a gradient norm that is not finite or over "
                f"{self.factor:g} times the usual {self.usual:.3g}, the last one {norm:.3g}; "
                "resume from the last checkpoint with a lower optimizer.learning_rate"
            )
        return False

    def state(self) -> dict[str, Any]:
        """State of the guard, to resume from."""
        return {
            "skipped": self.skipped,
            "in_a_row": self._in_a_row,
            "seen": self._seen,
            "log_usual": self._log_usual,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go back to what `state` returned.

        Raises:
            KeyError: a number is missing.
            ValueError: one of them cannot be.
        """
        counts = [state[name] for name in ("skipped", "in_a_row", "seen")]
        log_usual = state["log_usual"]
        if not all(type(count) is int and 0 <= count < _LARGEST_COUNT for count in counts):
            raise ValueError("a count of steps with gradient spikes is no whole number")
        if not isinstance(log_usual, float) or not abs(log_usual) < _LARGEST_LOG:
            raise ValueError(f"the usual norm of the gradient is exp({str(log_usual)[:20]})")
        self.skipped, self._in_a_row, self._seen = counts
        self._log_usual = log_usual

    def _learn(self, log_norm: float) -> None:
        self._seen += 1
        change = log_norm - self._log_usual
        if self._seen > LEARNING_STEPS:
            change = min(1.0, max(-1.0, change))
        self._log_usual += max(RATE, 1 / self._seen) * change
