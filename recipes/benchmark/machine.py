"""The machine that figures depend on besides the code: processor, library versions, load."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

import vqcodec

from ..parallel import usable_cpus


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Facts about a machine and what runs on it, none of which names it."""

    cpu: str
    cpus: int
    """CPUs that this process may use."""
    instructions: str
    """The instruction set that torch chose: "AVX512"."""
    gpus: tuple[str, ...]
    """The GPUs that were measured."""
    platform: str
    python: str
    torch: str
    vqcodec: str
    load: float | None
    """Load average over the minute before the benchmark; None where it is unknown."""


def facts(devices: Sequence[str]) -> Machine:
    """The facts about this machine; of its GPUs, those among `devices`."""
    return Machine(
        cpu=_cpu(),
        cpus=usable_cpus(),
        instructions=torch.backends.cpu.get_cpu_capability(),
        gpus=tuple(torch.cuda.get_device_name(device) for device in devices if device.startswith("cuda")),
        platform=platform.platform(),
        python=platform.python_version(),
        torch=torch.__version__,
        vqcodec=vqcodec.__version__,
        load=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    )


def devices() -> tuple[str, ...]:
    """The devices that are there: "cpu", and "cuda" if there is a GPU."""
    return ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",)


def _cpu() -> str:
    """Name of the processor's model."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text("utf-8", "replace").splitlines() if file.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
