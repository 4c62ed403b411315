"""Which packets are lost: at random, in bursts, or as a file says."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vqcodec.errors import ConfigError
from vqcodec.live.channel import LossModel

from ..signals import Signal

PACKET_MS = 20
_MOST_TRACE = 10_000_000


@dataclass(frozen=True, kw_only=True)
class Loss:
    """The fate of packets, one for every 20 ms; the same for the same waveform, whatever the codec.

    Args:
        slug: for names of files.
        title: for the reader.
        model: what is lost at random; None if `fates` says it.
        fates: whether each packet is lost, over and over.
    """

    slug: str
    title: str
    model: LossModel | None = None
    fates: tuple[bool, ...] = ()

    def __str__(self) -> str:
        return self.title

    @property
    def share(self) -> float:
        """Share of packets lost in the mean."""
        return self.model.share if self.model else sum(self.fates) / len(self.fates)

    def trace(self, waveform: Signal, packets: int) -> NDArray[np.bool_]:
        """Whether each packet of a waveform is lost [packet]."""
        if self.model is None:
            return np.resize(np.array(self.fates, bool), packets)
        return self.model.trace(packets, np.random.default_rng(zlib.crc32(waveform.tobytes())))


def parse_losses(text: str) -> list[Loss]:
    """Read losses as a user writes them, "5,10:60": percent, and after a colon the mean length of a gap in ms.

    Raises:
        ConfigError: it is no such list, or no packets can be lost like that.
    """
    return [_parse_one(part.strip()) for part in text.split(",")]


def _parse_one(text: str) -> Loss:
    percent, colon, gap = text.partition(":")
    try:
        share, burst = float(percent) / 100, float(gap) / PACKET_MS if colon else None
    except ValueError:
        raise ConfigError(
            f"a loss is a percentage, perhaps with the length of gaps in ms: 10, 5:60; not {text!r}"
        ) from None
    model = LossModel(share, burst)
    slug, title = f"loss{100 * share:g}", f"{100 * share:g} % lost"
    if colon:
        slug, title = f"{slug}x{float(gap):g}ms", f"{title} in gaps of {float(gap):g} ms"
    return Loss(slug=slug, title=title, model=model)


def read_trace(path: Path) -> Loss:
    """Read a trace: a text file of 0 (arrives) and 1 (is lost), a digit for every 20 ms; what is between is skipped.

    Raises:
        ConfigError: it cannot be read, or holds anything but digits 0 and 1 and spaces.
    """
    try:
        digits = "".join(path.read_text(encoding="ascii").split())
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not a trace of losses: {error}") from error
    if not digits or set(digits) - {"0", "1"} or len(digits) > _MOST_TRACE:
        raise ConfigError(f"{path}: a trace of losses holds a 0 or a 1 for every packet of {PACKET_MS} ms")
    fates = tuple(digit == "1" for digit in digits)
    return Loss(slug=f"trace_{zlib.crc32(digits.encode()):08x}", title=f"lost after {path.name}", fates=fates)
