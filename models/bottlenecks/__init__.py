"""Bottlenecks to train with: one interface, one file a kind."""

from collections.abc import Callable, Mapping

from ..config import ModelConfig
from .base import Bottleneck, Quantized, Statistics
from .fsq import FiniteScalarQuantizer
from .grouped import GroupedVQ
from .hierarchical import HierarchicalQuantizer
from .none import NoBottleneck
from .residual import ResidualVQ
from .tree import TreeVQ
from .variational import VariationalBottleneck
from .vector import VectorQuantizer

__all__ = ["KINDS", "Bottleneck", "Quantized", "Statistics", "build"]

KINDS: Mapping[str, Callable[[ModelConfig], Bottleneck]] = {
    "rvq": lambda c: ResidualVQ(c.num_stages, c.codebook_size, c.latent_dim),
    "vq": lambda c: VectorQuantizer(c.codebook_size, c.latent_dim),
    "product": lambda c: GroupedVQ(c.num_stages, c.codebook_size, c.latent_dim),
    "lattice": lambda c: FiniteScalarQuantizer(c.num_stages, c.lattice_levels, c.latent_dim),
    "tree": lambda c: TreeVQ(c.num_stages, c.codebook_size, c.latent_dim),
    "hierarchical": lambda c: HierarchicalQuantizer(c.num_stages, c.coarse_stages, c.codebook_size, c.latent_dim),
    "vae": lambda c: VariationalBottleneck(c.latent_dim),
    "none": lambda c: NoBottleneck(),
}
"""How each kind is made from the sizes of a model."""


def build(config: ModelConfig) -> Bottleneck:
    """The bottleneck that a model of this configuration has, its codebooks still unset."""
    return KINDS[config.bottleneck](config)
