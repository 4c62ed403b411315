"""Memory: what a process takes at most, and what to do when there is not enough of it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from vqcodec.errors import VqcodecError

from ..config import Recipe

_CPU_MESSAGES = ("DefaultCPUAllocator", "not enough memory", "can't allocate memory", "out of memory")
"""Messages of a RuntimeError that is a failed allocation; on GPUs there is an exception of its own."""


class OutOfMemory(VqcodecError):
    """A training step does not fit into the memory."""


@contextmanager
def explained(recipe: Recipe) -> Iterator[None]:
    """Turn a failed allocation in the body into a message that says what to lower.

    Raises:
        OutOfMemory: the body ran out of memory.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        data, parts = recipe.data, recipe.optimizer.accumulate
        raise OutOfMemory(
            f"not enough memory for a training step: raise optimizer.accumulate (now {parts}), which works a batch "
            f"through in more parts, or lower data.batch_size (now {data.batch_size}) or data.crop_s (now "
            f"{data.crop_s:g})"
        ) from error


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception is a failed allocation, on whatever device."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _CPU_MESSAGES)


def peak_bytes(device: torch.device) -> int | None:
    """The most memory that was in use so far: of the GPU, else of this process; None where that is not known."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
