"""Lower the bitrate of a `.vq` file by leaving out its last stages, whatever its coding. Needs no codec model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, BinaryIO

from .bitstream import END_BYTES, HEADER_BYTES, PACKET_HEAD_BYTES, Header, Packet, Reader, Writer, check_peelable
from .encoded import read_packets
from .errors import ConfigError
from .payloads import codings
from .payloads.codings import Codes

if TYPE_CHECKING:
    from .payloads.context import ContextCoder


def peel(reader: Reader, output: BinaryIO, stages: int, coder: ContextCoder | None = None) -> Header:
    """Copy a file with only the first stages of its frames, packet by packet.

    Args:
        reader: of the file, none of whose packets have been read.
        output: written front to back.
        stages: to keep; frames that have fewer stay as they are.
        coder: the context model, if the file is context-coded; by default that of the model that ships.

    Returns:
        The new header.

    Raises:
        ConfigError: the file has fewer stages, or its kind of codes needs them all.
        CorruptFile: it is damaged; whatever was written by then is not a whole file.
        ModelMismatch: it is context-coded by a model that is not at hand.
    """
    check_peelable(reader.header, stages, reader.name)
    old, new = reader.header, replace(reader.header, stages=stages)
    before, after = codings.of_header(old, coder), codings.of_header(new, coder)
    writer = Writer(output, new)
    for codes in read_packets(reader, before):
        [payload] = after.encode([codes[:, :stages]])
        writer.write(Packet(codes.shape[-1], payload))
    assert reader.num_samples is not None
    writer.finish(reader.num_samples)
    return writer.header


def stages_within(reader: Reader, bitrate_bps: float, coder: ContextCoder | None = None) -> int:
    """Find how many stages a file may keep for its bitrate, all counted, to be no more than this.

    Args:
        reader: of the file, which is read to its end.
        bitrate_bps: bits a second and channel.
        coder: as in `peel`.

    Raises:
        ConfigError: even one stage takes more, or the kind of codes needs all stages.
        CorruptFile, ModelMismatch: as in `peel`.
    """
    header = reader.header
    check_peelable(header, header.stages, reader.name)
    packets = list(read_packets(reader, codings.of_header(header, coder)))
    assert reader.num_samples is not None
    allowed = bitrate_bps * header.channels * reader.num_samples / header.source_sample_rate / 8
    low, high = 0, header.stages  # `low` fits, or is 0; all above `high` do not
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if _size(packets, header, middle, coder) <= allowed else (low, middle - 1)
    if low == 0:
        least = _size(packets, header, 1, coder) / allowed * bitrate_bps / 1000
        raise ConfigError(f"{reader.name}: one stage alone takes {least:.2f} kbit/s")
    return low


def _size(packets: Sequence[Codes], header: Header, stages: int, coder: ContextCoder | None) -> int:
    """Bytes of the file with so many stages."""
    coding = codings.of_header(replace(header, stages=stages), coder)
    payloads = coding.encode([codes[:, :stages] for codes in packets])
    return HEADER_BYTES + END_BYTES + sum(PACKET_HEAD_BYTES + len(payload) for payload in payloads)
