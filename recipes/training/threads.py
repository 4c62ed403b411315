"""The number of threads that training computes on: the one that is fastest here and now."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

from ..config import Recipe
from ..data.batches import Example, random_batch
from ..distributed import World
from ..parallel import usable_cpus
from .step import Trainer

TIMED_STEPS = 3
"""Steps with each number of threads whose median counts, after one that warms up."""
GAIN = 0.9
"""Share of the time that more threads have to get by with to be worth it; each takes a core from other programs."""

Step = Callable[[Example], object]


def choose(recipe: Recipe, report: Callable[[str], None]) -> int:
    """Let torch compute on as many threads as make a step on a random batch fastest, and report it.

    On an idle machine these are most of its cores. Where other programs compute, fewer are faster: threads that wait
    for one without a core waste the time of all.

    Returns:
        The number of threads.
    """
    world = World()
    trainer = Trainer(recipe, world.device("cpu"), world)
    seconds = times(trainer.train_step, random_batch(recipe, trainer.device), counts(usable_cpus()))
    threads = fastest(seconds)
    torch.set_num_threads(threads)
    if len(seconds) > 1:
        measured = ", ".join(f"{count}: {value:.3g} s" for count, value in seconds.items())
        report(f"computing on {threads} thread{'s' * (threads > 1)} (a step by their number: {measured})")
    return threads


def counts(cpus: int) -> list[int]:
    """Numbers of threads to try: powers of two, and all CPUs."""
    return sorted({*(1 << power for power in range(cpus.bit_length())), cpus})


def times(step: Step, batch: Example, choices: list[int]) -> dict[int, float]:
    """Seconds of a step by the number of threads, in ascending order until more are slower."""
    found: dict[int, float] = {}
    for count in choices:
        torch.set_num_threads(count)
        found[count] = _time(step, batch)
        if found[count] > min(found.values()):
            break
    return found


def fastest(seconds: dict[int, float]) -> int:
    """The smallest number of threads that no larger one beats by much."""
    best, *others = sorted(seconds)
    for count in others:
        if seconds[count] < GAIN * seconds[best]:
            best = count
    return best


def _time(step: Step, batch: Example) -> float:
    seconds = []
    for _ in range(1 + TIMED_STEPS):
        start = time.perf_counter()
        step(batch)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])
