"""Usable CPUs, and worker processes that compute on one thread each, so that CPU seconds mean something."""

from __future__ import annotations

import contextlib
import math
import multiprocessing
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from vqcodec.errors import VqcodecError

from . import cgroup


def usable_cpus() -> int:
    """Count the CPUs that this process may use, of those that it may run on; at least 1."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = cgroup.cpu_limit()
    return cpus if limit is None else max(1, min(cpus, math.floor(limit)))


@contextlib.contextmanager
def pool(processes: int, finish: bool = True) -> Iterator[ProcessPoolExecutor]:
    """Open a pool of processes of one thread each.

    Args:
        processes: how many.
        finish: they are deaf to Ctrl-C, and so finish what they do; otherwise it ends them at once.

    Raises:
        VqcodecError: a process died, which ends the body.
    """
    try:
        context = multiprocessing.get_context("spawn")
        with (
            one_thread_each(),
            ProcessPoolExecutor(processes, mp_context=context, initializer=_begin, initargs=(finish,)) as executor,
        ):
            yield executor
    except BrokenProcessPool:
        raise worker_died() from None


def worker_died() -> VqcodecError:
    """The error for a worker process that died."""
    return VqcodecError(
        "a worker process died, most likely for lack of memory; what was done is kept:"
        " give the same command again, with fewer --jobs"
    )


@contextlib.contextmanager
def one_thread_each() -> Iterator[None]:
    """Processes that start in the body compute on one thread each."""
    variables = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL", "NUMBA")}
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)  # read by libraries as they are loaded, in the workers
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextlib.contextmanager
def interruptions_wait() -> Iterator[None]:
    """Ctrl-C counts after the body only; processes that start in it do not hear it before they are set up."""
    if not hasattr(signal, "pthread_sigmask"):  # not on Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(finish: bool) -> None:
    import torch

    if finish:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    else:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    torch.set_num_threads(1)
