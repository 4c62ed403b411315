"""`vqcodec detokenize`: parts of tokens -> sound files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..decode import Texture
from ..options import Device, Model, Precision, Quiet, Threads, use_threads
from ..terminal.messages import say
from ..terminal.progress import bar


def detokenize(
    tokens: Annotated[
        list[Path], typer.Argument(metavar="TOKENS...", help="Folders that `vqcodec tokenize` wrote, or parts of them.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help="Folder for the sound files.")],
    format: Annotated[str, typer.Option(metavar="wav|flac|opus|...", help="Of the sound files.")] = "wav",
    texture: Texture = 1.0,
    model: Model = None,
    device: Device = "auto",
    precision: Precision = "auto",
    threads: Threads = None,
    quiet: Quiet = False,
) -> None:
    """Decode codes of a corpus to sound files, OUT/part-000000/KEY-NAME.wav; those that exist are left as they are."""
    use_threads(threads)
    from vqcodec import Codec, audio
    from vqcodec.models import registry
    from vqcodec.recipes.tokenization.decoder import decode_part, parts_in

    if format not in audio.FORMATS:
        raise typer.BadParameter(f"the format is one of {', '.join(audio.FORMATS)}")
    parts = parts_in(tokens)
    codec = Codec.load(registry.DEFAULT if model is None else model, device, precision)
    files, audio_s = 0, 0.0
    with bar(len(parts), quiet) as update:
        for number, part in enumerate(parts):
            for seconds in decode_part(codec, part, out, format, texture):
                files, audio_s = files + 1, audio_s + seconds
                update(number, f"{files} files, {audio_s / 3600:.2f} h")
    if not quiet:
        say(f"{files} files, {audio_s / 3600:.2f} h")
