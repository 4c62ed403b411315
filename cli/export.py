"""`vqcodec export`: a training run -> weights to encode and decode with; or a model -> a folder for other programs."""

from pathlib import Path
from typing import Annotated

import typer

from .options import Force, Model
from .terminal.messages import note, say


def export(
    run: Annotated[Path | None, typer.Argument(metavar="RUN", help="Folder of a training run.")] = None,
    target: Annotated[Path | None, typer.Argument(metavar="OUT.safetensors", help="File to write.")] = None,
    best: Annotated[
        bool, typer.Option("--best", help="Take the checkpoint with the best validation score, not the last one.")
    ] = False,
    transformers: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Write a model for the package transformers instead, with code that runs without vqcodec.",
        ),
    ] = None,
    onnx: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Write a model as ONNX graphs instead, for vqcodec.light and browsers."),
    ] = None,
    model: Model = None,
    force: Force = False,
) -> None:
    """Write the weights of a training run to a file that --model takes.

    Or, with --transformers, a model (the one of --model) to a folder that AutoModel.from_pretrained loads with
    trust_remote_code=True; or, with --onnx, to a folder that vqcodec.light reads.
    """
    if transformers is not None or onnx is not None:
        if run is not None or best:
            raise typer.BadParameter("--transformers and --onnx take a model (--model), not a run")
        if transformers is not None:
            _export_to_transformers(model, transformers, force)
        if onnx is not None:
            _export_to_onnx(model, onnx, force)
    elif run is None or target is None:
        raise typer.BadParameter("name a run and a file to write, or a folder with --transformers or --onnx")
    elif model is not None:
        raise typer.BadParameter("--model goes with --transformers and --onnx")
    else:
        _export_run(run, target, best, force)


def _export_run(run: Path, target: Path, best: bool, force: bool) -> None:
    from vqcodec.files import check_output

    check_output(target, force)
    from vqcodec.recipes.training import checkpoints

    step = checkpoints.export(run, target, best=best, force=force, report=note)
    say(f"{run}, step {step} -> {target}: {target.stat().st_size} bytes; use it with --model {target}")


def _export_to_transformers(name: str | None, folder: Path, force: bool) -> None:
    from vqcodec.errors import VqcodecError
    from vqcodec.files import check_folder
    from vqcodec.models import registry

    path = registry.find(name or registry.DEFAULT)
    check_folder(folder, force)
    try:
        from vqcodec.integrations import transformers as integration
    except ImportError as error:
        raise VqcodecError(str(error)) from error
    from transformers.utils import logging

    from vqcodec.models import checkpoint

    logging.disable_progress_bar()  # to write a few files takes no time
    integration.write_folder(checkpoint.load(path), folder)
    size = _with_card(path, folder)
    say(f"{path.stem} -> {folder}: {size} bytes; AutoModel.from_pretrained({str(folder)!r}, trust_remote_code=True)")


def _export_to_onnx(name: str | None, folder: Path, force: bool) -> None:
    from vqcodec.errors import VqcodecError
    from vqcodec.files import check_folder
    from vqcodec.models import registry

    path = registry.find(name or registry.DEFAULT)
    check_folder(folder, force)
    try:
        from vqcodec.integrations import onnx as integration
    except ImportError as error:
        raise VqcodecError(str(error)) from error
    note("tracing the networks takes a minute or so")
    integration.write_folder(path, folder)
    size = _with_card(path, folder)
    say(f"{path.stem} -> {folder}: {size} bytes; vqcodec.light.Codec.load({str(folder)!r})")


def _with_card(path: Path, folder: Path) -> int:
    """Put the model's card, with the attributions of its data, into a folder; returns the bytes of all in it."""
    if (card := path.with_suffix(".md")).is_file():
        (folder / "README.md").write_bytes(card.read_bytes())
    return sum(file.stat().st_size for file in folder.iterdir())
