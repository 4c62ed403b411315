"""`vqcodec play`: .vq files -> the loudspeaker."""

from __future__ import annotations

from typing import Annotated

import typer

from .decode import Decoding, Salvage, SampleRate, Texture, play_files
from .options import Bitrate, Device, Model, Precision, Quiet, Stages, Threads, check_one_of, use_threads


def play(
    names: Annotated[list[str], typer.Argument(metavar="IN...", help=".vq files, or - for standard input.")],
    rate: SampleRate = None,
    bitrate: Bitrate = None,
    stages: Stages = None,
    texture: Texture = 1.0,
    salvage: Salvage = False,
    model: Model = None,
    device: Device = "auto",
    precision: Precision = "auto",
    threads: Threads = None,
    quiet: Quiet = False,
) -> None:
    """Play .vq files.

    Needs sounddevice: pip install 'vqcodec[play]'. The files are decoded while they play, and nothing is written.
    """
    check_one_of({"--bitrate": bitrate, "--stages": stages})
    use_threads(threads)
    play_files(Decoding(model, device, precision, rate, bitrate, stages, texture, salvage, quiet=quiet), names)
