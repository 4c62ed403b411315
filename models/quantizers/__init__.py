"""The classical family of quantizers: one protocol, one file a kind."""

from .base import Quantizer
from .store import KINDS, load, save

__all__ = ["KINDS", "Quantizer", "load", "save"]
