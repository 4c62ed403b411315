"""Timing of tasks: threads, synchronisation, rounds."""

from __future__ import annotations

import contextlib
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch


class Skipped(Exception):
    """A task cannot be measured here; the message says why."""


@dataclass(frozen=True)
class Place:
    """A device, and the number of threads that torch has on the CPU."""

    device: str
    threads: int = 1

    def __str__(self) -> str:
        if self.device != "cpu":
            return self.device
        return f"cpu, {self.threads} thread{'s' if self.threads > 1 else ''}"

    def now(self) -> float:
        """The time in seconds, once the device has done all that it was told to do."""
        if self.device.startswith("cuda"):
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Have that number of threads for the body."""
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)


@dataclass(frozen=True, eq=False)
class Task:
    """A piece of work to measure again and again, and where."""

    place: Place
    measure: Callable[[], Mapping[str, float]]
    """Does it once; returns the seconds that its parts took, by name."""


Samples = Mapping[str, Sequence[float]]
"""Seconds of each part, one for each round."""


def interleaved(tasks: Sequence[Task], repeat: int, progress: Callable[[float], None]) -> dict[Task, Samples]:
    """Do all tasks in turn, `repeat` times after a round that does not count.

    What is to be compared runs within moments of each other then, whatever else the machine is doing.
    `progress` is called with the share that is done.
    """
    samples: dict[Task, dict[str, list[float]]] = {task: defaultdict(list) for task in tasks}
    for turn in range(1 + repeat):
        for index, task in enumerate(tasks):
            progress((turn + index / len(tasks)) / (1 + repeat))
            with task.place.entered():
                seconds = task.measure()
            for name, value in seconds.items():
                if turn > 0:
                    samples[task][name].append(value)
    return dict(samples)


class Stopwatch:
    """Sums up the seconds between calls, by name."""

    def __init__(self, place: Place) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._place = place
        self._last = place.now()

    def skip(self) -> None:
        """Count what happened since the last call nowhere."""
        self._last = self._place.now()

    def lap(self, name: str) -> None:
        """Count what happened since the last call as `name`."""
        now = self._place.now()
        self.seconds[name] += now - self._last
        self._last = now
