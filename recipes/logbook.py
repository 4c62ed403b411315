"""What a run writes down about itself as it goes: the metrics file."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor


class Logbook:
    """The metrics file of a run, one JSON object a line."""

    def __init__(self, run: Path) -> None:
        self._file = open(run / "metrics.jsonl", "a", encoding="utf-8")  # noqa: SIM115

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def training(self, step: int, metrics: Mapping[str, float], perplexities: Sequence[float]) -> None:
        """Means over the steps since the last line."""
        self._write(step=step, **metrics, perplexity=list(perplexities))

    def validation(self, step: int, scores: Mapping[str, float]) -> None:
        """Scores on the held-out recordings."""
        self._write(step=step, validation=dict(scores))

    def _write(self, **values: Any) -> None:
        self._file.write(json.dumps(values) + "\n")
        self._file.flush()


class Meter:
    """Means of the metrics between two lines of the logbook."""

    def __init__(self, audio_s: float) -> None:
        self.audio_s = audio_s
        """Seconds of audio in a step, over all processes."""
        self.restart()

    def restart(self) -> None:
        """Forget everything, the time as well."""
        self._metrics: list[dict[str, Tensor]] = []
        self._start = time.monotonic()

    def add(self, metrics: dict[str, Tensor]) -> None:
        """Note one step."""
        self._metrics.append(metrics)

    def read(self) -> tuple[dict[str, float], list[float]]:
        """Mean of each metric, and of each stage's perplexity, since the last call."""
        names = self._metrics[-1].keys()
        recent = [metrics for metrics in self._metrics if metrics.keys() == names]
        means = {name: torch.stack([m[name] for m in recent]).float().mean(0) for name in names}
        perplexities: list[float] = means.pop("perplexity", torch.zeros(0)).tolist()
        metrics = {name: float(value) for name, value in means.items()}
        metrics["audio_s_per_s"] = len(self._metrics) * self.audio_s / (time.monotonic() - self._start)
        self.restart()
        return metrics, perplexities
