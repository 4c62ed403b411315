"""The options that several commands share, and what they mean."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from vqcodec.models.config import MAX_EFFORT

from .terminal.messages import note

if TYPE_CHECKING:
    from vqcodec import Codec


def _check_bitrate(value: float | None) -> float | None:
    if value is not None and not 0 < value < math.inf:
        raise typer.BadParameter("a bitrate is a positive number of kbit/s")
    return value


def _bitrate(help: str) -> Any:
    return typer.Option(metavar="KBPS", callback=_check_bitrate, help=help)


Bitrate: TypeAlias = Annotated[float | None, _bitrate("Bitrate of a channel in kbit/s; the nearest possible is used.")]
MeanBitrate: TypeAlias = Annotated[
    float | None, _bitrate("Bitrate of a channel in kbit/s: that of the whole file if it may vary, else of the codes.")
]
PeeledBitrate: TypeAlias = Annotated[
    float | None,
    _bitrate("Bitrate of a channel in kbit/s, instead of --stages: as many stages are kept as it allows, all counted."),
]
MaxBitrate: TypeAlias = Annotated[float | None, _bitrate("Bitrate in kbit/s that no second exceeds.")]
Stages: TypeAlias = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="Number of codebooks, instead of --bitrate.")
]
Model: TypeAlias = Annotated[
    str | None, typer.Option(metavar="NAME|PATH", help="A model that ships, or a .safetensors file.")
]
Effort: TypeAlias = Annotated[
    int,
    typer.Option(
        min=1, max=MAX_EFFORT, help=f"How hard to search for the best codes: 1 is fastest, {MAX_EFFORT} is best."
    ),
]
Device: TypeAlias = Annotated[str, typer.Option(metavar="auto|cpu|cuda", help="Where to compute.")]
Precision: TypeAlias = Annotated[
    str,
    typer.Option(metavar="auto|float32|bfloat16", help="Of the arithmetic; auto is the fastest on this processor."),
]
Threads: TypeAlias = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        help="Threads to compute on: 1, or OMP_NUM_THREADS if that is set. More help on an idle machine only.",
    ),
]
TrainingThreads: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--threads",
        metavar="N",
        min=1,
        help="Threads to compute on: those that are fastest in the first seconds, or OMP_NUM_THREADS if that is set.",
    ),
]
Jobs: TypeAlias = Annotated[
    int | None,
    typer.Option(
        metavar="N", min=1, help="Processes that share many files; by default one for each usable CPU, on a GPU one."
    ),
]
OutFolder: TypeAlias = Annotated[
    str | None, typer.Option("--out", metavar="FOLDER", help="Folder to write into; all names are inputs then.")
]
SkipExisting: TypeAlias = Annotated[
    bool, typer.Option("--skip-existing", help="Leave out what has an output already: go on where it was interrupted.")
]
Force: TypeAlias = Annotated[bool, typer.Option("--force", "-f", help="Overwrite existing files.")]
Quiet: TypeAlias = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")]


def use_threads(count: int | None) -> None:
    """Let torch and numpy compute on so many threads: by default 1, unless the environment says otherwise.

    By themselves they take all cores, and wait for each other in loops: on a machine that does anything else, that is
    many times slower than a single thread. They read the environment when they are loaded; torch can be told later.
    """
    if count is None:
        if "OMP_NUM_THREADS" in os.environ:
            return
        count = 1
    for library in ("OMP", "OPENBLAS", "MKL"):
        os.environ[f"{library}_NUM_THREADS"] = str(count)
    let_threads_sleep()
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(count)


def jobs_on(device: str, jobs: int | None) -> int:
    """The number of processes for many files: what was asked for, else one for each usable CPU, or for the GPU.

    Args:
        device: "auto", "cpu", "cuda", ...
        jobs: what was asked for.

    Raises:
        ConfigError: there is no such device.
    """
    if jobs is not None:
        return jobs
    import torch

    from vqcodec.checks import checked_device
    from vqcodec.recipes.parallel import usable_cpus

    if checked_device(device).type != "cpu":
        return 1
    return max(1, usable_cpus() // torch.get_num_threads())


def let_threads_sleep() -> None:
    """Have threads of OpenMP that wait for others sleep, unless the environment says otherwise.

    Waiting in a loop, as they do by themselves, keeps a core from those that they wait for, where the cores are shared.
    Counts only before torch is loaded.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def check_one_of(options: Mapping[str, object]) -> None:
    """Refuse several answers to the same question, by the names of the options."""
    given = [name for name, value in options.items() if value is not None]
    if len(given) > 1:
        raise typer.BadParameter(f"choose either {' or '.join(given)}")


def choose_stages(
    codec: Codec, bitrate: float | None, stages: int | None, quiet: bool, available: int | None = None
) -> int | None:
    """The number of stages that was asked for, by `bitrate` (kbit/s) or directly; None if neither was.

    Says so when the nearest possible bitrate is another one. `available`: stages there are in a file.
    """
    if bitrate is None:
        return stages
    nearest = min(codec.stages_for(bitrate * 1000), available or codec.num_stages)
    possible = codec.config.bitrate_of(nearest) / 1000
    if not quiet and not math.isclose(bitrate, possible, rel_tol=1e-3):
        note(f"{bitrate:g} kbit/s is not possible; using the nearest, {possible:g} kbit/s")
    return nearest
