"""Codec 2, as c2enc and c2dec have it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from . import programs, rates
from .base import Coded
from .signals import Signal, fitted, padded, resample

DEFAULT_KBPS = (0.7, 1.2, 2.4, 3.2)

_RATE = 8000
_TOP = 1 << 15  # 16-bit samples lie in [-_TOP, _TOP)


class _Mode(NamedTuple):
    """A mode of c2enc: its name, its frame in samples and bits, and its delay in samples.

    The delay is half of the analysis window of 40 ms, and 10 ms more where the decoder interpolates from the last
    frame to this one, rather than up to this one.
    """

    name: str
    frame: int
    bits: int
    delay: int = 160


_MODES = {
    3.2: _Mode("3200", 160, 64),
    2.4: _Mode("2400", 160, 48),
    1.6: _Mode("1600", 320, 64),
    1.4: _Mode("1400", 320, 56),
    1.3: _Mode("1300", 320, 52),
    1.2: _Mode("1200", 320, 48),
    0.7: _Mode("700C", 320, 28, delay=240),
}


@dataclass(frozen=True)
class Codec2(rates.AtBitrate):
    """Codec 2: narrowband, a parametric codec that does not keep the waveform.

    Counts the bits of its frames, packed without gaps, as radios send them; c2enc fills each frame to whole bytes.

    Args:
        rate_kbps: 3.2, 2.4, 1.6, 1.4, 1.3, 1.2 or 0.7 (the mode 700C).

    Raises:
        ConfigError: there is no such bitrate.
    """

    codec = "Codec 2"
    family = "codec2"

    def __post_init__(self) -> None:
        rates.check_one_of("Codec 2", self.rate_kbps, tuple(_MODES))

    @property
    def version(self) -> str:
        return programs.debian_version("c2enc", "codec2")

    def run(self, waveform: Signal, sample_rate: int, folder: Path) -> Coded:
        mode = _MODES[self.rate_kbps]
        # A name that ends in .c2 would mean a file with a header.
        sound, coded, decoded = folder / "in.raw", folder / "coded.bin", folder / "out.raw"
        whole_frames = padded(resample(waveform, sample_rate, _RATE), mode.delay, mode.frame)
        np.clip(np.rint(whole_frames * _TOP), -_TOP, _TOP - 1).astype("<i2").tofile(sound)
        encode_s = programs.run(["c2enc", mode.name, sound, coded])
        decode_s = programs.run(["c2dec", mode.name, coded, decoded])
        output = np.fromfile(decoded, "<i2").astype(np.float32) / np.float32(_TOP)
        frames = coded.stat().st_size // -(-mode.bits // 8)
        return Coded(
            waveform=fitted(output, mode.delay, _RATE, sample_rate, len(waveform)),
            bytes=-(-frames * mode.bits // 8),
            encode_s=encode_s,
            decode_s=decode_s,
        )


def check() -> None:
    """Raise Unavailable where Codec 2 is missing."""
    programs.require("Codec 2", "codec2", "c2enc", "c2dec")
