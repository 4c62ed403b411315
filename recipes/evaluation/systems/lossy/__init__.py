"""Codecs over a network that loses packets: the same packets for every codec, one for every 20 ms of sound."""

from .live import LiveVqcodec
from .losses import Loss, parse_losses, read_trace
from .opus import LiveOpus, check

__all__ = ["LiveOpus", "LiveVqcodec", "Loss", "check", "parse_losses", "read_trace"]
