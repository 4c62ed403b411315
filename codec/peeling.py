"""Lower the bitrate of a `.vq` file by leaving out its last stages, whatever its coding. Needs no codec model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import numpy as np

from .bitstream import END_BYTES, HEADER_BYTES, PACKET_HEAD_BYTES, Header, Packet, Reader, Writer, check_peelable
from .errors import ConfigError
from .packets import read_packets
from .payloads import codings
from .payloads.codings import Codes
from .payloads.plain import ABSENT

if TYPE_CHECKING:
    from .payloads.context import ContextCoder

_SHARES = 64
"""Steps between no stages and all of them."""


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
    before, after = codings.of_header(old, coder, reader.name), codings.of_header(new, coder)
    writer = Writer(output, new)
    for codes in read_packets(reader, before):
        [payload] = after.encode([codes[:, :stages]])
        writer.write(Packet(codes.shape[-1], payload))
    assert reader.num_samples is not None
    writer.finish(reader.num_samples)
    return writer.header


def peel_to(reader: Reader, output: BinaryIO, bitrate_bps: float, coder: ContextCoder | None = None) -> Header:
    """Copy a file so that its bitrate, all counted, is no more than this.

    Every frame keeps the same share of its stages, so that frames that had more still have more.

    Args:
        reader: of the file, none of whose packets have been read; all of them are held in memory.
        output: written front to back.
        bitrate_bps: bits a second and channel.
        coder: as in `peel`.

    Returns:
        The new header.

    Raises:
        ConfigError: the file cannot be made so small, or its kind of codes needs all stages.
        CorruptFile, ModelMismatch: as in `peel`.
    """
    old = reader.header
    check_peelable(old, old.stages, reader.name)
    packets = list(read_packets(reader, codings.of_header(old, coder, reader.name)))
    assert reader.num_samples is not None
    allowed = bitrate_bps * old.channels * reader.num_samples / old.source_sample_rate / 8
    best = least = _peeled(packets, old, 1 if old.payload_coding == 0 else 0, coder)
    low, high = 0, _SHARES
    while low < high:
        middle = (low + high + 1) // 2
        tried = _peeled(packets, old, middle * old.stages / _SHARES, coder)
        low, high, best = (middle, high, tried) if tried.size <= allowed else (low, middle - 1, best)
    if least.size > allowed:
        raise ConfigError(f"{reader.name}: takes {least.size / allowed * bitrate_bps / 1000:.2f} kbit/s at least")
    writer = Writer(output, best.header)
    for packet in best.packets:
        writer.write(packet)
    writer.finish(reader.num_samples)
    return writer.header


class _Peeled(NamedTuple):
    header: Header
    packets: list[Packet]

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return HEADER_BYTES + END_BYTES + sum(PACKET_HEAD_BYTES + len(packet.payload) for packet in self.packets)


def _peeled(packets: Sequence[Codes], header: Header, stages: float, coder: ContextCoder | None) -> _Peeled:
    """Keep so many of the header's stages, and of every frame's as large a share, rounded."""
    if header.payload_coding == 0:
        whole = max(1, int(stages))
        new, kept = replace(header, stages=whole), [codes[:, :whole] for codes in packets]
    else:
        new, kept = header, [_with_share(codes, stages / header.stages) for codes in packets]
    payloads = codings.of_header(new, coder).encode(kept)
    return _Peeled(new, [Packet(codes.shape[-1], data) for codes, data in zip(kept, payloads, strict=True)])


def _with_share(codes: Codes, share: float) -> Codes:
    counts = np.floor(share * codings.counts_of(codes) + 0.5)
    return np.where(np.arange(codes.shape[1])[:, None] < counts[:, None], codes, ABSENT)
