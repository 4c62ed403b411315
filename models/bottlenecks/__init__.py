"""Bottlenecks to train with: one interface, a module for each kind. `models.kinds` lists them."""

from .base import Bottleneck, Quantized, Statistics

__all__ = ["Bottleneck", "Quantized", "Statistics"]
