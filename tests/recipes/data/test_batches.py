"""Workers of a loader."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from vqcodec.recipes.data.batches import started, worker_settings


class ManyTensors(IterableDataset[list[Tensor]]):
    """Items that a worker is long busy handing over."""

    def __iter__(self) -> Iterator[list[Tensor]]:
        while True:
            yield [torch.zeros(1) for _ in range(100)]


def test_workers_that_are_handing_over_end_in_peace() -> None:
    before = set(multiprocessing.active_children())
    items = started(DataLoader(ManyTensors(), batch_size=None, **worker_settings(2)))
    next(items)
    workers = set(multiprocessing.active_children()) - before
    del items
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0]
