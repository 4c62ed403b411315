"""The training loop."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Protocol

import torch

from vqcodec.errors import ConfigError

from . import checkpoints
from .config import Recipe
from .data import Example, Folders, Source
from .distributed import World
from .logbook import Logbook, Meter
from .trainer import Trainer
from .validate import validate


class Display(Protocol):
    """Where a run shows how it goes."""

    def message(self, text: str) -> None:
        """One line of news."""

    def update(self, step: int, steps: int, metrics: Mapping[str, float], perplexities: Sequence[float]) -> None:
        """Means since the last update: loss terms, "audio_s_per_s", "learning_rate", ..."""

    def validation(self, step: int, metrics: Mapping[str, float]) -> None:
        """Scores on the held-out files."""


def train(
    recipe: Recipe,
    data: Sequence[Path],
    out: Path,
    *,
    display: Display,
    resume: bool = False,
    device: str = "auto",
    cache: Path | None = None,
    init: Path | None = None,
) -> Path | None:
    """Train a codec and export its weights.

    Args:
        recipe: what to train and how.
        data: folders of audio, searched recursively.
        out: the run's folder: checkpoints, metrics.jsonl, recipe.json and, at the end, weights.
        display: shows progress.
        resume: go on from the run's last checkpoint.
        device: "auto", "cpu", "cuda" or "cuda:N".
        cache: where the decoded corpus lies, `out`/cache if None; runs on the same data may share it.
        init: weights (safetensors) to begin with in place of random ones.

    Returns:
        The exported weights, or None if the run was interrupted and can be resumed.

    Raises:
        ConfigError: the run exists and `resume` was not asked for, or the other way round.
        AudioError: a folder is missing or holds no readable audio.
    """
    checkpoints.prepare_folder(out, recipe, resume)
    trainer = Trainer(recipe, _device(device), World(), init)
    source = Folders(recipe, data, cache or out / "cache", display.message)
    if resume:
        trainer.load_state(checkpoints.load(out))
        display.message(f"resuming at step {trainer.step}")
    display.message(f"{trainer.parameters / 1e6:.2f} M parameters, {source.describe()}")
    with _interrupts() as interrupted:
        finished = _loop(trainer, source, out, display, interrupted)
    checkpoints.save(out, trainer.state())
    if not finished:
        display.message(f"stopped at step {trainer.step}; go on with --resume")
        return None
    return checkpoints.export(out, out / f"{recipe.model.name}.safetensors", force=True)


def _loop(trainer: Trainer, source: Source, out: Path, display: Display, interrupted: list[int]) -> bool:
    """Steps until the run's end or an interruption; returns whether the end was reached."""
    recipe, run = trainer.recipe, trainer.recipe.run
    batches = source.batches(range(trainer.step, run.steps), trainer.world, run.seed)
    meter = Meter(recipe.data.batch_size * recipe.data.crop_s)
    saved = time.monotonic()
    with Logbook(out) as log:
        while trainer.step < run.steps:
            if trainer.step == recipe.quantizer.start_step:
                trainer.initialise_codebooks(_kmeans_batches(trainer, source))
            meter.add(trainer.train_step(_to_device(next(batches), trainer.device)))
            if trainer.step % run.log_every == 0:
                metrics, perplexities = meter.read()
                metrics["learning_rate"] = trainer.learning_rate
                log.training(trainer.step, metrics, perplexities)
                display.update(trainer.step, run.steps, metrics, perplexities)
            if source.held_out and (trainer.step % run.validate_every == 0 or trainer.step == run.steps):
                scores = validate(trainer.averaged, source.held_out, trainer.quantizes)
                log.validation(trainer.step, scores)
                display.validation(trainer.step, scores)
                meter.restart()
            if interrupted:
                return False
            if time.monotonic() - saved > 60 * run.checkpoint_minutes:
                checkpoints.save(out, trainer.state())
                saved = time.monotonic()
    return True


def _kmeans_batches(trainer: Trainer, source: Source) -> Iterator[Example]:
    """Batches for k-means, drawn with another seed than those of the steps."""
    recipe = trainer.recipe
    for batch in source.batches(range(recipe.quantizer.kmeans_batches), trainer.world, recipe.run.seed + 1):
        yield _to_device(batch, trainer.device)


def _to_device(batch: Example, device: torch.device) -> Example:
    return Example(*(waveform.to(device, non_blocking=True) for waveform in batch))


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(f"no such device: {name}; choose auto, cpu or cuda") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError("no CUDA device is available here; choose --device cpu")
    return device


@contextmanager
def _interrupts() -> Iterator[list[int]]:
    """A list that fills when SIGINT or SIGTERM arrives, so that the loop can stop between two steps."""
    caught: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        caught.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
