"""What is in a `.vq` file, by its header and packets. Needs neither numpy nor torch."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO

from .bitstream import Header, Packet, Reader
from .errors import CorruptFile


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The content of a file, as `inspect` returns it. Damaged files count up to the damage."""

    header: Header
    packets: int
    """Packets that are whole, the end packet not counted."""
    frames: int
    num_samples: int | None
    """Samples per channel at the source rate; None if the end packet was not reached."""
    bytes: int
    """Length of the header and the whole packets, the end packet included."""
    duration_s: float
    bitrate_bps: float
    """Bits per second really spent: `bytes` x 8 / `duration_s`, all channels together; 0 without audio."""
    damage: CorruptFile | None


def inspect(file: BinaryIO, name: str = "<stream>") -> Summary:
    """Read a file to its end, check everything that needs no model, and say what is in it.

    Memory is bounded by one packet. Damage after the header is reported in the summary; a damaged
    or foreign header raises what `Reader` raises.
    """
    reader = Reader(file, name)
    for _ in until_damage(reader):
        pass
    return summary_of(reader)


def until_damage(reader: Reader) -> Iterator[Packet]:
    """Iterate over the packets of a file; damage ends them, and stays in `reader.damage`."""
    with suppress(CorruptFile):
        yield from reader


def summary_of(reader: Reader) -> Summary:
    """Say what was in a file that has been read to its end, or to where it is damaged."""
    duration_s = reader.duration_s
    if reader.num_samples is not None:
        duration_s = reader.num_samples / reader.header.source_sample_rate
    return Summary(
        header=reader.header,
        packets=reader.packets,
        frames=reader.frames,
        num_samples=reader.num_samples,
        bytes=reader.offset,
        duration_s=duration_s,
        bitrate_bps=reader.offset * 8 / duration_s if duration_s else 0.0,
        damage=reader.damage,
    )
