"""`vqcodec export`: a training run -> weights to encode and decode with."""

from pathlib import Path
from typing import Annotated

import typer

from .messages import say
from .options import Force


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a training run.")],
    target: Annotated[Path, typer.Argument(metavar="OUT.safetensors", help="File to write.")],
    force: Force = False,
) -> None:
    """Write the weights of a training run to a file that --model takes."""
    from vqcodec.files import check_output

    check_output(target, force)
    from vqcodec.recipes.checkpoints import export as write_weights

    write_weights(run, target, force)
    say(f"{run} -> {target}: {target.stat().st_size} bytes; use it with --model {target}")
