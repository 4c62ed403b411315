"""Speex wideband, as speexenc and speexdec have it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from . import ogg, programs, rates
from .base import Coded
from .signals import Signal, fitted, padded, read, resample, write

DEFAULT_KBPS = (3.95, 5.75, 9.8, 16.8, 27.8)

_RATE = 16_000
_QUALITIES_KBPS = (3.95, 5.75, 7.75, 9.8, 12.8, 16.8, 20.6, 23.8, 27.8, 34.2, 42.2)  # of --quality 0 to 10
_HEADERS = 2  # packets: the header, the comments
_ENCODER_DELAY, _DECODER_DELAY = 143, 80  # in samples, as the library's SPEEX_GET_LOOKAHEAD gives them


@dataclass(frozen=True)
class Speex(rates.AtBitrate):
    """Speex at 16 kHz and a constant bitrate, one frame of 20 ms to a packet.

    Counts the bytes of the Speex packets, without Ogg's pages and the two header packets.

    Args:
        rate_kbps: that of one of the qualities 0 to 10: 3.95, 5.75, 7.75, 9.8, 12.8, ...

    Raises:
        ConfigError: there is no such bitrate.
    """

    codec = "Speex wideband"
    family = "speex"

    def __post_init__(self) -> None:
        rates.check_one_of("Speex wideband", self.rate_kbps, _QUALITIES_KBPS)

    @property
    def version(self) -> str:
        return programs.version("speexenc", r"version (\S+)", programs.says("speexenc", "--version"))

    def run(self, waveform: Signal, sample_rate: int, folder: Path) -> Coded:
        sound, coded, decoded = folder / "in.wav", folder / "coded.spx", folder / "out.wav"
        write(sound, padded(resample(waveform, sample_rate, _RATE), _ENCODER_DELAY), _RATE)
        quality = str(_QUALITIES_KBPS.index(self.rate_kbps))
        encode_s = programs.run(["speexenc", "--wideband", "--quality", quality, sound, coded])
        decode_s = programs.run(["speexdec", coded, decoded])
        stream = coded.read_bytes()
        return Coded(
            waveform=fitted(read(decoded), _delay(stream), _RATE, sample_rate, len(waveform)),
            bytes=sum(map(len, ogg.packets(stream)[_HEADERS:])),
            encode_s=encode_s,
            decode_s=decode_s,
        )


def _delay(stream: bytes) -> int:
    """Samples of delay that speexdec leaves in: it takes them out on the first page, unless that is the last, too."""
    sound_pages = len(list(ogg.pages(stream))) - _HEADERS
    return _ENCODER_DELAY + _DECODER_DELAY if sound_pages == 1 else 0


def check() -> None:
    """Raise Unavailable where Speex is missing."""
    programs.require("Speex", "speex", "speexenc", "speexdec")
