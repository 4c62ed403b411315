"""Opus over a network that loses packets, with its in-band redundancy and its own concealment."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from .. import rates
from ..base import Coded, System
from ..signals import Signal, fitted, resample
from . import libopus
from .losses import Loss


@dataclass(frozen=True)
class LiveOpus(System):
    """Opus for speech: variable bitrate, packets of 20 ms, in-band redundancy (FEC), told the loss that there is.

    Counts the bytes of all packets sent. The receiver waits for the packet after a lost one, which may hold it.

    Args:
        rate_kbps: target of the variable bitrate, 6 to 256.
        loss: of packets.

    Raises:
        ConfigError: the bitrate is out of range.
    """

    rate_kbps: float
    loss: Loss

    def __post_init__(self) -> None:
        rates.check_within("Opus", self.rate_kbps, 6.0, 256.0)

    @property
    def name(self) -> str:
        return f"opus_fec-{self.rate_kbps:g}-{self.loss.slug}"

    @property
    def codec(self) -> str:
        return f"Opus with FEC, {self.loss}"

    @property
    def setting(self) -> str:
        return rates.text(self.rate_kbps)

    @property
    def version(self) -> str:
        return libopus.version()

    def run(self, waveform: Signal, sample_rate: int, folder: Path) -> Coded:
        start = time.process_time()
        sound = resample(waveform, sample_rate, libopus.RATE)
        packets, delay = libopus.encode(sound, round(1000 * self.rate_kbps), round(100 * self.loss.share))
        middle = time.process_time()
        decoded = libopus.decode(packets, self.loss.trace(waveform, len(packets)).tolist())
        return Coded(
            waveform=fitted(decoded, delay, libopus.RATE, sample_rate, len(waveform)),
            bytes=sum(map(len, packets)),
            encode_s=middle - start,
            decode_s=time.process_time() - middle,
        )


def check() -> None:
    """Raise Unavailable where libopus is missing."""
    libopus.library()
