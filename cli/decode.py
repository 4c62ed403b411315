"""`vqcodec decode`: .vq files -> sound files."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from vqcodec.bitstream import HEADER_BYTES, Header
from vqcodec.errors import ModelMismatch, VqcodecError

from .conversion import Conversion, Conversions, plan, run
from .options import (
    Bitrate,
    Device,
    Force,
    Model,
    Precision,
    Quiet,
    Stages,
    Threads,
    check_one_of,
    choose_stages,
    use_threads,
)

if TYPE_CHECKING:
    from vqcodec import Codec
    from vqcodec.codec import FileResult

SUFFIX = ".vq"
"""Suffix of the files that are decoded in a folder."""


def _check_rate(value: str | None) -> str | None:
    if value is None or value == "source" or (value.isascii() and value.isdigit() and int(value) > 0):
        return value
    raise typer.BadParameter("a sample rate is a whole number of Hz, or the word source")


def decode(
    source: Annotated[str, typer.Argument(metavar="IN", help=".vq file, folder of them, or - for standard input.")],
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="OUT", help="File, folder or - for standard output; by default IN with the suffix .wav."
        ),
    ] = None,
    rate: Annotated[
        str | None,
        typer.Option(
            metavar="source|HZ",
            callback=_check_rate,
            help="Sample rate of the output: that of the original, or a number; by default the model's own.",
        ),
    ] = None,
    bitrate: Bitrate = None,
    stages: Stages = None,
    texture: Annotated[
        float,
        typer.Option(
            metavar="0..1",
            min=0.0,
            max=1.0,
            help="Share of the noise that the model draws the high frequencies with: 0 is closest to the waveform, and"
            " duller.",
        ),
    ] = 1.0,
    salvage: Annotated[
        bool, typer.Option("--salvage", help="Keep what comes before the damage in a damaged file.")
    ] = False,
    format: Annotated[
        str | None,
        typer.Option(metavar="wav|flac|...", help="Sound format; by default the suffix of OUT decides."),
    ] = None,
    model: Model = None,
    device: Device = "auto",
    precision: Precision = "auto",
    threads: Threads = None,
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Decompress .vq files.

    The model is the one that a file was encoded with. With --bitrate or --stages only a part of what is
    stored is used.
    """
    check_one_of({"--bitrate": bitrate, "--stages": stages})
    use_threads(threads)
    name = None if format is None else format.lower().removeprefix(".")
    work = plan(source, target, f".{name or 'wav'}", _find, force)
    total_s = _duration_s(work)
    codec_for = _codecs(model, device, precision)

    def convert(file: Conversion, progress: Callable[[float], None]) -> FileResult:
        codec = codec_for(file)
        stored = _header(file.source).stages if file.can_peek else None
        return codec.decode_file(
            file.source,
            file.target,
            sample_rate=_sample_rate(rate),
            stages=choose_stages(codec, bitrate, stages, quiet or work.is_folder, stored),
            texture=texture,
            salvage=salvage,
            force=force,
            format=name,
            progress=progress,
        )

    run(work, convert, lambda result: result.bytes_in, total_s, quiet)


def _find(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() == SUFFIX and path.is_file())


def _sample_rate(text: str | None) -> int | Literal["source"] | None:
    return None if text is None else "source" if text == "source" else int(text)


def _codecs(model: str | None, device: str, precision: str) -> Callable[[Conversion], Codec]:
    """Return a function from a file to the codec for it; each model is loaded once."""
    from vqcodec import Codec
    from vqcodec.models import registry

    load = functools.cache(lambda name: Codec.load(name, device, precision))

    def codec_for(file: Conversion) -> Codec:
        if model is not None or not file.can_peek:
            return load(registry.DEFAULT if model is None else model)
        fingerprint = _header(file.source).fingerprint
        shipped = registry.by_fingerprint(fingerprint)
        if shipped is None:
            needed = registry.whereabouts(fingerprint)
            raise ModelMismatch(f"{file.source}: give the weights that it needs with --model PATH: {needed}")
        return load(str(shipped.path))

    return codec_for


def _header(source: str) -> Header:
    try:
        with open(source, "rb") as file:
            return Header.from_bytes(file.read(HEADER_BYTES), source)
    except OSError as failure:
        raise VqcodecError(f"cannot read {source}: {failure.strerror}") from failure


def _duration_s(work: Conversions) -> float | None:
    """Seconds of audio of a single file, which must be a .vq file, before a model is loaded for it."""
    if work.is_folder or not work.files[0].can_peek:
        return None
    header = _header(work.files[0].source)
    return None if header.num_samples is None else header.num_samples / header.source_sample_rate
