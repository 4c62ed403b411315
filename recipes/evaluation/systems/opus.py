"""Opus (RFC 6716) as opusenc and opusdec of opus-tools have it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from . import ogg, programs, rates
from .base import Coded
from .signals import Signal, fitted, read, resample, write

DEFAULT_KBPS = (6.0, 9.0, 12.0, 16.0, 24.0)

_RATE = 48_000
_LOWEST_KBPS, _HIGHEST_KBPS = 6.0, 256.0
_HEADERS = 2  # packets: OpusHead, OpusTags
_SET_BANDWIDTH = "4008=1103"  # OPUS_SET_BANDWIDTH, OPUS_BANDWIDTH_WIDEBAND


@dataclass(frozen=True)
class Opus(rates.AtBitrate):
    """Opus with its defaults: variable bitrate, highest complexity, frames of 20 ms.

    Counts the bytes of the Opus packets, without Ogg's pages and the two header packets. opusdec takes the delay
    out by the pre-skip that the file declares.

    Args:
        rate_kbps: target of the variable bitrate, 6 to 256.
        wideband: always code 8 kHz of bandwidth; otherwise the encoder chooses: 4 kHz at 6 kbit/s, which it is
            better at.

    Raises:
        ConfigError: the bitrate is out of range.
    """

    wideband: bool = False

    def __post_init__(self) -> None:
        rates.check_within("Opus", self.rate_kbps, _LOWEST_KBPS, _HIGHEST_KBPS)

    @property
    def name(self) -> str:
        return f"opus{'_wb' if self.wideband else ''}-{self.rate_kbps:g}"

    @property
    def codec(self) -> str:
        return "Opus wideband" if self.wideband else "Opus"

    @property
    def version(self) -> str:
        said = programs.says("opusenc", "--version")
        program = programs.version("opusenc", r"opus-tools (\S+)", said)
        library = programs.version("libopus", r"libopus (\d[^\s,)]*)", said)
        return f"{program} ({library})"

    def run(self, waveform: Signal, sample_rate: int, folder: Path) -> Coded:
        sound, coded, decoded = folder / "in.wav", folder / "coded.opus", folder / "out.wav"
        write(sound, resample(waveform, sample_rate, _RATE), _RATE)
        options = ["--set-ctl-int", _SET_BANDWIDTH] if self.wideband else []
        encode_s = programs.run(["opusenc", "--bitrate", f"{self.rate_kbps:g}", *options, sound, coded])
        decode_s = programs.run(["opusdec", "--rate", str(_RATE), "--float", coded, decoded])
        packets = ogg.packets(coded.read_bytes())[_HEADERS:]
        return Coded(
            waveform=fitted(read(decoded), 0, _RATE, sample_rate, len(waveform)),
            bytes=sum(map(len, packets)),
            encode_s=encode_s,
            decode_s=decode_s,
        )


def check() -> None:
    """Raise Unavailable where opus-tools is missing."""
    programs.require("Opus", "opus-tools", "opusenc", "opusdec")
