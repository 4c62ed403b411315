"""`vqcodec train`: recordings -> a trained model."""

from pathlib import Path
from typing import Annotated

import typer

from .messages import INTERRUPTED, say
from .options import Device


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
    out: Annotated[
        Path | None, typer.Option("--out", metavar="RUN", help="Folder for checkpoints, metrics and weights.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the run's last checkpoint.")] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a setting of the recipe; may be repeated."),
    ] = None,
    device: Device = "auto",
    init: Annotated[
        Path | None,
        typer.Option(metavar="WEIGHTS", help="Begin with these weights (.safetensors), not with random ones."),
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder for the decoded recordings; runs may share it."),
    ] = None,
) -> None:
    """Train a model on folders of recordings, in any format and of any sample rate.

    Ctrl-C stops with a checkpoint, from which --resume goes on.
    """
    folders = [*(data or []), *(more_data or [])]  # of `--data a b`, b arrives as an argument of its own
    if not folders:
        raise typer.BadParameter("name at least one folder of recordings", param_hint="--data")
    if out is None:
        raise typer.BadParameter("name a folder for the run", param_hint="--out")
    from vqcodec.recipes import config

    chosen = config.load(recipe, settings or [])
    from vqcodec.recipes import train as training

    from .display import training_display

    with training_display() as display:
        weights = training.train(
            chosen, folders, out, display=display, resume=resume, device=device, cache=cache, init=init
        )
    if weights is None:
        raise typer.Exit(INTERRUPTED)
    say(f"trained: {weights}; use it with --model {weights}")
