"""The metrics log of a run: a file of JSON lines and, if wanted, event files for TensorBoard."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from vqcodec.files import atomic_output
from vqcodec.models.autoencoder import Autoencoder

from .tensorboard import TensorBoardLogger

METRICS = "metrics.jsonl"

COUNTS = ("skipped",)
"""Metrics that count from the beginning of the run, so that the last value stands for all."""


class MetricsLog:
    """The metrics file of a run, one JSON object a line, and its TensorBoard logger."""

    def __init__(self, run: Path, step: int = 0, tensorboard: TensorBoardLogger | None = None) -> None:
        """
        Args:
            run: the folder of the run.
            step: where it begins or goes on; lines about later steps, which will come again, are dropped.
            tensorboard: gets the same entries, if given.
        """
        path = run / METRICS
        if path.exists():
            _drop_after(path, step)
        self._tensorboard = tensorboard
        self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        if self._tensorboard:
            self._tensorboard.close()

    def training(self, step: int, metrics: Mapping[str, float], perplexities: Sequence[float]) -> None:
        """Means over the steps since the last line."""
        self._write(step=step, **metrics, perplexity=list(perplexities))
        if self._tensorboard:
            self._tensorboard.scalars(step, "training", metrics)
            stages = {f"stage_{number}": value for number, value in enumerate(perplexities, 1)}
            self._tensorboard.scalars(step, "perplexity", stages)

    def validation(self, step: int, scores: Mapping[str, float], model: Autoencoder, quantizes: bool) -> None:
        """Scores on the held-out recordings, and what TensorBoard shows of the model that was scored."""
        self._write(step=step, validation=dict(scores))
        if self._tensorboard:
            self._tensorboard.scalars(step, "validation", scores)
            if quantizes:
                self._tensorboard.codes(step, model)
                self._tensorboard.decoded(step, model)

    def _write(self, **values: Any) -> None:
        self._file.write(json.dumps(values) + "\n")
        self._file.flush()


class Meter:
    """Means of the metrics between two lines of the metrics log."""

    def __init__(self, audio_s: float) -> None:
        self.audio_s = audio_s
        """Seconds of audio in a step, over all processes."""
        self.restart()

    def restart(self) -> None:
        """Forget everything, the time as well."""
        self._metrics: list[dict[str, Tensor]] = []
        self._waited_s = 0.0
        self._start = time.monotonic()

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """The body waits for a batch."""
        start = time.monotonic()
        yield
        self._waited_s += time.monotonic() - start

    def add(self, metrics: dict[str, Tensor]) -> None:
        """Note one step."""
        self._metrics.append(metrics)

    def read(self) -> tuple[dict[str, float], list[float]]:
        """Mean of each metric, and of each stage's perplexity, since the last call; of counts the last value.

        A step that was refused for its NaN says nothing about the others: what is not finite is left out.

        With the speed come "audio_s_per_s", seconds of audio a second, and "data_share", of the time in which the
        step waited for its batch.
        """
        names = self._metrics[-1].keys()
        recent = [metrics for metrics in self._metrics if metrics.keys() == names]
        means = {name: _finite_mean(torch.stack([m[name] for m in recent]).float()) for name in names}
        perplexities: list[float] = means.pop("perplexity", torch.zeros(0)).tolist()
        metrics = {name: float(value) for name, value in means.items() if value.isfinite()}
        metrics |= {name: float(self._metrics[-1][name]) for name in COUNTS if name in names}
        elapsed_s = time.monotonic() - self._start
        metrics["audio_s_per_s"] = len(self._metrics) * self.audio_s / elapsed_s
        metrics["data_share"] = self._waited_s / elapsed_s
        self.restart()
        return metrics, perplexities


def _finite_mean(values: Tensor) -> Tensor:
    """Mean along the first axis of what is finite; NaN where nothing is."""
    return torch.where(values.isfinite(), values, torch.nan).nanmean(0)


def _drop_after(path: Path, step: int) -> None:
    """Keep the whole lines of a metrics file up to a step: a killed process may have left half a line."""
    kept = [line for line in path.read_bytes().splitlines(keepends=True) if _is_up_to(line, step)]
    with atomic_output(path, force=True) as output:
        output.write(b"".join(kept))


def _is_up_to(line: bytes, step: int) -> bool:
    try:
        return line.endswith(b"\n") and json.loads(line)["step"] <= step
    except (ValueError, KeyError, TypeError):
        return False
