"""`vqcodec peel`: a .vq file -> the same at a lower bitrate. Needs no codec model and no torch."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from vqcodec import bitstream
from vqcodec.files import STANDARD_STREAM, check_output, open_input, open_output

from .options import Force, PeeledBitrate, Quiet
from .terminal.messages import say

if TYPE_CHECKING:
    from vqcodec.payloads.context import ContextCoder


def peel(
    source: Annotated[str, typer.Argument(metavar="IN", help=".vq file, or - for standard input.")],
    target: Annotated[str, typer.Argument(metavar="OUT", help=".vq file to write, or - for standard output.")],
    stages: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Number of stages to keep, the first ones.")
    ] = None,
    bitrate: PeeledBitrate = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="PATH", help="Model file, if the codes were packed by a context model that does not ship."
        ),
    ] = None,
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Lower the bitrate of a .vq file without decoding it.

    Works with codes of which the first stages alone can be decoded: rvq, tree and hierarchical.
    """
    if (bitrate is None) == (stages is None):
        raise typer.BadParameter("choose either --stages or --bitrate")
    if target != STANDARD_STREAM:
        check_output(target, force)
    with open_input(source) as (file, name):
        data = io.BytesIO(file.read()) if bitrate is not None else file
        reader = bitstream.Reader(data, name)
        coder = _coder(model)
        if stages is None:
            assert bitrate is not None
            stages = _stages_within(reader, bitrate, coder)
            data.seek(0)
            reader = bitstream.Reader(data, name)
        with open_output(target, force) as output:
            header = _peel(reader, output, stages, coder)
    if not quiet:
        kbps = header.bitrate_bps * header.channels / 1000
        most = "up to " if header.payload_coding else ""
        say(f"{name} -> {target}: {stages} of {reader.header.stages} stages, {most}{kbps:g} kbit/s of codes")


def _peel(reader: bitstream.Reader, output: BinaryIO, stages: int, coder: ContextCoder | None) -> bitstream.Header:
    if reader.header.payload_coding == 0:
        return bitstream.peel(reader, output, stages)  # the quick way, without numpy
    from vqcodec.peeling import peel

    return peel(reader, output, stages, coder)


def _stages_within(reader: bitstream.Reader, kbps: float, coder: ContextCoder | None) -> int:
    from vqcodec.peeling import stages_within

    return stages_within(reader, 1000 * kbps, coder)


def _coder(model: str | None) -> ContextCoder | None:
    """The context model of a model file; None to take that of a model that ships."""
    if model is None:
        return None
    from vqcodec.models import registry
    from vqcodec.payloads.context import ContextCoder

    return ContextCoder.load(registry.find(model))
