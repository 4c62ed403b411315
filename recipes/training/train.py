"""The training loop."""

from __future__ import annotations

import signal
import time
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Protocol

import torch
from torch import Tensor

from vqcodec.errors import ConfigError

from ..config import Recipe
from ..data.batches import BatchSource, Example
from ..data.shard_reader import open_source
from ..distributed import joined
from . import checkpoints, memory, threads
from .checkpoint_file import taken_over
from .checks import check
from .logs import Meter, MetricsLog, TensorBoardLogger
from .step import Trainer
from .validation import validate

EARLY_STEPS = (1, 2, 5, 10)
"""Steps since the start after which there are numbers at once, before the usual interval has passed."""


class Display(Protocol):
    """Interface of a display of training progress."""

    def message(self, text: str) -> None:
        """One line of news."""

    def update(self, step: int, steps: int, metrics: Mapping[str, float], perplexities: Sequence[float]) -> None:
        """Means since the last update: loss terms, "audio_s_per_s", "data_share", "learning_rate", ..."""

    def validation(self, step: int, metrics: Mapping[str, float]) -> None:
        """Scores on the held-out files."""


class Silence:
    """The display of a process that does not lead: it shows nothing."""

    def message(self, text: str) -> None:
        """Say nothing."""

    def update(self, step: int, steps: int, metrics: Mapping[str, float], perplexities: Sequence[float]) -> None:
        """Show nothing."""

    def validation(self, step: int, metrics: Mapping[str, float]) -> None:
        """Show nothing."""


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
    noise: Sequence[Path] = (),
    measure_threads: bool = False,
) -> Path | None:
    """Train a codec and export its weights.

    Under torchrun its processes train together, each on its share of every batch; the first one alone writes and talks.
    All of them must see the same folders. Processes that torchrun starts anew go on from the last checkpoint.

    Args:
        recipe: what to train and how.
        data: folders of audio, searched recursively, or of shards as `prepare` writes them.
        out: the run's folder: checkpoints, metrics.jsonl, recipe.json and, at the end, weights.
        display: shows progress.
        resume: go on from the run's last checkpoint.
        device: "auto", "cpu", "cuda" or "cuda:N".
        cache: where the decoded corpus lies, `out`/cache if None; runs on the same data may share it.
        init: weights (safetensors) to begin with in place of random ones. The quantizer is then in from the first
            step, with the codebooks of these weights, and so are all losses. A run that is resumed has its own.
        noise: folders of background noise, for `augment.noise`.
        measure_threads: on a CPU, compute on as many threads as are fastest in a few steps that are thrown away; else
            torch's setting stays.

    Returns:
        The exported weights, or None if the run was interrupted and can be resumed.

    Raises:
        ConfigError: the run exists and `resume` was not asked for, or the other way round.
        AudioError: a folder is missing or holds no readable audio.
        CorruptFile: no checkpoint of a run that is resumed can be read, or the last one is not of this recipe.
        OutOfMemory: a step does not fit into the memory.
        TrainingDiverged: the gradients stay unusable.
    """
    check(recipe)
    if init is not None:
        recipe = fine_tuning(recipe)
    with joined() as world, memory.explained(recipe):
        display = display if world.leads else Silence()
        resume = resume or (world.restarted and checkpoints.exist(out))
        world.by_lead(lambda: checkpoints.prepare_folder(out, recipe, resume))
        if measure_threads and world.device(device).type == "cpu":
            threads.choose(recipe, display.message)
        trainer = Trainer(recipe, world.device(device), world, None if resume else init)
        display.message(f"{sum(trainer.parameters.values()) / 1e6:.2f} M parameters; reading the recordings")
        source = world.in_turn(lambda: open_source(recipe, data, cache or out / "cache", display.message, noise))
        display.message(source.describe())
        if resume:
            state = checkpoints.load(out, display.message)
            with taken_over(out):
                trainer.load_state(state)
            display.message(f"resuming at step {trainer.step}")
        with _interrupts() as interrupted:
            _loop(trainer, source, out, display, interrupted)
        world.by_lead(lambda: checkpoints.save(out, trainer.state()))
        if trainer.step < recipe.run.steps:
            display.message(f"stopped at step {trainer.step}; go on with --resume")
            return None
        weights = out / f"{recipe.model.name}.safetensors"
        world.by_lead(lambda: checkpoints.export(out, weights, force=True, report=display.message))
        display.message(f"trained: {weights}; use it with --model {weights}")
        return weights


