"""The header of a `.vq` file: 32 bytes <-> the facts in them. Their table is in bitstream.py.

Needs neither numpy nor torch.
"""

import binascii
import struct
from dataclasses import dataclass

from vqcodec.models import kinds

from .errors import CorruptFile, NotVqcodecFile, UnsupportedVersion

MAGIC = b"VQC"
MAJOR = 1
HEADER_BYTES = 32
MAX_SAMPLES = (1 << 40) - 2
SAMPLES_BYTES = 5

KINDS = {kind.number: kind.name for kind in kinds.KINDS.values() if kind.number is not None}
"""The kinds of codes, by their number in the header."""

SOURCE_RATES = range(1_000, 768_001)
"""Rates in Hz of the sounds that can be encoded. Beyond lie damaged headers, at an immense cost of memory."""

MAX_SAMPLES_PER_S = 1 << 24
"""The most that channels and source rate may make together."""

_UNKNOWN_SAMPLES = (1 << 40) - 1

_HEADER_START = struct.Struct("<3sBBBBBBH8s")  # bytes 0..18; u24 and u40 are beyond struct

_KIND_NUMBERS = {kind: number for number, kind in KINDS.items()}

_RANGES = {
    "payload_coding": (0, 0x0F),
    "channels": (1, 0xFF),
    "stages": (1, 0xFF),
    "bits_per_code": (1, 16),
    "hop_length": (1, 0xFFFF),
    "sample_rate": (1, 0xFFFFFF),
    "source_sample_rate": (SOURCE_RATES[0], SOURCE_RATES[-1]),
}


