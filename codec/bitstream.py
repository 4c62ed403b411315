"""The `.vq` file: header and packets <-> bytes. docs/FORMAT.md says the same at more length.

A file is one header, any number of packets and one end packet; nothing follows. All numbers are
little-endian and unsigned.

    header, 32 bytes
     0  3  magic "VQC"
     3  1  major version (1; another one is refused)
     4  1  minor version (0; any other is accepted)
     5  1  low 4 bits: payload coding (0 = plain packing, see payloads/plain.py); high 4 bits: kind of codes (see KINDS)
     6  1  channels, 1..255
     7  1  stages, 1..255
     8  1  bits per code, 1..16
     9  2  hop length in samples at the codec rate, >= 1
    11  8  fingerprint of the decoder-side weights
    19  3  codec sample rate in Hz, >= 1
    22  3  source sample rate in Hz, 1000..768000
    25  5  samples per channel at the source rate; all ones = unknown, see the end packet
    30  2  CRC-16 of bytes 0..29

    packet, 10 bytes + payload
     0  2  frames, 1..65535
     2  4  payload length in bytes
     6  4  CRC-32 of bytes 0..5 and the payload
    10  .  payload: the codes of these frames, all channels

    end packet, 15 bytes: a packet of 0 frames
    10  5  samples per channel at the source rate

The end packet is always there, so that a file cut at a packet boundary is known to be cut.
This module never seeks while reading, needs neither numpy nor torch, and never allocates much more
than the file really holds, whatever its lengths claim.
"""

import os
import struct
import sys
import zlib
from dataclasses import dataclass, replace
from typing import BinaryIO

from vqcodec.models import kinds

from .errors import ConfigError, CorruptFile, UnsupportedVersion
from .header import HEADER_BYTES, KINDS, MAGIC, MAJOR, MAX_SAMPLES, SAMPLES_BYTES, Header, check_num_samples, little

__all__ = [
    "END_BYTES",
    "HEADER_BYTES",
    "KINDS",
    "MAGIC",
    "MAJOR",
    "MAX_CODES",
    "MAX_FRAMES",
    "MAX_SAMPLES",
    "PACKET_HEAD_BYTES",
    "PEELABLE",
    "Cut",
    "Header",
    "Packet",
    "Reader",
    "Writer",
    "check_peelable",
    "first_bits",
    "max_frames",
    "peel",
]

PACKET_HEAD_BYTES = 10
END_BYTES = PACKET_HEAD_BYTES + SAMPLES_BYTES
MAX_FRAMES = 0xFFFF
MAX_CODES = 1 << 21
"""Codes of a packet whose payload may be short, however many there are: with the payload codings 1 and 2."""

PEELABLE = frozenset(kind.name for kind in kinds.KINDS.values() if kind.has_prefixes)
"""Kinds of codes of which the first stages alone can be decoded."""

_PLAIN = 0
_COMPRESSED = (1, 2)
_CHUNK_BYTES = 1 << 16

_PACKET_HEAD = struct.Struct("<HII")
_PACKET_HEAD_CHECKED = struct.Struct("<HI")


@dataclass(frozen=True)
class Packet:
    """Some consecutive frames of all channels: 1 to 65535 of them, and their codes as bytes."""

    frames: int
    payload: bytes


@dataclass(frozen=True)
class Cut:
    """The packet within which a file ends: its frames, what there is of its payload, and the length it should have."""

    frames: int
    payload: bytes
    length: int


class Writer:
    """Writes a `.vq` file: the header at once, then packets, then (by `finish`) the end packet.

    The file need not be seekable. If it is, and the header does not know the number of samples,
    `finish` puts the number into the header as well.
    """

    def __init__(self, file: BinaryIO, header: Header) -> None:
        self.header = header
        self._file = file
        self._start = file.tell() if _can_patch(file) else None
        self._bytes_written = 0
        self._finished = False
        self._write(header.to_bytes())

    @property
    def bytes_written(self) -> int:
        """Length of the file so far."""
        return self._bytes_written

    def write(self, packet: Packet) -> None:
        """Append a packet. Raises ValueError if it does not fit the header, or after `finish`."""
        most = max_frames(self.header)
        if not 1 <= packet.frames <= most:
            raise ValueError(f"a packet holds 1 to {most} frames, not {packet.frames}")
        if not _length_fits(self.header, packet.frames, len(packet.payload)):
            raise ValueError(f"{len(packet.payload)} bytes cannot be the payload of {packet.frames} frames")
        self._write(_packet_bytes(packet.frames, packet.payload))

    def finish(self, num_samples: int) -> None:
        """Write the end packet. `num_samples`: samples per channel at the source rate.

        Raises ValueError if the header says another number, or when called twice.
        """
        check_num_samples(num_samples)
        if self.header.num_samples not in (None, num_samples):
            raise ValueError(f"the header says {self.header.num_samples} samples, not {num_samples}")
        self._write(_packet_bytes(0, little(num_samples, SAMPLES_BYTES)))
        self._finished = True
        if self.header.num_samples is None and self._start is not None:
            self._patch(replace(self.header, num_samples=num_samples), self._start)

    def _patch(self, header: Header, start: int) -> None:
        end = self._file.tell()
        self._file.seek(start)
        _write_all(self._file, header.to_bytes())
        self._file.seek(end)
        self.header = header

    def _write(self, data: bytes) -> None:
        if self._finished:
            raise ValueError("the file is finished already")
        _write_all(self._file, data)
        self._bytes_written += len(data)


