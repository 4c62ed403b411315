"""`vqcodec train`: recordings -> a trained model."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vqcodec.models import registry

from .options import Device, TrainingThreads, let_threads_sleep, use_threads
from .terminal.messages import INTERRUPTED, leads, note

if TYPE_CHECKING:
    from vqcodec.recipes.config import Recipe


def train(
    recipe: Annotated[
        str, typer.Argument(metavar="RECIPE", help="A recipe that ships, such as speech_16k, or a TOML file.")
    ],
    more_data: Annotated[
        list[Path] | None, typer.Argument(metavar="DIR", help="The same as --data, which need not be repeated.")
    ] = None,
    data: Annotated[
        list[Path] | None,
        typer.Option("--data", metavar="DIR", help="Folder of recordings, searched recursively."),
    ] = None,
    noise: Annotated[
        list[Path] | None,
        typer.Option("--noise", metavar="DIR", help="Folder of background noise for augment.noise; may be repeated."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="RUN", help="Folder for checkpoints, metrics and weights.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the run's last checkpoint.")] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a setting of the recipe; may be repeated."),
    ] = None,
    device: Device = "auto",
    threads: TrainingThreads = None,
    init: Annotated[
        str | None,
        typer.Option(metavar="NAME|PATH", help="Begin with a model that ships, or with a .safetensors file."),
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder for the decoded recordings; runs may share it."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what the run would cost, without data; train nothing.")
    ] = False,
) -> None:
    """Train a model on folders of recordings, in any format and of any sample rate.

    Ctrl-C stops with a checkpoint, from which --resume goes on: with the run's own settings, and what --set says now.
    """
    let_threads_sleep()
    if threads is not None:
        use_threads(threads)
    measure_threads = "OMP_NUM_THREADS" not in os.environ  # it is set by --threads and by torchrun, too
    if dry_run:
        _show_plan(recipe, settings or [], device, measure_threads)
        return
    folders = [*(data or []), *(more_data or [])]  # of `--data a b`, b arrives as an argument of its own
    if not folders:
        raise typer.BadParameter("name at least one folder of recordings", param_hint="--data")
    if out is None:
        raise typer.BadParameter("name a folder for the run", param_hint="--out")
    chosen = _settings_of(out, recipe, settings or []) if resume else _load(recipe, settings or [])
    weights_to_begin_with = None if init is None else registry.find(init)
    from vqcodec.recipes.training import train as training

    from .terminal.training import training_display

    with training_display() as display:
        weights = training.train(
            chosen,
            folders,
            out,
            display=display,
            resume=resume,
            device=device,
            cache=cache,
            init=weights_to_begin_with,
            noise=noise or [],
            measure_threads=measure_threads,
        )
    if weights is None:
        raise typer.Exit(INTERRUPTED)


def _load(recipe: str, settings: Sequence[str]) -> Recipe:
    from vqcodec.recipes import loading

    return loading.load(recipe, settings)


def _settings_of(run: Path, recipe: str, settings: Sequence[str]) -> Recipe:
    """The settings of a run that is resumed, changed as asked for; says what differs from them and from the recipe."""
    from vqcodec.recipes import loading
    from vqcodec.recipes.training.checkpoints import recorded

    before = recorded(run)
    chosen = loading.change(before, settings)
    if leads():
        if changed := loading.differences(before, chosen):
            note(f"changed in this run: {', '.join(changed)}")
        if ignored := loading.differences(loading.load(recipe, settings), chosen):
            note(f"{run} keeps its own settings, not those of {recipe}: {', '.join(ignored)}")
    return chosen


def _show_plan(recipe: str, settings: Sequence[str], device: str, measure_threads: bool) -> None:
    chosen = _load(recipe, settings)
    from vqcodec.recipes.training.dry_run import plan

    from .terminal.training import show_plan

    show_plan(plan(chosen, device, note if measure_threads else None))
