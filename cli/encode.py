"""`vqcodec encode`: sound files -> .vq files."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from vqcodec.models.config import DEFAULT_EFFORT, MAX_EFFORT

from .conversion import Conversion, Conversions, plan, run
from .options import Bitrate, Device, Force, Model, Quiet, Stages, check_one_quality, choose_stages

if TYPE_CHECKING:
    from vqcodec.codec import FileResult


def encode(
    source: Annotated[str, typer.Argument(metavar="IN", help="Sound file, folder of them, or - for standard input.")],
    target: Annotated[
        str | None,
        typer.Argument(metavar="OUT", help="File, folder or - for standard output; by default IN with the suffix .vq."),
    ] = None,
    bitrate: Bitrate = None,
    stages: Stages = None,
    effort: Annotated[
        int,
        typer.Option(
            min=1, max=MAX_EFFORT, help=f"How hard to search for the best codes: 1 is fastest, {MAX_EFFORT} is best."
        ),
    ] = DEFAULT_EFFORT,
    model: Model = None,
    device: Device = "auto",
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Compress sound files.

    Reads WAV, FLAC, OGG, Opus, MP3 and more, of any sample rate and any number of channels. Without
    --bitrate or --stages it takes 3 kbit/s, or what is nearest.
    """
    check_one_quality(bitrate, stages)
    from vqcodec import audio

    work = plan(source, target, ".vq", audio.find, force)
    total_s = _duration_s(work)
    from vqcodec import Codec
    from vqcodec.models import registry

    codec = Codec.load(model or registry.DEFAULT, device)
    codec.config.require_codes()
    chosen = choose_stages(codec, bitrate, stages, quiet)

    def convert(file: Conversion, progress: Callable[[float], None]) -> FileResult:
        return codec.encode_file(file.source, file.target, stages=chosen, effort=effort, force=force, progress=progress)

    run(work, convert, lambda result: result.bytes_out, total_s, quiet)


def _duration_s(work: Conversions) -> float | None:
    """Seconds of audio of a single file, which must be readable, before a model is loaded for it."""
    if work.is_folder or not work.files[0].can_peek:
        return None
    from vqcodec import audio

    with audio.Reader(work.files[0].source) as reader:
        return reader.duration_s