@dataclass(frozen=True, kw_only=True)
class Header:
    """The facts of a file, as its first 32 bytes say them. Raises ValueError for values that the format cannot hold."""

    fingerprint: bytes
    """8 bytes that name the decoder-side weights."""
    sample_rate: int
    """Rate of the codec, in Hz."""
    source_sample_rate: int
    """Rate of the sound that was encoded, in Hz."""
    channels: int
    num_samples: int | None
    """Samples per channel at the source rate; None while unknown (a live stream)."""
    hop_length: int
    """Samples per frame, at the codec rate."""
    stages: int
    bits_per_code: int
    payload_coding: int = 0
    kind: str = "rvq"
    """Kind of the codes, a value of `KINDS`."""
    version: tuple[int, int] = (MAJOR, 0)

    def __post_init__(self) -> None:
        if self.payload_coding and self.version == (MAJOR, 0):
            object.__setattr__(self, "version", (MAJOR, 1))  # which brought the other payload codings
        for field, (low, high) in _RANGES.items():
            value = getattr(self, field)
            if not low <= value <= high:
                raise ValueError(f"{field} must be {low} to {high}, not {value}")
        if self.channels * self.source_sample_rate > MAX_SAMPLES_PER_S:
            raise ValueError(f"{self.channels} channels of {self.source_sample_rate} Hz are too much for a file")
        if self.kind not in KINDS.values():
            raise ValueError(f"kind must be one of {', '.join(KINDS.values())}, not {self.kind!r}")
        if len(self.fingerprint) != 8:
            raise ValueError(f"fingerprint must be 8 bytes, not {len(self.fingerprint)}")
        if self.num_samples is not None:
            check_num_samples(self.num_samples)
        if self.version[0] != MAJOR or not 0 <= self.version[1] <= 0xFF:
            raise ValueError(f"version must be ({MAJOR}, 0 to 255), not {self.version}")

    @property
    def frame_rate(self) -> float:
        """Frames per second."""
        return self.sample_rate / self.hop_length

    @property
    def frame_bits(self) -> int:
        """Bits of one frame, all channels together, when packed plainly."""
        return self.channels * self.stages * self.bits_per_code

    @property
    def bitrate_bps(self) -> float:
        """Bits per second and channel of the raw codes, without any overhead."""
        return self.stages * self.bits_per_code * self.frame_rate

    def payload_bytes(self, frames: int) -> int:
        """Length in bytes of a plainly packed payload of this many frames."""
        return (frames * self.frame_bits + 7) // 8

    def codec_samples(self, num_samples: int) -> int:
        """Samples per channel at the codec rate for this many at the source rate."""
        return -(-num_samples * self.sample_rate // self.source_sample_rate)

    def to_bytes(self) -> bytes:
        """The 32 bytes that begin a file."""
        start = _HEADER_START.pack(
            MAGIC,
            *self.version,
            self.payload_coding | _KIND_NUMBERS[self.kind] << 4,
            self.channels,
            self.stages,
            self.bits_per_code,
            self.hop_length,
            self.fingerprint,
        )
        rates = little(self.sample_rate, 3) + little(self.source_sample_rate, 3)
        samples = _UNKNOWN_SAMPLES if self.num_samples is None else self.num_samples
        body = start + rates + little(samples, SAMPLES_BYTES)
        return body + little(_crc16(body), 2)

    @classmethod
    def from_bytes(cls, data: bytes, name: str = "<stream>") -> "Header":
        """Parse the first 32 bytes of a file; `name` is for messages.

        Raises NotVqcodecFile if they do not begin with the magic, UnsupportedVersion for another
        major version or an unknown kind of codes, CorruptFile if there are fewer, the checksum is
        wrong or a field is out of range.
        """
        _check_header_bytes(data, name)
        (_, major, minor, how, channels, stages, bits, hop, fingerprint) = _HEADER_START.unpack_from(data)
        kind = _kind(how >> 4, name)
        samples = int.from_bytes(data[25:30], "little")
        try:
            return cls(
                fingerprint=fingerprint,
                sample_rate=int.from_bytes(data[19:22], "little"),
                source_sample_rate=int.from_bytes(data[22:25], "little"),
                channels=channels,
                num_samples=None if samples == _UNKNOWN_SAMPLES else samples,
                hop_length=hop,
                stages=stages,
                bits_per_code=bits,
                payload_coding=how & 0x0F,
                kind=kind,
                version=(major, minor),
            )
        except ValueError as error:
            raise CorruptFile(f"{name}: impossible header: {error}") from None


def check_num_samples(num_samples: int) -> None:
    """Raise ValueError for a number of samples that the format cannot hold."""
    if not 0 <= num_samples <= MAX_SAMPLES:
        raise ValueError(f"num_samples must be 0 to {MAX_SAMPLES}, not {num_samples}")


def little(value: int, length: int) -> bytes:
    """Write a number as so many bytes, little-endian."""
    return value.to_bytes(length, "little")


def _check_header_bytes(data: bytes, name: str) -> None:
    if not data:
        raise NotVqcodecFile(f"{name}: the file is empty")
    if not data.startswith(MAGIC[: len(data)]):
        raise NotVqcodecFile(f"{name}: not a .vq file (it does not begin with {MAGIC.decode()!r})")
    if len(data) >= 4 and data[3] != MAJOR:
        minor = data[4] if len(data) > 4 else "x"
        raise UnsupportedVersion(
            f"{name}: format version {data[3]}.{minor} is unknown to this version, which reads {MAJOR}.x; "
            "install a newer vqcodec"
        )
    if len(data) < HEADER_BYTES:
        raise CorruptFile(f"{name}: cut short at byte {len(data)}, within the header of {HEADER_BYTES} bytes")
    if int.from_bytes(data[30:32], "little") != _crc16(data[:30]):
        raise CorruptFile(f"{name}: damaged header (wrong checksum of bytes 0 to 29)")


def _kind(number: int, name: str) -> str:
    if number not in KINDS:
        known = ", ".join(f"{number} ({kind})" for number, kind in KINDS.items())
        raise UnsupportedVersion(
            f"{name}: codes of kind {number} are unknown to this version, which knows {known}; install a newer vqcodec"
        )
    return KINDS[number]


def _crc16(data: bytes) -> int:
    """CRC-16/IBM-3740: polynomial 0x1021, starting from 0xFFFF."""
    return binascii.crc_hqx(data, 0xFFFF)
