"""The processes of a run: which one this is, and what they tell each other."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.rendezvous import rendezvous

from vqcodec.checks import DEVICES
from vqcodec.errors import ConfigError, VqcodecError

PATIENCE = timedelta(hours=12)
"""How long processes wait for a busy one: to decode a large corpus takes hours. One that dies is noticed at once."""

Result = TypeVar("Result")

_groups: list[dist.ProcessGroup] = []
"""All groups that this process ever joined, so that none is freed by a reducer of gradients: that waits for the threads
of the group without giving up the interpreter, and one of them may be waiting for the interpreter."""


@dataclass(frozen=True)
class World:
    """One process among those that train together.

    Whatever sums, gathers or asks is a collective: all processes must come to it, in the same order. Alone, a process
    gets back what it gave.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    """The number of the process on its machine."""
    restarted: bool = False
    """Whether these processes take the place of ones that died."""

    @property
    def leads(self) -> bool:
        """Whether this process writes files and talks."""
        return self.rank == 0

    def share(self, batch: int) -> range:
        """The items of a batch that are this process's, one stretch of it."""
        each = batch // self.size
        return range(self.rank * each, (self.rank + 1) * each)

    def sum(self, *tensors: Tensor) -> list[Tensor]:
        """Each tensor summed over the processes, in float32 and one collective."""
        if self.size == 1:
            return list(tensors)
        together = torch.cat([tensor.detach().float().flatten() for tensor in tensors])
        dist.all_reduce(together)
        parts = torch.split(together, [tensor.numel() for tensor in tensors])
        return [part.view_as(tensor) for part, tensor in zip(parts, tensors, strict=True)]

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Make the gradients, where there are any, means over the processes; they must be there in all or in none."""
        if self.size == 1:
            return
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        if gradients:
            sums = self.sum(*gradients)
            torch._foreach_copy_(gradients, sums)
            torch._foreach_div_(gradients, self.size)

    def gather(self, tensor: Tensor) -> Tensor:
        """Every process's tensor, all of one shape, joined along the first axis in the order of ranks."""
        if self.size == 1:
            return tensor
        parts = [torch.empty_like(tensor) for _ in range(self.size)]
        dist.all_gather(parts, tensor.contiguous())
        return torch.cat(parts)

    def copy_from_lead(self, tensors: Iterable[Tensor]) -> None:
        """Overwrite the tensors with those of the process that leads."""
        if self.size > 1:
            for tensor in tensors:
                dist.broadcast(tensor, 0)

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any of the processes."""
        if self.size == 1:
            return flag
        number = torch.tensor(int(flag))
        dist.all_reduce(number, dist.ReduceOp.MAX)
        return bool(number)

    def by_lead(self, work: Callable[[], object]) -> None:
        """Let the process that leads do something while the others wait for it.

        Raises:
            VqcodecError: what `work` raised, and in the other processes that it failed.
        """
        self._in_step(work if self.leads else lambda: None)

    def in_turn(self, work: Callable[[], Result]) -> Result:
        """Do something whose outcome on disk the others find: first rank 0, then one on each machine, then the rest.

        Raises:
            VqcodecError: what `work` raised, and in the other processes that it failed.
        """
        turn = 0 if self.leads else 1 if self.local_rank == 0 else 2
        results: list[Result] = []
        for now in range(3):
            self._in_step((lambda: results.append(work())) if now == turn else lambda: None)
        return results[0]

    def _in_step(self, work: Callable[[], object]) -> None:
        """Do something, wait until the others have done theirs, and fail if any of them did."""
        failure: Exception | None = None
        try:
            work()
        except Exception as error:
            failure = error
        if self.any(failure is not None):
            raise failure or VqcodecError("another process of this run failed; see its message")

    def device(self, name: str) -> torch.device:
        """The device that this process trains on.

        Args:
            name: "auto", "cpu", "cuda" or "cuda:N"; of several processes on a machine each takes its own GPU.

        Raises:
            ConfigError: there is no such device, or it would have to serve two processes.
        """
        if name == "auto":
            name = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            device = torch.device(name)
        except RuntimeError:
            raise ConfigError(f"no such device: {name}; choose auto, cpu or cuda") from None
        if device.type not in DEVICES:
            raise ConfigError(f"training does not run on {name}; choose auto, cpu or cuda")
        if device.type == "cpu":
            return device
        gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if not gpus:
            raise ConfigError("no CUDA device is available here; choose --device cpu")
        if self.size == 1:
            return device
        if device.index is not None:
            raise ConfigError(f"{name} cannot serve {self.size} processes; choose cuda, and each takes its own")
        if self.local_rank >= gpus:
            raise ConfigError(f"more processes on this machine than its {gpus} GPUs; lower --nproc-per-node")
        return torch.device("cuda", self.local_rank)


@contextmanager
def joined() -> Iterator[World]:
    """The world that the environment describes, as torchrun sets it: its processes are connected in the body.

    Raises:
        VqcodecError: the connection to another process broke off.
    """
    environment = os.environ
    size = int(environment.get("WORLD_SIZE", "1"))
    if size == 1:
        yield World(restarted=_restarted())
        return
    local_rank, backend = int(environment.get("LOCAL_RANK", "0")), "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(local_rank % torch.cuda.device_count())
        backend = "cpu:gloo,cuda:nccl"  # flags travel between CPUs
    store, rank, size = next(rendezvous("env://", timeout=PATIENCE))
    store = dist.PrefixStore(_meet(store, rank, size), store)  # type: ignore[attr-defined]
    dist.init_process_group(backend, timeout=PATIENCE, world_size=size, rank=rank, store=store)
    assert dist.group.WORLD is not None
    _groups.append(dist.group.WORLD)
    try:
        yield World(rank, size, local_rank, _restarted())
    except RuntimeError as error:
        if not _is_lost_connection(error):
            raise
        raise VqcodecError(f"process {rank} lost its connection to another one; go on with --resume") from error
    finally:
        dist.destroy_process_group()


def _meet(store: dist.Store, rank: int, size: int) -> str:  # type: ignore[name-defined]
    """A name for this meeting of processes, the same in all of them and in none that met at this store before.

    When torchrun starts processes anew its store still has all that the dead ones left, their addresses as well. So the
    one that leads calls a new meeting, and the others believe in a meeting once it has answered them in person.
    """
    own = uuid.uuid4().hex
    if rank == 0:
        store.set("meeting", own)
        for other in range(1, size):
            name = store.get(f"{own}/{other}").decode()  # waits for it
            store.set(f"{own}/{name}", "welcome")
        return own
    while True:
        meeting: str = store.get("meeting").decode()
        store.set(f"{meeting}/{rank}", own)
        with contextlib.suppress(dist.DistStoreError):  # no answer: a meeting of dead processes, or one just called
            store.wait([f"{meeting}/{own}"], timedelta(seconds=1))
            return meeting


def _restarted() -> bool:
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0


def _is_lost_connection(error: RuntimeError) -> bool:
    text = str(error).lower()
    return isinstance(error, dist.DistError) or "gloo" in text or "connection closed by peer" in text
