"""`vqcodec peel`: a .vq file -> the same at a lower bitrate. Needs no model and no torch."""

from __future__ import annotations

from typing import Annotated

import typer

from vqcodec import bitstream
from vqcodec.files import STANDARD_STREAM, check_output, open_input, open_output

from .options import Force, Quiet
from .terminal.messages import say


def peel(
    source: Annotated[str, typer.Argument(metavar="IN", help=".vq file, or - for standard input.")],
    target: Annotated[str, typer.Argument(metavar="OUT", help=".vq file to write, or - for standard output.")],
    stages: Annotated[int, typer.Option(metavar="N", min=1, help="Number of stages to keep, the first ones.")],
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Lower the bitrate of a .vq file without decoding it.

    Works with codes of which the first stages alone can be decoded: rvq, tree and hierarchical.
    """
    if target != STANDARD_STREAM:
        check_output(target, force)
    with open_input(source) as (file, name):
        reader = bitstream.Reader(file, name)
        with open_output(target, force) as output:
            header = bitstream.peel(reader, output, stages)
    if not quiet:
        kbps = header.bitrate_bps * header.channels / 1000
        say(f"{name} -> {target}: {stages} of {reader.header.stages} stages, {kbps:g} kbit/s of codes")
