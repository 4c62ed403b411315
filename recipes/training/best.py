"""The checkpoint of a run with the best score on the held-out recordings."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vqcodec.files import atomic_output

from . import checkpoints
from .validation import SCORES


class Best:
    """Keeps the best checkpoint so far, and notes beside it in `best.json` which it is and what it scored.

    A score with several values, for several numbers of stages, counts by their mean.
    """

    def __init__(self, run: Path, by: str) -> None:
        """
        Args:
            run: the folder of the run; what it holds from before counts, if it was chosen by the same score.
            by: a score as validation names it ("mel@12"), or what stands before its "@"; `checks` knows which.
        """
        self.run, self.by = run, by
        self._note = run / "checkpoints" / "best.json"
        self.value = self._noted()
        """The best value so far; None before the first one."""

    def offer(self, scores: Mapping[str, float], state: dict[str, Any]) -> bool:
        """Keep this checkpoint if it scores better than any before; returns whether it does."""
        value = value_of(scores, self.by)
        if value is None or not math.isfinite(value) or not self._beats(value):
            return False
        checkpoints.write(self.run, checkpoints.BEST, state)
        self.value = value
        noted = {"step": state["step"], "by": self.by, "value": value, "scores": dict(scores)}
        with atomic_output(self._note, force=True) as output:
            output.write((json.dumps(noted, indent=2) + "\n").encode())
        return True

    def _beats(self, value: float) -> bool:
        if self.value is None:
            return True
        return value > self.value if SCORES[_name(self.by)] else value < self.value

    def _noted(self) -> float | None:
        try:
            noted = json.loads(self._note.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return float(noted["value"]) if noted["by"] == self.by else None


def value_of(scores: Mapping[str, float], by: str) -> float | None:
    """The value that counts, or None if there is none: the mean of all scores of that name."""
    values = [value for name, value in scores.items() if by in (name, _name(name))]
    return sum(values) / len(values) if values else None


def _name(score: str) -> str:
    return score.partition("@")[0]
