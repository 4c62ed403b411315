"""The kinds of bottlenecks: a table of all that depends on the kind that a model has. Imports no torch.

A new kind is a class in `bottlenecks` and a row of `KINDS`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType, ModuleType
from typing import TYPE_CHECKING

from vqcodec.errors import ConfigError

if TYPE_CHECKING:
    from .bottlenecks import Bottleneck
    from .config import ModelConfig

MAX_LEAVES = 65_536
"""The most codes of the last level of a tree."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of bottleneck, and how models that have it differ from others."""

    name: str
    """Names the kind in recipes, model files and messages."""
    build: Callable[[ModelConfig], Bottleneck]
    """Makes the bottleneck of a model of these sizes, its codebooks still unset."""
    number: int | None = None
    """Stands for the kind in the header of `.vq` files, 0 to 15; None without codes."""
    has_prefixes: bool = False
    """Whether the first stages alone are a codec; otherwise all stages are always in use."""
    can_vary: bool = False
    """Whether every frame may have its own number of stages, also none."""
    can_grow: bool = False
    """Whether stages may be added to trained ones: `initialise` then sets only the codebooks that are new."""
    frames_per_code: int = 1
    """Latent frames that a frame of codes stands for."""
    check: Callable[[ModelConfig], None] = lambda config: None
    """Raises `ConfigError` for sizes that this kind cannot have."""
    vectors: Callable[[ModelConfig, int], int] = lambda config, stages: 0
    """Code vectors, of the latents' dimension, that this many first stages of a model need."""
    square_layers: int = 0
    """Square matrices of the latents' dimension in the bottleneck's linear layers."""
    fingerprint_fields: tuple[str, ...] = ("bottleneck", "lattice_levels", "coarse_stages")
    """Settings of the model that its fingerprint covers for the bottleneck's sake."""

    @property
    def has_codes(self) -> bool:
        """Whether there are codes, and so `.vq` files."""
        return self.number is not None


def _check_vq(config: ModelConfig) -> None:
    if config.num_stages != 1:
        raise _unfit(config, "num_stages", "must be 1: there is one codebook")


def _check_product(config: ModelConfig) -> None:
    if config.latent_dim % config.num_stages:
        rule = f"must be a multiple of num_stages = {config.num_stages}, groups alike in size"
        raise _unfit(config, "latent_dim", rule)


def _check_lattice(config: ModelConfig) -> None:
    size, levels = config.codebook_size, config.lattice_levels
    if not 2 <= levels <= size:
        raise _unfit(config, "lattice_levels", f"must lie between 2 and {size}")
    digits = round(math.log(size, levels))
    if levels**digits != size:
        raise _unfit(config, "codebook_size", f"must be a power of lattice_levels = {levels}")
    if config.latent_dim != config.num_stages * digits:
        rule = f"num_stages * {digits} = {config.num_stages * digits}: a code packs {digits} values"
        raise _unfit(config, "latent_dim", f"must be {rule} of {levels} levels each")


def _check_tree(config: ModelConfig) -> None:
    size = config.codebook_size
    if size**config.num_stages > MAX_LEAVES:
        most = int(math.log2(MAX_LEAVES) / math.log2(size))
        raise _unfit(config, "num_stages", f"must be at most {most} with codebook_size = {size}: {MAX_LEAVES} leaves")


def _check_hierarchical(config: ModelConfig) -> None:
    fine, coarse = config.num_stages - config.coarse_stages, config.coarse_stages
    if fine < 2 or fine % 2:
        rule = f"must be coarse_stages = {coarse} and 2, 4, 6, ... more: fine stages come in pairs"
        raise _unfit(config, "num_stages", rule)


def _unfit(config: ModelConfig, field: str, rule: str) -> ConfigError:
    value = getattr(config, field)
    return ConfigError(f"model.{field} = {value} {rule} (model.bottleneck = {config.bottleneck!r})")


def _classes() -> ModuleType:
    """The package of the classes, which imports torch and so waits until it is needed."""
    from . import bottlenecks

    return bottlenecks


_TABLE = (
    Kind(
        name="rvq",
        number=0,
        build=lambda c: _classes().ResidualVQ(c.num_stages, c.codebook_size, c.latent_dim),
        has_prefixes=True,
        can_vary=True,
        can_grow=True,
        vectors=lambda c, stages: stages * c.codebook_size,
        fingerprint_fields=(),  # fingerprints are older than the other kinds
    ),
    Kind(
        name="vq",
        number=1,
        build=lambda c: _classes().VectorQuantizer(c.codebook_size, c.latent_dim),
        check=_check_vq,
        vectors=lambda c, _: c.codebook_size,
    ),
    Kind(
        name="product",
        number=2,
        build=lambda c: _classes().GroupedVQ(c.num_stages, c.codebook_size, c.latent_dim),
        check=_check_product,
        vectors=lambda c, _: c.codebook_size,  # a part from each group makes up a whole vector
    ),
    Kind(
        name="lattice",
        number=3,
        build=lambda c: _classes().FiniteScalarQuantizer(c.num_stages, c.lattice_levels, c.latent_dim),
        check=_check_lattice,
    ),
    Kind(
        name="tree",
        number=4,
        build=lambda c: _classes().TreeVQ(c.num_stages, c.codebook_size, c.latent_dim),
        has_prefixes=True,
        check=_check_tree,
        vectors=lambda c, stages: sum(c.codebook_size**level for level in range(1, stages + 1)),
    ),
    Kind(
        name="hierarchical",
        number=5,
        build=lambda c: _classes().HierarchicalQuantizer(c.num_stages, c.coarse_stages, c.codebook_size, c.latent_dim),
        has_prefixes=True,
        frames_per_code=2,
        check=_check_hierarchical,
        vectors=lambda c, _: (c.coarse_stages + (c.num_stages - c.coarse_stages) // 2) * c.codebook_size,  # all stages
        square_layers=4,
    ),
    Kind(name="vae", build=lambda c: _classes().VariationalBottleneck(c.latent_dim), square_layers=2),
    Kind(name="none", build=lambda c: _classes().NoBottleneck()),
)

KINDS: Mapping[str, Kind] = MappingProxyType({kind.name: kind for kind in _TABLE})
"""Every kind by its name."""
