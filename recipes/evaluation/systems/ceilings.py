"""Upper limits for any codec: the reference itself, and the reference with less bandwidth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vqcodec.errors import ConfigError

from .base import Coded, System
from .signals import Signal, checked, fitted, resample

_PCM_BYTES = 2  # of a sample of 16 bits


@dataclass(frozen=True)
class Reference(System):
    """The waveform as it is. Counts the bytes of 16-bit PCM."""

    name = "reference"
    codec = "Reference"
    setting = ""
    version = ""

    def run(self, waveform: Signal, sample_rate: int, folder: Path) -> Coded:
        """As `System.run`; nothing is done."""
        return Coded(waveform=checked(waveform), bytes=_PCM_BYTES * len(waveform), encode_s=0.0, decode_s=0.0)


@dataclass(frozen=True)
class Band(System):
    """The waveform limited to a bandwidth, by resampling to twice as many samples per second and back.

    Counts the bytes of 16-bit PCM at the lower rate. A bandwidth that the waveform does not have changes nothing.

    Args:
        bandwidth_khz: 0.5 to 24.

    Raises:
        ConfigError: the bandwidth is out of range.
    """

    bandwidth_khz: float

    codec = "Band limit"
    version = ""

    def __post_init__(self) -> None:
        if not 0.5 <= self.bandwidth_khz <= 24:
            raise ConfigError(f"a band limit lies between 0.5 and 24 kHz, not at {self.bandwidth_khz:g} kHz")

    @property
    def name(self) -> str:
        return f"band-{self.bandwidth_khz:g}"

    @property
    def setting(self) -> str:
        return f"{self.bandwidth_khz:g} kHz"

    def run(self, waveform: Signal, sample_rate: int, folder: Path) -> Coded:
        rate = min(round(2000 * self.bandwidth_khz), sample_rate)
        narrow = resample(waveform, sample_rate, rate)
        wide = fitted(narrow, 0, rate, sample_rate, len(waveform))
        return Coded(waveform=wide, bytes=_PCM_BYTES * len(narrow), encode_s=0.0, decode_s=0.0)
