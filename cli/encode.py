"""`vqcodec encode`: sound files -> .vq files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from vqcodec.models.config import DEFAULT_EFFORT
from vqcodec.rates.target import Packing, RateMode

from .conversion.outcomes import Outcome
from .conversion.places import VQ, Conversion, Conversions, Plan
from .options import (
    Device,
    Effort,
    Force,
    Jobs,
    MaxBitrate,
    MeanBitrate,
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
from .terminal.messages import on_terminal

if TYPE_CHECKING:
    from vqcodec import Codec, Rate

    from .conversion.crew import Convert


@dataclass(frozen=True)
class Encoding:
    """What is done with each file, and the settings for all of them."""

    model: str | None
    device: str
    precision: str
    rate: Rate
    effort: int
    strict: bool
    force: bool

    def codec(self) -> Codec:
        """Load the model."""
        from vqcodec import Codec
        from vqcodec.models import registry

        return Codec.load(registry.DEFAULT if self.model is None else self.model, self.device, self.precision)

    def open(self) -> Convert:
        """Load what all files need."""
        return self.with_codec(self.codec())

    def with_codec(self, codec: Codec) -> Convert:
        """The function that encodes a file."""

        def convert(file: Conversion, progress: Callable[[float], None]) -> Outcome:
            result = codec.encode_file(
                file.source,
                file.target,
                rate=self.rate,
                effort=self.effort,
                strict=self.strict,
                force=self.force,
                progress=progress,
            )
            return Outcome(result.duration_s, result.bytes_out, result.damage)

        return convert


def encode(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="IN [OUT] | IN... --out FOLDER",
            help="IN: sound file, folder of them, or - for standard input. OUT: file, folder or - for standard output;"
            " by default IN with the suffix .vq.",
        ),
    ],
    out: OutFolder = None,
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
    effort: Effort = DEFAULT_EFFORT,
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse a file that is cut short, instead of a note.")
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
    """Compress sound files.

    Reads WAV, FLAC, OGG, Opus, MP3 and more, of any sample rate and any number of channels. Without
    --bitrate, --stages or --quality a file takes 3 kbit/s.
    """
    check_one_of({"--bitrate": bitrate, "--stages": stages, "--quality": quality})
    use_threads(threads)
    from vqcodec import audio

    work = Plan(VQ, audio.find, force, skip_existing).files(names, out)
    total_s = _duration_s(work, quiet)
    from vqcodec import Rate
    from vqcodec.rates.plan import plan_of

    from .conversion.run import run

    rate = Rate(_bps(bitrate), stages, quality, _bps(max_bitrate), rate_mode, packing)
    task = Encoding(model, device, precision, rate, effort, strict, force)
    codec = task.codec()
    chosen = plan_of(codec.config, None, None, task.rate, varies=True)
    if chosen.target is None and bitrate is not None:
        choose_stages(codec, bitrate, None, quiet)
    run(work, task.with_codec(codec), quiet, total_s, task, jobs_on(device, jobs) if work.many else 1)


def _bps(kbps: float | None) -> float | None:
    return None if kbps is None else 1000 * kbps


def _duration_s(work: Conversions, quiet: bool) -> float | None:
    """Seconds of audio of a single file for the bar; it must be readable, before a model is loaded for it."""
    if work.many or not work.files[0].can_peek:
        return None
    from vqcodec import audio

    with audio.Reader(work.files[0].source) as reader:
        return None if quiet or not on_terminal() else reader.duration_s
