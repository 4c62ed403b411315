"""The interface of a system that is compared, and its return value."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vqcodec.errors import VqcodecError


class Unavailable(VqcodecError):
    """A program, a package or the weights of a system are missing; the message says how to get them."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Coded:
    """A waveform after its way through a system."""

    waveform: NDArray[np.float32]
    """[sample], of the length and rate of the input; the system's delay is taken out."""
    bytes: int
    """Bytes that a recipient needs; each system documents what it counts."""
    encode_s: float
    """CPU seconds. Loading a model is not in it; starting a program, some milliseconds, is."""
    decode_s: float
    codes: NDArray[np.int64] | None = None
    """[stage, frame], where the system is vqcodec itself."""


class System(Protocol):
    """One codec at one setting."""

    @property
    def name(self) -> str:
        """Unlike all others, and safe as a file name: "opus-9"."""

    @property
    def codec(self) -> str:
        """Name of the codec without its settings, for a curve: "Opus"."""

    @property
    def setting(self) -> str:
        """The nominal bitrate, "9 kbit/s", or whatever distinguishes the settings of one codec."""

    @property
    def version(self) -> str:
        """Version of the program or the weights."""

    def run(self, waveform: NDArray[np.float32], sample_rate: int, folder: Path) -> Coded:
        """Encode and decode.

        Args:
            waveform: float32 [sample] in [-1, 1], at least one sample.
            sample_rate: samples per second, 8000 to 48 000.
            folder: an empty folder for the system's files. They stay there.

        Raises:
            AudioError: the waveform is empty, or holds NaN.
            Unavailable: something that the system needs is missing.
            VqcodecError: a program failed.
        """
