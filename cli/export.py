"""`vqcodec export`: a training run -> weights to encode and decode with."""

from pathlib import Path
from typing import Annotated

import typer

from .options import Force
from .terminal.messages import note, say


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a training run.")],
    target: Annotated[Path, typer.Argument(metavar="OUT.safetensors", help="File to write.")],
    best: Annotated[
        bool, typer.Option("--best", help="Take the checkpoint with the best validation score, not the last one.")
    ] = False,
    force: Force = False,
) -> None:
    """Write the weights of a training run to a file that --model takes."""
    from vqcodec.files import check_output

    check_output(target, force)
    from vqcodec.recipes.training import checkpoints

    step = checkpoints.export(run, target, best=best, force=force, report=note)
    say(f"{run}, step {step} -> {target}: {target.stat().st_size} bytes; use it with --model {target}")
