"""Several processes that share many files: this one, and helpers that join in when the work is worth it."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any, NoReturn, Protocol, TypeAlias

from vqcodec.recipes.parallel import interruptions_wait

from ..terminal.messages import explain
from .outcomes import News, Outcome
from .places import Conversion

Convert: TypeAlias = Callable[[Conversion, Callable[[float], None]], Outcome]
"""Converts a file, and calls back now and then with the seconds of audio that are done."""

STARTUP_S = 2.0
"""About the CPU seconds until a helper can work, torch being imported: helpers come once the work has taken as long."""
NEWS_EVERY_S = 0.2
"""Seconds between two messages of a helper on how far it is."""
PATIENCE_S = 30
"""Seconds that a helper has to tidy up when it is told to stop."""

_NOTHING = -1


class Task(Protocol):
    """What is to be done with each file; it can be pickled."""

    def open(self) -> Convert:
        """Load what all files need, such as a model."""


class Crew:
    """This process and its helpers, who take files from one list; a context manager.

    The helpers compute as this process does, so that it does not matter who takes which file. When the body ends
    early they are told to stop, and leave no temporary file behind.

    Args:
        files: to be converted.
        task: for the helpers; without one there are none.
        jobs: the most processes, this one included.
    """

    def __init__(self, files: Sequence[Conversion], task: Task | None, jobs: int) -> None:
        self._files = files
        self._task = task
        self._most = jobs - 1 if task is not None else 0
        self._helpers: list[_Helper] = []
        self._places: Any = _Alone([0, _NOTHING])
        self._began = time.perf_counter()

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None:
        for helper in self._helpers:
            helper.process.terminate()
        for helper in self._helpers:
            helper.process.join(PATIENCE_S)
            helper.process.kill()

    def take(self) -> int | None:
        """The place of the next file for this process, or None if all are taken."""
        return _take(self._places, 0, len(self._files))

    def news(self) -> Iterator[News]:
        """What the helpers have reported since the last call; calls them in when it is time."""
        if self._most and not self._helpers and time.perf_counter() - self._began >= STARTUP_S:
            self._call_helpers(min(self._most, len(self._files) - self._places[0]))
        for helper in self._helpers:
            yield from helper.news()

    def waits(self) -> bool:
        """Wait for a helper's report; False if no file is in a helper's hands any more."""
        busy = [helper.pipe for helper in self._helpers if helper.holds_a_file()]
        return bool(busy) and bool(wait(busy))

    def _call_helpers(self, count: int) -> None:
        if count <= 0:
            return
        context = multiprocessing.get_context("spawn")  # a fork of a process that has computed would hang
        self._places = context.Array("i", [self._places[0], self._places[1], *[_NOTHING] * count])
        with interruptions_wait():
            self._helpers = [_Helper(self._places, 1 + n, self._files, self._task, context) for n in range(count)]


class _Alone(list[int]):
    """Places of a process without helpers."""

    def get_lock(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()


class _Helper:
    """A process that helps, as it is seen from the one that it helps."""

    def __init__(self, places: Any, number: int, files: Sequence[Conversion], task: Task | None, context: Any) -> None:
        self._places = places
        self._number = number
        self._told = {_NOTHING}  # places whose end is known
        self.pipe, theirs = context.Pipe(duplex=False)
        self.process = context.Process(target=_help, args=(theirs, places, number, files, task), daemon=True)
        self.process.start()
        theirs.close()

    def holds_a_file(self) -> bool:
        """Whether a file that this helper took is not known to have ended."""
        with self._places.get_lock():
            return self._places[1 + self._number] not in self._told

    def news(self) -> Iterator[News]:
        """What it has reported; that a file failed, if it died over it."""
        try:
            while not self.pipe.closed and self.pipe.poll():
                news = self.pipe.recv()
                if news.outcome is not None or news.failure is not None:
                    self._told.add(news.place)
                yield news
        except EOFError:
            self.pipe.close()
            if self.holds_a_file():
                place = self._places[1 + self._number]
                self._told.add(place)
                yield News(place, failure="its process died, most likely for lack of memory; try fewer --jobs")


def attempt(place: int, file: Conversion, convert: Convert, progress: Callable[[float], None]) -> News:
    """Convert one of many files; what is wrong with it becomes news."""
    try:
        if os.path.exists(file.source):
            os.makedirs(os.path.dirname(file.target) or ".", exist_ok=True)
        return News(place, outcome=convert(file, progress))
    except Exception as failure:
        text = explain(failure)
        if text is None:
            raise
        return News(place, failure=text)


def _take(places: Any, number: int, count: int) -> int | None:
    """Take the next of `count` files. `places` holds it, and then the file that each process has."""
    with places.get_lock():
        place: int = places[0]
        taken = place < count
        places[0] += taken
        places[1 + number] = place if taken else _NOTHING
    return place if taken else None


def _help(pipe: Connection, places: Any, number: int, files: Sequence[Conversion], task: Task) -> None:
    """The work of a helper: files from the list until it is empty."""
    for name in ("SIGINT", "SIGHUP", "SIGQUIT"):  # the process that it helps hears them, and ends it
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _stop)
    convert = task.open()
    with contextlib.suppress(BrokenPipeError):  # the process that it helps is gone
        while (place := _take(places, number, len(files))) is not None:
            pipe.send(attempt(place, files[place], convert, _reports(pipe, place)))


def _stop(number: int, _frame: object) -> NoReturn:
    """End in order, once, so that no temporary file stays behind."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise SystemExit(128 + number)


def _reports(pipe: Connection, place: int) -> Callable[[float], None]:
    """A function that tells the other process now and then how far a file is."""
    last = 0.0

    def report(done_s: float) -> None:
        nonlocal last
        if time.monotonic() - last >= NEWS_EVERY_S:
            last = time.monotonic()
            pipe.send(News(place, done_s))

    return report
