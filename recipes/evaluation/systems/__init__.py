"""The systems that an evaluation compares: whatever turns a waveform into bytes and back.

    for system in [Vqcodec(stages=3), *parse("opus:6,9,12"), *parse("reference")]:
        coded = system.run(waveform, sample_rate, folder)

A system is a small value that can be pickled; what is heavy is loaded at first use, once per process.
"""

from .base import Coded, System, Unavailable
from .parse import NAMES, parse
from .vqcodec import Vqcodec

__all__ = ["NAMES", "Coded", "System", "Unavailable", "Vqcodec", "parse"]
