"""`vqcodec encode`: sound files -> .vq files."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from vqcodec.models.config import DEFAULT_EFFORT, MAX_EFFORT
from vqcodec.rates.target import Packing, RateMode

from .conversion import Conversion, Conversions, plan, run
from .options import (
    Device,
    Force,
    MaxBitrate,
    MeanBitrate,
    Model,
    Quiet,
    Stages,
    Threads,
    check_one_of,
    choose_stages,
    use_threads,
)

if TYPE_CHECKING:
    from vqcodec.codec import FileResult


def encode(
    source: Annotated[str, typer.Argument(metavar="IN", help="Sound file, folder of them, or - for standard input.")],
    target: Annotated[
        str | None,
        typer.Argument(metavar="OUT", help="File, folder or - for standard output; by default IN with the suffix .vq."),
    ] = None,
    bitrate: MeanBitrate = None,
    stages: Stages = None,
    quality: Annotated[
        float | None,
        typer.Option(metavar="0..10", min=0, max=10, help="As many bits as that takes, instead of --bitrate."),
    ] = None,
    rate_mode: Annotated[
        RateMode | None,
        typer.Option(help="Whether the bitrate varies with the sound; it does by default, where the model can do it."),
    ] = None,
    max_bitrate: MaxBitrate = None,
    packing: Annotated[
        Packing | None,
        typer.Option(help="Whether codes are packed by what is expected; they are where the bitrate varies."),
    ] = None,
    effort: Annotated[
        int,
        typer.Option(
            min=1, max=MAX_EFFORT, help=f"How hard to search for the best codes: 1 is fastest, {MAX_EFFORT} is best."
        ),
    ] = DEFAULT_EFFORT,
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse a file that is cut short, instead of a note.")
    ] = False,
    model: Model = None,
    device: Device = "auto",
    threads: Threads = None,
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Compress sound files.

    Reads WAV, FLAC, OGG, Opus, MP3 and more, of any sample rate and any number of channels. Without
    --bitrate, --stages or --quality a file takes 3 kbit/s.
    """
    check_one_of({"--bitrate": bitrate, "--stages": stages, "--quality": quality})
    use_threads(threads)
    from vqcodec import audio

    work = plan(source, target, ".vq", audio.find, force)
    total_s = _duration_s(work)
    from vqcodec import Codec, Rate
    from vqcodec.models import registry
    from vqcodec.rates.plan import plan_of

    codec = Codec.load(registry.DEFAULT if model is None else model, device)
    wish = Rate(_bps(bitrate), stages, quality, _bps(max_bitrate), rate_mode, packing)
    chosen = plan_of(codec.config, None, None, wish, varies=True)
    if chosen.target is None and bitrate is not None:
        choose_stages(codec, bitrate, None, quiet)

    def convert(file: Conversion, progress: Callable[[float], None]) -> FileResult:
        return codec.encode_file(
            file.source, file.target, rate=wish, effort=effort, strict=strict, force=force, progress=progress
        )

    run(work, convert, lambda result: result.bytes_out, total_s, quiet)


def _bps(kbps: float | None) -> float | None:
    return None if kbps is None else 1000 * kbps


def _duration_s(work: Conversions) -> float | None:
    """Seconds of audio of a single file, which must be readable, before a model is loaded for it."""
    if work.is_folder or not work.files[0].can_peek:
        return None
    from vqcodec import audio

    with audio.Reader(work.files[0].source) as reader:
        return reader.duration_s
