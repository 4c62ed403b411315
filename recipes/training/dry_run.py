"""Estimate of what a run will cost, from a few steps on random audio."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vqcodec.codec import Codec

from ..config import Recipe
from ..data.batches import Example, random_batch
from ..distributed import World
from ..flops import macs_per_s
from . import memory, threads
from .checkpoints import KEPT
from .checks import check
from .step import Trainer, count

TIMED_STEPS = 4
"""Steps of each phase whose mean counts, after one that warms up: discriminators may not learn in each."""


@dataclass(frozen=True)
class Phase:
    """A stretch of a run in which a step costs the same."""

    name: str
    steps: int
    step_s: float
    """Seconds a step, data aside."""


@dataclass(frozen=True)
class TrainingPlan:
    """Sizes and costs of a run."""

    recipe: Recipe
    device: str
    parameters: Mapping[str, int]
    """Numbers in each part of the model that is exported."""
    discriminators: int
    """Parameters of the discriminators; 0 without an adversarial phase."""
    macs_per_s: Mapping[str, float]
    """Multiply-accumulate operations per second of audio to "encode" and "decode", with all stages."""
    phases: tuple[Phase, ...]
    peak_bytes: int | None
    """The most memory in use: of the GPU, else of the whole process; None where that is not known."""
    checkpoint_bytes: int

    @property
    def duration_s(self) -> float:
        """Seconds that all steps take, validation aside."""
        return sum(phase.steps * phase.step_s for phase in self.phases)

    @property
    def disk_bytes(self) -> int:
        """The most that checkpoints take on disk: the last ones, the best one, and one that is being written."""
        return (KEPT + 2) * self.checkpoint_bytes


def plan(recipe: Recipe, device: str = "auto", report: Callable[[str], None] | None = None) -> TrainingPlan:
    """Build the model and time a few steps of each phase of a run, in this process alone.

    Args:
        recipe: of the run.
        device: "auto", "cpu", "cuda" or "cuda:N".
        report: takes a line on the number of threads that is fastest, which is then computed on; if None, torch's
            setting stays.

    Raises:
        ConfigError: the recipe or the device cannot be used.
        OutOfMemory: a step does not fit into the memory.
    """
    check(recipe)
    world = World()
    with memory.explained(recipe):
        if report is not None and world.device(device).type == "cpu":
            threads.choose(recipe, report)
        trainer = Trainer(recipe, world.device(device), world)
        batch = random_batch(recipe, trainer.device)
        if not trainer.has_codebooks:
            trainer.initialise_codebooks([batch])
        phases = tuple(_time(trainer, batch, name, steps) for name, steps in stretches(recipe))
        adversary = trainer.adversary
        return TrainingPlan(
            recipe=recipe,
            device=str(trainer.device),
            parameters=trainer.parameters,
            discriminators=0 if adversary is None else count(adversary.discriminators),
            macs_per_s=macs_per_s(Codec(trainer.averaged), recipe.model.num_stages),
            phases=phases,
            peak_bytes=memory.peak_bytes(trainer.device),
            checkpoint_bytes=_bytes(trainer.state()),
        )


def stretches(recipe: Recipe) -> list[tuple[str, range]]:
    """The phases of a run by name, and their steps; those without steps are left out."""
    total = recipe.run.steps
    starts = {"adversarial": recipe.phases.adversarial_from, "decoder only": recipe.phases.decoder_only_from}
    begin = {name: total if start is None else min(start, total) for name, start in starts.items()}
    bounds = sorted({0, total, *begin.values()})
    found = []
    for first, end in itertools.pairwise(bounds):
        active = [name for name, start in begin.items() if start <= first]
        found.append((", ".join(active) or "reconstruction", range(first, end)))
    return found


def _time(trainer: Trainer, batch: Example, name: str, steps: range) -> Phase:
    """Take a few steps as the phase's last ones, when every loss has come in."""
    seconds = []
    for _ in range(1 + TIMED_STEPS):
        trainer.step = steps[-1]
        start = time.perf_counter()
        trainer.train_step(batch)
        if trainer.device.type == "cuda":
            torch.cuda.synchronize(trainer.device)
        seconds.append(time.perf_counter() - start)
    return Phase(name, len(steps), statistics.fmean(seconds[1:]))


def _bytes(state: Any) -> int:
    """Bytes of all tensors of a checkpoint."""
    if isinstance(state, Tensor):
        return state.nbytes
    if isinstance(state, dict):
        return sum(map(_bytes, state.values()))
    if isinstance(state, list | tuple):
        return sum(map(_bytes, state))
    return 0
