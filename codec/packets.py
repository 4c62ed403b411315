"""Codes of frames <-> packets: which frames a packet holds. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import bitstream
from .errors import CorruptFile, ModelMismatch
from .payloads.codings import Coding

PACKET_S = 5.0
"""Seconds of audio in each packet, except for the last packet."""


def packet_frames(header: bitstream.Header) -> int:
    """Frames of each packet of a file but the last: `PACKET_S`, as far as a packet holds them."""
    return min(max(1, round(PACKET_S * header.frame_rate)), bitstream.max_frames(header) // 2)


def spare_frames(header: bitstream.Header) -> int:
    """Frames that may be added to the last packet, to save the head of a packet of so few; none with plain packing."""
    return packet_frames(header) // 2 if header.payload_coding else 0


def read_packets(reader: bitstream.Reader, coding: Coding) -> Iterator[NDArray[np.int64]]:
    """Read the codes [channel, stage, frame] of each packet, some packets at a time.

    Raises:
        CorruptFile: the file is damaged; with `salvage` damage ends the iteration and stays in `reader.damage`.
        ModelMismatch: it is context-coded by another model.
    """
    try:
        yield from decode_packets(reader, coding)
    except (CorruptFile, ModelMismatch) as error:
        if error is reader.damage:
            raise
        raise type(error)(f"{reader.name}: before byte {reader.offset}: {error}") from error


def decode_packets(packets: Iterable[bitstream.Packet], coding: Coding) -> Iterator[NDArray[np.int64]]:
    """Decode the codes [channel, stage, frame] of each packet, some packets at a time.

    Raises:
        CorruptFile: a payload is impossible.
    """
    for some in _together(packets, coding.frames_at_once):
        yield from coding.decode([packet.payload for packet in some], [packet.frames for packet in some])


def _together(packets: Iterable[bitstream.Packet], frames: int) -> Iterator[list[bitstream.Packet]]:
    """Take packets of so many frames together, or a few more."""
    some: list[bitstream.Packet] = []
    for packet in packets:
        some.append(packet)
        if sum(packet.frames for packet in some) >= frames:
            yield some
            some = []
    if some:
        yield some


def regrouped(parts: Iterable[NDArray[Any]], header: bitstream.Header) -> Iterator[NDArray[Any]]:
    """Regroup codes [channel, stage, frame] into those of packets."""
    size, spare = packet_frames(header), spare_frames(header)
    held: list[NDArray[Any]] = []
    for part in parts:
        held.append(part)
        if (ready := sum(codes.shape[-1] for codes in held) - spare) >= size:
            whole = np.concatenate(held, axis=-1)
            full = ready // size * size
            yield from np.split(whole[..., :full], full // size, axis=-1)
            held = [whole[..., full:].copy()]
    if held and (rest := np.concatenate(held, axis=-1)).shape[-1]:
        yield rest