def fine_tuning(recipe: Recipe) -> Recipe:
    """The recipe for a run that begins with trained weights: codebooks and spectral losses are in from the start."""
    loss = recipe.loss.model_copy(update={"schedule_start": 0, "schedule_steps": 0})
    quantizer = recipe.quantizer.model_copy(update={"start_step": 0})
    return recipe.model_copy(update={"loss": loss, "quantizer": quantizer})


def _loop(trainer: Trainer, source: BatchSource, out: Path, display: Display, interrupted: list[int]) -> None:
    """Steps until the run's end or an interruption, with all that is written and said about them."""
    recipe, run = trainer.recipe, trainer.recipe.run
    meter = Meter(recipe.data.batch_size * recipe.data.crop_s)
    began, saved = trainer.step, time.monotonic()
    steps = _steps(trainer, source, meter, interrupted)
    if not trainer.world.leads:
        deque(steps, maxlen=0)
        return
    best = checkpoints.BestCheckpoint(out, run.best_by)
    with MetricsLog(out, began, _tensorboard(trainer, source, out, display)) as log:
        for metrics_of_step in steps:
            meter.add(metrics_of_step)
            if trainer.step % run.log_every == 0 or trainer.step - began in EARLY_STEPS:
                metrics, perplexities = meter.read()
                metrics["learning_rate"] = trainer.learning_rate
                log.training(trainer.step, metrics, perplexities)
                display.update(trainer.step, run.steps, metrics, perplexities)
            if source.held_out and (trainer.step % run.validate_every == 0 or trainer.step == run.steps):
                quantizes = trainer.has_codebooks
                scores = validate(trainer.averaged, source.held_out, quantizes)
                log.validation(trainer.step, scores, trainer.averaged, quantizes)
                display.validation(trainer.step, scores)
                if quantizes and best.offer(scores, trainer.state()):
                    display.message(f"step {trainer.step} is the best so far by {run.best_by}: {best.value:.4g}")
                meter.restart()
            if time.monotonic() - saved > 60 * run.checkpoint_minutes:
                checkpoints.save(out, trainer.state())
                saved = time.monotonic()


def _steps(
    trainer: Trainer, source: BatchSource, meter: Meter, interrupted: list[int]
) -> Generator[dict[str, Tensor], None, None]:
    """Take the steps up to the run's end, or until one of the processes is interrupted; yields their metrics."""
    run, world = trainer.recipe.run, trainer.world
    if trainer.step == 0:
        trainer.calibrate(source.held_out)
    batches = source.batches(range(trainer.step, run.steps), world, run.seed)
    while trainer.step < run.steps:
        if trainer.needs_codebooks:
            trainer.initialise_codebooks(_kmeans_batches(trainer, source))
        with meter.waiting():
            batch = _to_device(next(batches), trainer.device)
        metrics = trainer.train_step(batch)
        if trainer.step % run.validate_every == 0 or trainer.step == run.steps:
            trainer.calibrate(source.held_out)
        yield metrics
        if world.any(bool(interrupted)):
            return


def _tensorboard(trainer: Trainer, source: BatchSource, out: Path, display: Display) -> TensorBoardLogger | None:
    """The TensorBoard logger of the run, unless it is not wanted or TensorBoard is not installed."""
    if not trainer.recipe.run.tensorboard:
        return None
    try:
        return TensorBoardLogger(out, trainer.recipe, trainer.step, source.held_out)
    except ConfigError as error:
        display.message(f"no event files: {error}, or set run.tensorboard=false")
        return None


def _kmeans_batches(trainer: Trainer, source: BatchSource) -> Iterator[Example]:
    """Batches for k-means, drawn with another seed than those of the steps."""
    recipe = trainer.recipe
    for batch in source.batches(range(recipe.quantizer.kmeans_batches), trainer.world, recipe.run.seed + 1):
        yield _to_device(batch, trainer.device)


def _to_device(batch: Example, device: torch.device) -> Example:
    return Example(*(waveform.to(device, non_blocking=True) for waveform in batch))


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
