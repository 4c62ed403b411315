"""LC3, the codec of Bluetooth LE Audio, as elc3 and dlc3 of liblc3 have it."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from . import programs, rates
from .base import Coded
from .signals import Signal, fitted, read, resample, write

DEFAULT_KBPS = (16.0, 24.0, 32.0)

_RATE = 16_000
_LOWEST_KBPS, _HIGHEST_KBPS = 16.0, 320.0  # 20 to 400 bytes in a frame
_HEADER_SIZE_AT = 2
_LENGTH_BYTES = 2  # before each frame


@dataclass(frozen=True)
class Lc3(rates.AtBitrate):
    """LC3 at 16 kHz, in frames of 10 ms.

    Counts the bytes of the frames, without the file's header and the length before each frame. dlc3 takes the
    delay out.

    Args:
        rate_kbps: 16 to 320; a frame has a whole number of bytes, so that multiples of 0.8 are exact.

    Raises:
        ConfigError: the bitrate is out of range.
    """

    codec = "LC3"
    family = "lc3"

    def __post_init__(self) -> None:
        rates.check_within("LC3", self.rate_kbps, _LOWEST_KBPS, _HIGHEST_KBPS)

    @property
    def version(self) -> str:
        return programs.debian_version("elc3", "liblc3-tools")

    def run(self, waveform: Signal, sample_rate: int, folder: Path) -> Coded:
        sound, coded, decoded = folder / "in.wav", folder / "coded.lc3", folder / "out.wav"
        write(sound, resample(waveform, sample_rate, _RATE), _RATE)
        encode_s = programs.run(["elc3", "-b", str(round(1000 * self.rate_kbps)), sound, coded])
        decode_s = programs.run(["dlc3", coded, decoded])
        return Coded(
            waveform=fitted(read(decoded), 0, _RATE, sample_rate, len(waveform)),
            bytes=_frame_bytes(coded.read_bytes()),
            encode_s=encode_s,
            decode_s=decode_s,
        )


def _frame_bytes(data: bytes) -> int:
    """Bytes of all frames in a file of elc3: a header that says its own size, then length and frame in turn."""
    (start,) = struct.unpack_from("<H", data, _HEADER_SIZE_AT)
    total = 0
    while start < len(data):
        (length,) = struct.unpack_from("<H", data, start)
        total += length
        start += _LENGTH_BYTES + length
    return total


def check() -> None:
    """Raise Unavailable where liblc3's programs are missing."""
    programs.require("LC3", "liblc3-tools", "elc3", "dlc3")
