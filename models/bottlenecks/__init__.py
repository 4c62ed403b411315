"""Bottlenecks to train with: one interface, a module for each kind. `models.kinds` lists them."""

from .base import Bottleneck, Quantized, Statistics
from .fsq import FiniteScalarQuantizer
from .grouped import GroupedVQ
from .hierarchical import HierarchicalQuantizer
from .none import NoBottleneck
from .residual import ResidualVQ
from .tree import TreeVQ
from .variational import VariationalBottleneck
from .vector import VectorQuantizer

__all__ = [
    "Bottleneck",
    "FiniteScalarQuantizer",
    "GroupedVQ",
    "HierarchicalQuantizer",
    "NoBottleneck",
    "Quantized",
    "ResidualVQ",
    "Statistics",
    "TreeVQ",
    "VariationalBottleneck",
    "VectorQuantizer",
]
