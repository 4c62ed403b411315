"""The real codecs over whole files: every file through every system, in parallel, and resumable.

A system's work on one file is a job. Results are appended to the store as they come, so that an interrupted run
loses nothing and goes on where it stopped.
"""

from __future__ import annotations

import contextlib
import functools
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, as_completed
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vqcodec import audio
from vqcodec.errors import AudioError, VqcodecError

from .. import parallel
from ..metrics import FRAME_RATE_HZ, METRICS
from .comparison import Comparison
from .results import EvaluationResult
from .store import Evaluation, EvaluationFailure, EvaluationStore
from .systems import System

Progress = Callable[[int, int, str], None]
"""Called with the jobs done, all jobs, and the file that was last."""


@dataclass(frozen=True, kw_only=True)
class EvaluationJob:
    """One file through one system, told to a worker process."""

    file: str
    path: Path
    system: System
    sample_rate: int
    metrics: tuple[str, ...]
    frame_rate_hz: float
    store: EvaluationStore


def evaluate(
    comparison: Comparison,
    store: EvaluationStore,
    *,
    jobs: int | None = None,
    force: bool = False,
    progress: Progress = lambda done, total, file: None,
) -> Evaluation:
    """Run every system over every file that is not in the store yet.

    Args:
        comparison: files, systems and settings; of a sound with several channels the mean is taken.
        store: takes the results, the sounds and the codes.
        jobs: number of worker processes; None for one for each core.
        force: start anew where the store holds a run with other settings.

    Raises:
        ConfigError: the store holds something else.
        VqcodecError: a worker process died.
        KeyboardInterrupt: on Ctrl-C, once what was being computed is stored.
    """
    facts = comparison.facts
    store.begin(facts, force)
    done = {(one.file, one.system) for one in store.records()[0]}
    todo = [
        EvaluationJob(
            file=file,
            path=path,
            system=system,
            sample_rate=facts.sample_rate,
            metrics=facts.metrics,
            frame_rate_hz=facts.model.get("frame_rate_hz", FRAME_RATE_HZ),
            store=store,
        )
        for file, path in comparison.files.items()
        for system in comparison.systems
        if (file, system.name) not in done
    ]
    with parallel.pool(min(jobs or parallel.usable_cpus(), max(1, len(todo)))) as pool:
        with parallel.interruptions_wait():
            futures = [pool.submit(measure, job) for job in todo]
        _record(todo, futures, store, progress)
    evaluation = store.load()
    store.write_tables(evaluation)
    return evaluation


def _record(
    jobs: Sequence[EvaluationJob],
    futures: Sequence[Future[EvaluationResult | EvaluationFailure]],
    store: EvaluationStore,
    progress: Progress,
) -> None:
    """Store outcomes as they come. When interrupted, only what waits is given up, not what is being computed."""
    recorded: set[Future[EvaluationResult | EvaluationFailure]] = set()

    def record(some: Iterable[Future[EvaluationResult | EvaluationFailure]]) -> None:
        for future in some:
            outcome = future.result()
            with parallel.interruptions_wait():  # or the outcome would be stored twice
                store.append(outcome)
                recorded.add(future)
            progress(len(recorded), len(jobs), outcome.file)

    try:
        record(as_completed(futures))
    except (KeyboardInterrupt, SystemExit):
        started = [future for future in futures if not future.cancel()]
        record(future for future in as_completed(started) if future not in recorded)
        raise


def measure(job: EvaluationJob) -> EvaluationResult | EvaluationFailure:
    """Do one job, in a worker process: run, compare, keep the sound."""
    try:
        reference = _read(job.path, job.sample_rate)
    except (VqcodecError, OSError) as error:
        return EvaluationFailure(file=job.file, reason=str(error))
    try:
        with tempfile.TemporaryDirectory() as folder:
            coded = job.system.run(reference, job.sample_rate, Path(folder))
        job.store.keep_audio(job.file, job.system.name, coded.waveform, job.sample_rate)
        if coded.codes is not None:
            job.store.keep_codes(job.file, job.system.name, coded.codes)
    except (VqcodecError, OSError) as error:
        return EvaluationFailure(file=job.file, system=job.system.name, reason=str(error))
    return EvaluationResult(
        file=job.file,
        system=job.system.name,
        duration_s=len(reference) / job.sample_rate,
        bytes=coded.bytes,
        encode_s=coded.encode_s,
        decode_s=coded.decode_s,
        scores=dict(_scores(job, reference, coded.waveform)),
    )


@functools.lru_cache(maxsize=1)
def _read(path: Path, sample_rate: int) -> NDArray[np.float32]:
    """The sound of a file as one channel `[sample]`: its jobs come one after the other."""
    waveform: NDArray[np.float32] = audio.read(path, sample_rate)[0].mean(axis=0)
    return waveform


def _scores(
    job: EvaluationJob, reference: NDArray[np.float32], decoded: NDArray[np.float32]
) -> Iterator[tuple[str, float]]:
    for name in job.metrics:
        metric = METRICS[name]
        frame_rate = (job.frame_rate_hz,) if metric.periodic else ()
        with contextlib.suppress(AudioError):  # undefined for this file: no speech in it, or too short
            yield name, metric.function(reference, decoded, job.sample_rate, *frame_rate)
