"""The Ray engine: the parts of a job shared out among the actors of a cluster by Ray Data.

A part is a row of the data set, and an actor makes it and writes it as the local engine does. Ray starts a part
again whose actor or machine died; a part that was written twice has the same bytes twice.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from vqcodec.errors import ConfigError, VqcodecError

from . import plan
from .job import Job, Outcome
from .plan import Part

_OBJECT_STORE_BYTES = 200_000_000  # of a local cluster; the rows are numbers


class _Maker:
    """An actor: a model that is loaded once, and makes parts."""

    def __init__(self, folder: str, model: str, device: str) -> None:
        import torch

        torch.set_num_threads(1)
        self._job = Job(plan.read(Path(folder)), model, device)
        self._encoder = self._job.encoder()

    def __call__(self, rows: dict[str, Any]) -> dict[str, list[Any]]:
        outcomes = [self._job.make(self._job.plan.parts[number], self._encoder) for number in rows["part"].tolist()]
        return {
            "part": [outcome.part.number for outcome in outcomes],
            "failed": [outcome.failed for outcome in outcomes],
            "audio_s": [outcome.audio_s for outcome in outcomes],
        }


def run(job: Job, parts: Sequence[Part], workers: int | None, address: str | None) -> Iterator[Outcome]:
    """Make parts of a job on a cluster; yield each once it is done.

    Every machine of the cluster must see the inputs, the folder of the job and the model under the same paths.

    Args:
        job: the job; an actor takes a CPU, or a GPU if that is its device.
        parts: those to be made.
        workers: number of actors; None takes as many as the cluster has CPUs or GPUs.
        address: of the cluster; None starts one on this machine.

    Raises:
        ConfigError: Ray is not installed, or there is no such cluster.
        VqcodecError: an output cannot be written, or the cluster gave up.
    """
    if not parts:
        return
    ray = _ray()
    kind = "CPU" if job.device == "cpu" else "GPU"
    _connect(ray, workers if kind == "CPU" else None, address)
    try:
        workers = workers or max(1, int(ray.cluster_resources().get(kind, 0)))
        rows = ray.data.from_items([{"part": part.number} for part in parts], override_num_blocks=len(parts))
        made = rows.map_batches(
            _Maker,
            fn_constructor_args=(str(job.plan.folder), job.model, job.device),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=workers, max_tasks_in_flight_per_actor=2),
            num_cpus=1,
            num_gpus=1 if kind == "GPU" else 0,
        )
        for row in made.iter_rows():
            yield Outcome(job.plan.parts[row["part"]], row["failed"], row["audio_s"])
    except ray.exceptions.RayError as error:
        reason = getattr(error, "cause", None) or error
        raise VqcodecError(f"Ray gave up: {str(reason).strip().splitlines()[-1]}") from error
    finally:
        ray.shutdown()


def _ray() -> Any:
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # else it warns of what is no harm here
    try:
        import ray
        import ray.data
    except ImportError:
        raise ConfigError("the engine needs Ray: pip install 'vqcodec[ray]'") from None
    return ray


def _connect(ray: Any, cpus: int | None, address: str | None) -> None:
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        if address is None:
            store = {"object_store_memory": _OBJECT_STORE_BYTES, "include_dashboard": False}
            ray.init(address="local", num_cpus=cpus, **store, **quiet)
        else:
            ray.init(address=address, **quiet)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise ConfigError(f"no Ray cluster at {address or 'this machine'}: {str(error).splitlines()[0]}") from None
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
