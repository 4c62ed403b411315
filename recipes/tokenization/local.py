"""The local engine: the parts of a job shared out among processes of this machine."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from vqcodec.errors import VqcodecError

from ..parallel import interruptions_wait, one_thread_each, worker_died
from .job import Job, Outcome
from .plan import Part

Report = Callable[[float], None]
"""A function that is called with the seconds of audio that are done of the parts in work."""


def run(job: Job, parts: Sequence[Part], jobs: int, report: Report) -> Iterator[Outcome]:
    """Make parts of a job; yield each once it is done.

    Args:
        job: the job.
        parts: those to be made.
        jobs: the most processes; 1 does all of it in this one.
        report: told how far the parts in work are.

    Raises:
        VqcodecError: an output cannot be written, or a process died.
    """
    count = min(jobs, len(parts))
    if count > 1:
        with _Workers(job, count) as workers:
            yield from workers.share(parts, report)
    elif parts:
        encoder = job.encoder()
        for part in parts:
            yield job.make(part, encoder, report)
            report(0.0)


@dataclass(eq=False)
class _Worker:
    """A process that makes one part after another, as it is seen from the one that gives them out."""

    process: Any
    pipe: Connection
    audio_s: float = 0.0
    """Seconds of audio that are done of its part."""


class _Workers:
    """Processes of one thread each; a context manager, which ends them."""

    def __init__(self, job: Job, count: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._workers: list[_Worker] = []
        with interruptions_wait(), one_thread_each():
            for _ in range(count):
                ours, theirs = context.Pipe()
                process = context.Process(target=_work, args=(theirs, job), daemon=True)
                process.start()
                theirs.close()
                self._workers.append(_Worker(process, ours))

    def __enter__(self) -> _Workers:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.process.terminate()
            worker.process.join()

    def share(self, parts: Sequence[Part], report: Report) -> Iterator[Outcome]:
        """Give out the parts in order, and yield what comes of them."""
        left = iter(parts)
        busy = {worker.pipe: worker for worker in self._workers}
        for worker in self._workers:
            _give(worker, left, busy)
        while busy:
            for pipe in wait(list(busy)):
                worker = busy[pipe]  # type: ignore[index]
                news = _heard(worker)
                if isinstance(news, Outcome):
                    _give(worker, left, busy)
                    yield news
                else:
                    worker.audio_s = news
            report(sum(worker.audio_s for worker in self._workers))


def _give(worker: _Worker, left: Iterator[Part], busy: dict[Connection, _Worker]) -> None:
    part = next(left, None)
    worker.audio_s = 0.0
    if part is None:
        del busy[worker.pipe]
        return
    try:
        worker.pipe.send(part)
    except OSError:
        raise worker_died() from None


def _heard(worker: _Worker) -> Outcome | float:
    """What a worker says next: how many seconds are done, or that its part is."""
    try:
        news = worker.pipe.recv()
    except EOFError:
        raise worker_died() from None
    if isinstance(news, Exception):
        raise news
    return news  # type: ignore[no-any-return]


def _work(pipe: Connection, job: Job) -> None:
    """The work of a process: parts as they come, until the other end is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that gives out the parts hears it, and ends this one
    signal.signal(signal.SIGTERM, _stop)
    try:
        encoder = job.encoder()
        while True:
            pipe.send(job.make(pipe.recv(), encoder, pipe.send))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return
    except (VqcodecError, OSError) as error:
        pipe.send(error)


def _stop(number: int, _frame: object) -> None:
    """End in order, so that no temporary file stays behind."""
    raise SystemExit(128 + number)
