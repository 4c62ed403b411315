"""`vqcodec peel`: a .vq file -> the same at a lower bitrate. Needs no codec model and no torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from vqcodec import bitstream
from vqcodec.files import open_input, open_output

from .conversion.outcomes import Outcome
from .conversion.places import VQ, Conversion, Plan, find_vq
from .options import Force, OutFolder, PeeledBitrate, Quiet, SkipExisting

if TYPE_CHECKING:
    from vqcodec.payloads.context import ContextCoder


def peel(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="IN OUT | IN... --out FOLDER",
            help="IN: .vq file, folder of them, or - for standard input. OUT: file, folder or - for standard output.",
        ),
    ],
    out: OutFolder = None,
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
    skip_existing: SkipExisting = False,
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Lower the bitrate of .vq files without decoding them.

    Works with codes of which the first stages alone can be decoded: rvq, tree and hierarchical.
    """
    if (bitrate is None) == (stages is None):
        raise typer.BadParameter("choose either --stages or --bitrate")
    if len(names) == 1 and out is None:
        raise typer.BadParameter("name a file to write as well, or a folder with --out")
    work = Plan(VQ, find_vq, force, skip_existing).files(names, out)
    coder = _coder(model)

    def convert(file: Conversion, progress: Callable[[float], None]) -> Outcome:
        with open_input(file.source) as (source, name):
            reader = bitstream.Reader(source, name)
            with open_output(file.target, force) as output:
                header = _peel(reader, output, stages, bitrate, coder)
                size = output.tell() if output.seekable() else 0
        duration_s = (reader.num_samples or 0) / reader.header.source_sample_rate
        return Outcome(duration_s, size, summary=_summary(header, reader.header, bitrate))

    from .conversion.run import run

    run(work, convert, quiet)


def _summary(header: bitstream.Header, before: bitstream.Header, kbps: float | None) -> str:
    """What became of a file."""
    if kbps is not None:
        return f"at most {kbps:g} kbit/s"
    most = "up to " if header.payload_coding else ""
    kept = f"{header.stages} of {before.stages} stages"
    return f"{kept}, {most}{header.bitrate_bps * header.channels / 1000:g} kbit/s of codes"


def _peel(
    reader: bitstream.Reader, output: BinaryIO, stages: int | None, kbps: float | None, coder: ContextCoder | None
) -> bitstream.Header:
    if stages is not None and reader.header.payload_coding == 0:
        return bitstream.peel(reader, output, stages)  # the quick way, without numpy
    from vqcodec import peeling

    if stages is not None:
        return peeling.peel(reader, output, stages, coder)
    assert kbps is not None
    return peeling.peel_to(reader, output, 1000 * kbps, coder)


def _coder(model: str | None) -> ContextCoder | None:
    """The context model of a model file; None to take that of a model that ships."""
    if model is None:
        return None
    from vqcodec.models import registry
    from vqcodec.payloads.context import ContextCoder

    return ContextCoder.load(registry.find(model))
