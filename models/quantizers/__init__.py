"""The classical family of quantizers: one protocol, a module for each kind."""

from .base import Quantizer
from .store import KINDS, load, save

__all__ = ["KINDS", "Quantizer", "load", "save"]