class Reader:
    """Reads a `.vq` file front to back, from a pipe as well; iterating gives its packets.

    Constructing it reads the header and raises NotVqcodecFile, UnsupportedVersion or CorruptFile.
    Iterating raises CorruptFile at the first damage, or with `salvage` ends there. Every packet it
    gives has passed its checksum.

    - `header`: the header.
    - `num_samples`: samples per channel at the source rate; None until a valid end packet was read.
    - `packets`, `frames`: how many were given so far.
    - `offset`: length in bytes of the header and the whole packets so far.
    - `damage`: the error that ended the iteration, or None.
    - `cut`: the packet within which the file ends, if it does; no checksum says whether it is sound.
    """

    def __init__(self, file: BinaryIO, name: str = "<stream>", *, salvage: bool = False) -> None:
        self.name = name
        self.header = Header.from_bytes(_read_up_to(file, HEADER_BYTES), name)
        self.num_samples: int | None = None
        self.packets = 0
        self.frames = 0
        self.offset = HEADER_BYTES
        self.damage: CorruptFile | None = None
        self.cut: Cut | None = None
        self._file = file
        self._salvage = salvage
        self._ended = False

    @property
    def duration_s(self) -> float:
        """Seconds of audio in the frames given so far."""
        return self.frames * self.header.hop_length / self.header.sample_rate

    def __iter__(self) -> "Reader":
        return self

    def __next__(self) -> Packet:
        if self.damage is None and not self._ended:
            try:
                packet = self._read_packet()
            except CorruptFile as error:
                self.damage = error
            else:
                if packet is not None:
                    return packet
                self._ended = True
        if self.damage is not None and not self._salvage:
            raise self.damage
        raise StopIteration

    def _read_packet(self) -> Packet | None:
        """The next packet, or None after the end packet."""
        head = _read_up_to(self._file, PACKET_HEAD_BYTES)
        if len(head) < PACKET_HEAD_BYTES:
            raise self._damaged("cut short", self.offset + len(head))
        frames, length, crc = _PACKET_HEAD.unpack(head)
        if not _length_fits(self.header, frames, length):
            raise self._damaged(f"impossible packet ({frames} frames in {length} bytes)")
        payload = _read_up_to(self._file, length)
        if len(payload) < length:
            self.cut = Cut(frames, payload, length) if frames else None
            raise self._damaged("cut short", self.offset + PACKET_HEAD_BYTES + len(payload))
        if crc != _crc32(frames, payload):
            raise self._damaged("damaged packet (wrong checksum)")
        if frames == 0:
            self._end(int.from_bytes(payload, "little"))
            return None
        self.packets += 1
        self.frames += frames
        self.offset += PACKET_HEAD_BYTES + length
        return Packet(frames, payload)

    def _end(self, num_samples: int) -> None:
        header = self.header
        if num_samples > MAX_SAMPLES:
            raise self._damaged(f"end packet of {num_samples} samples, more than a file can have,")
        if header.num_samples not in (None, num_samples):
            raise self._damaged(f"end packet of {num_samples} samples instead of {header.num_samples}")
        if header.codec_samples(num_samples) > self.frames * header.hop_length:
            raise self._damaged(f"packets missing before the end packet of {num_samples} samples")
        self.num_samples = num_samples
        self.offset += PACKET_HEAD_BYTES + SAMPLES_BYTES
        if self._file.read(1):
            raise self._damaged("stray data after the end packet")

    def _damaged(self, what: str, offset: int | None = None) -> CorruptFile:
        where = f"{self.name}: {what} at byte {self.offset if offset is None else offset}"
        if self.packets == 0:
            begun = (
                "; decode with --salvage to keep what there is of the first" if self.cut and not self._salvage else ""
            )
            return CorruptFile(f"{where}: no whole packet is there{begun}")
        noun, verb, pronoun = ("packet", "is", "it") if self.packets == 1 else ("packets", "are", "them")
        there = f"{self.packets} whole {noun}, {self.duration_s:.1f} s of audio, {verb} there"
        hint = "" if self._salvage else f"; decode with --salvage to keep {pronoun}"
        return CorruptFile(f"{where}: {there}{hint}")


