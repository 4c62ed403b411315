"""AMR-WB (3GPP TS 26.171, ITU-T G.722.2), as ffmpeg with libvo_amrwbenc has it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from . import programs, rates
from .base import Coded, Unavailable
from .signals import Signal, fitted, padded, read, resample, write

DEFAULT_KBPS = (6.6, 8.85, 12.65, 23.85)

_RATE = 16_000
_MODES_KBPS = (6.6, 8.85, 12.65, 14.25, 15.85, 18.25, 19.85, 23.05, 23.85)
_DELAY = 95  # samples: 5 ms of look-ahead, and 15/16 ms of the resampling to 12.8 kHz and back
_MAGIC = b"#!AMR-WB\n"
_ENCODER = "libvo_amrwbenc"
_FFMPEG = ("ffmpeg", "-nostdin", "-v", "error", "-y", "-threads", "1")


@dataclass(frozen=True)
class AmrWb(rates.AtBitrate):
    """AMR-WB without discontinuous transmission.

    Counts the bytes of the frames as RFC 4867 stores them, without the nine at the start of a file. That is 0.4 to
    0.7 kbit/s more than the nominal bitrates: the first byte of a frame names its mode, the last is filled up.

    Args:
        rate_kbps: 6.6, 8.85, 12.65, 14.25, 15.85, 18.25, 19.85, 23.05 or 23.85.

    Raises:
        ConfigError: there is no such bitrate.
    """

    codec = "AMR-WB"
    family = "amrwb"

    def __post_init__(self) -> None:
        rates.check_one_of("AMR-WB", self.rate_kbps, _MODES_KBPS)

    @property
    def version(self) -> str:
        ffmpeg = programs.version("ffmpeg", r"ffmpeg version (\S+)", programs.says("ffmpeg", "-version"))
        return f"{ffmpeg} ({_ENCODER})"

    def run(self, waveform: Signal, sample_rate: int, folder: Path) -> Coded:
        sound, coded, decoded = folder / "in.wav", folder / "coded.amr", folder / "out.wav"
        write(sound, padded(resample(waveform, sample_rate, _RATE), _DELAY), _RATE)
        bitrate_bps = str(round(1000 * self.rate_kbps))
        encode_s = programs.run([*_FFMPEG, "-i", sound, "-c:a", _ENCODER, "-b:a", bitrate_bps, coded])
        decode_s = programs.run([*_FFMPEG, "-i", coded, "-c:a", "pcm_s16le", decoded])
        return Coded(
            waveform=fitted(read(decoded), _DELAY, _RATE, sample_rate, len(waveform)),
            bytes=coded.stat().st_size - len(_MAGIC),
            encode_s=encode_s,
            decode_s=decode_s,
        )


def check() -> None:
    """Raise Unavailable where ffmpeg is missing, or has no encoder for AMR-WB."""
    programs.require("AMR-WB", "ffmpeg", "ffmpeg")
    if _ENCODER not in programs.says("ffmpeg", "-hide_banner", "-encoders"):
        raise Unavailable(f"AMR-WB needs an ffmpeg with {_ENCODER}: Debian package libavcodec-extra")
