"""`vqcodec decode`: .vq files -> sound files."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from vqcodec.bitstream import HEADER_BYTES, Header
from vqcodec.errors import ModelMismatch, VqcodecError

from .conversion.outcomes import Outcome
from .conversion.places import Conversion, Conversions, Plan, find_vq
from .options import (
    Bitrate,
    Device,
    Force,
    Jobs,
    Model,
    OutFolder,
    Precision,
    Quiet,
    SkipExisting,
    Stages,
    Threads,
    check_one_of,
    choose_stages,
    jobs_on,
    use_threads,
)
from .terminal.messages import note

if TYPE_CHECKING:
    from vqcodec import Codec

    from .conversion.crew import Convert


@dataclass(frozen=True)
class Decoding:
    """What is done with each file, and the settings for all of them."""

    model: str | None
    device: str
    precision: str
    rate: str | None = None
    bitrate: float | None = None
    stages: int | None = None
    texture: float = 1.0
    salvage: bool = False
    format: str | None = None
    force: bool = False
    quiet: bool = False
    """Say nothing where the nearest possible bitrate is another one."""

    def open(self) -> Convert:
        """Make the function that decodes a file; each model is loaded once, when a file needs it."""
        codec_for = codecs(self.model, self.device, self.precision)

        def convert(file: Conversion, progress: Callable[[float], None]) -> Outcome:
            codec = codec_for(file.source)
            settings = self.settings(codec, file.source)
            result = codec.decode_file(
                file.source, file.target, **settings, force=self.force, format=self.format, progress=progress
            )
            return Outcome(result.duration_s, result.bytes_in, result.damage)

        return convert

    def settings(self, codec: Codec, source: str) -> dict[str, Any]:
        """How one file is decoded, as keyword arguments of `Codec.open_file` and `Codec.decode_file`."""
        stored = _header(source).stages if os.path.isfile(source) else None
        return {
            "sample_rate": self.rate if self.rate is None or self.rate == "source" else int(self.rate),
            "stages": choose_stages(codec, self.bitrate, self.stages, self.quiet, stored),
            "texture": self.texture,
            "salvage": self.salvage,
        }


def _check_rate(value: str | None) -> str | None:
    if value is None or value == "source" or (value.isascii() and value.isdigit() and int(value) > 0):
        return value
    raise typer.BadParameter("a sample rate is a whole number of Hz, or the word source")


SampleRate: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--rate",
        metavar="source|HZ",
        callback=_check_rate,
        help="Sample rate of the output: that of the original, or a number; by default the model's own.",
    ),
]
Texture: TypeAlias = Annotated[
    float,
    typer.Option(
        metavar="0..1",
        min=0.0,
        max=1.0,
        help="Share of the noise that the model draws the high frequencies with: 0 is closest to the waveform, and"
        " duller.",
    ),
]
Salvage: TypeAlias = Annotated[
    bool, typer.Option("--salvage", help="Keep what comes before the damage in a damaged file.")
]


def decode(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="IN [OUT] | IN... --out FOLDER",
            help="IN: .vq file, folder of them, or - for standard input. OUT: file, folder or - for standard output; by"
            " default IN with the suffix .wav.",
        ),
    ],
    out: OutFolder = None,
    rate: SampleRate = None,
    bitrate: Bitrate = None,
    stages: Stages = None,
    texture: Texture = 1.0,
    salvage: Salvage = False,
    format: Annotated[
        str | None,
        typer.Option(metavar="wav|flac|...", help="Sound format; by default the suffix of OUT decides."),
    ] = None,
    play: Annotated[
        bool, typer.Option("--play", help="Play the sounds instead of writing files; all names are inputs.")
    ] = False,
    model: Model = None,
    device: Device = "auto",
    precision: Precision = "auto",
    threads: Threads = None,
    jobs: Jobs = None,
    skip_existing: SkipExisting = False,
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
    task = Decoding(model, device, precision, rate, bitrate, stages, texture, salvage, name, force, quiet)
    if play:
        _check_only_play({"--out": out, "--format": format, "--jobs": jobs, "--skip-existing": skip_existing or None})
        play_files(task, names)
        return
    work = Plan(f".{name or 'wav'}", find_vq, force, skip_existing).files(names, out)
    total_s = _duration_s(work)
    if not work.many:
        from vqcodec import audio

        audio.format_of(work.files[0].target, name, work.files[0].target)
    else:
        task = replace(task, quiet=True)
    from .conversion.run import run

    run(work, task.open(), quiet, total_s, task, jobs_on(device, jobs) if work.many else 1)


def play_files(task: Decoding, names: Sequence[str]) -> None:
    """Decode files and play them, one after the other."""
    from vqcodec.audio.player import play

    codec_for = codecs(task.model, task.device, task.precision)
    for name in names:
        if not name:
            raise typer.BadParameter("the name of a file is empty")
        codec = codec_for(name)
        with codec.open_file(name, **task.settings(codec, name)) as sound:
            play(sound.blocks, sound.sample_rate, sound.channels)
        if sound.damage is not None:
            note(f"{name} is damaged; it was played up to there ({sound.damage})")


def codecs(model: str | None, device: str, precision: str) -> Callable[[str], Codec]:
    """Return a function from the name of a file to the codec for it; each model is loaded once."""
    from vqcodec import Codec
    from vqcodec.models import registry

    load = functools.cache(lambda name: Codec.load(name, device, precision))

    def codec_for(source: str) -> Codec:
        if model is not None or not os.path.isfile(source):
            return load(registry.DEFAULT if model is None else model)
        fingerprint = _header(source).fingerprint
        shipped = registry.by_fingerprint(fingerprint)
        if shipped is None:
            needed = registry.whereabouts(fingerprint)
            raise ModelMismatch(f"{source}: give the weights that it needs with --model PATH: {needed}")
        return load(str(shipped.path))

    return codec_for


def _check_only_play(options: Mapping[str, object]) -> None:
    """Refuse options about files that are not written."""
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise typer.BadParameter(f"with --play nothing is written; leave out {', '.join(given)}")


def _header(source: str) -> Header:
    try:
        with open(source, "rb") as file:
            return Header.from_bytes(file.read(HEADER_BYTES), source)
    except OSError as failure:
        raise VqcodecError(f"cannot read {source}: {failure.strerror}") from failure


def _duration_s(work: Conversions) -> float | None:
    """Seconds of audio of a single file, which must be a .vq file, before a model is loaded for it."""
    if work.many or not work.files[0].can_peek:
        return None
    header = _header(work.files[0].source)
    return None if header.num_samples is None else header.num_samples / header.source_sample_rate