def peel(reader: Reader, writer_file: BinaryIO, stages: int) -> Header:
    """Copy a file with only its first `stages` stages; needs no model. Returns the new header.

    Raises ConfigError if the file has fewer stages or its kind of codes needs them all,
    UnsupportedVersion if its payloads are not packed plainly, CorruptFile if it is damaged (whatever
    was written by then is not a whole file).
    """
    old = reader.header
    check_peelable(old, stages, reader.name)
    if old.payload_coding != _PLAIN:
        raise UnsupportedVersion(
            f"{reader.name}: payload coding {old.payload_coding} is not plain packing; use `peeling.peel`"
        )
    writer = Writer(writer_file, replace(old, stages=stages))
    for packet in reader:
        kept_bits = packet.frames * writer.header.frame_bits
        writer.write(Packet(packet.frames, first_bits(packet.payload, kept_bits)))
    if reader.damage is not None:
        raise reader.damage
    assert reader.num_samples is not None
    writer.finish(reader.num_samples)
    return writer.header


def check_peelable(header: Header, kept: int, name: str) -> None:
    """Raise ConfigError unless the first `kept` stages of such a file can be decoded alone."""
    if not 1 <= kept <= header.stages:
        raise ConfigError(f"{name}: can keep 1 to {header.stages} stages, not {kept}")
    if kept < header.stages and header.kind not in PEELABLE:
        raise ConfigError(
            f"{name}: {kept} of {header.stages} stages cannot be kept: {header.kind} codes stand side by side,"
            " none can be left out; encode it anew with a model of fewer stages"
        )


def first_bits(payload: bytes, bits: int) -> bytes:
    """The first `bits` bits, padded with zeros to whole bytes."""
    kept = bytearray(payload[: (bits + 7) // 8])
    if bits % 8:
        kept[-1] &= 0xFF << (8 - bits % 8) & 0xFF
    return bytes(kept)


def max_frames(header: Header) -> int:
    """Count the frames that a packet of such a file may hold."""
    if header.payload_coding in _COMPRESSED:
        return min(MAX_FRAMES, MAX_CODES // (header.channels * header.stages))
    return MAX_FRAMES


def _length_fits(header: Header, frames: int, length: int) -> bool:
    """Tell whether there may be a packet of so many frames, in so many payload bytes."""
    if frames == 0:
        return length == SAMPLES_BYTES
    if frames > max_frames(header):
        return False
    plain = header.payload_bytes(frames)
    if header.payload_coding == _PLAIN:
        return length == plain and length <= 0xFFFFFFFF
    return length <= min(2 * plain + 64, 0xFFFFFFFF)


def _packet_bytes(frames: int, payload: bytes) -> bytes:
    return _PACKET_HEAD.pack(frames, len(payload), _crc32(frames, payload)) + payload


def _crc32(frames: int, payload: bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(_PACKET_HEAD_CHECKED.pack(frames, len(payload))))


def _read_up_to(file: BinaryIO, count: int) -> bytes:
    """Read `count` bytes, fewer only at the end; a pipe may give them in pieces.

    In chunks, so that a length that lies allocates no more than there is to read.
    """
    data = bytearray()
    while len(data) < count:
        chunk = file.read(min(count - len(data), _CHUNK_BYTES))
        if not chunk:
            break
        data += chunk
    return bytes(data)


def _write_all(file: BinaryIO, data: bytes) -> None:
    """Write everything; an unbuffered file may take it in pieces."""
    rest = memoryview(data)
    while rest:
        written = file.write(rest)
        if not written:
            raise OSError("the output takes no more data")
        rest = rest[written:]


def _can_patch(file: BinaryIO) -> bool:
    """Tell whether bytes already written can be replaced: not in a pipe, nor where writing always appends."""
    if not file.seekable():
        return False
    if sys.platform == "win32":
        return True
    try:
        descriptor = file.fileno()
    except OSError:  # in memory
        return True
    import fcntl

    return not fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_APPEND
