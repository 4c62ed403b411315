"""Which quantizers are compared at a number of bits a vector, and with which settings. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vqcodec.errors import ConfigError

QuantizerSettings = Mapping[str, Any]

TRAINED = "trained"
"""Kind of the codebooks that a model brings: nothing is fitted."""

MOST_CODE_BITS = 12
"""Most bits of a codebook for whole vectors, and of a tree: larger ones take too long to fit, and more vectors."""

_BOOK_BITS = 10
"""Bits of one codebook out of several."""
_LEAST_BOOK_BITS = 6
"""Codebooks get smaller down to this, rather than leave bits unspent."""
_FEW_BOOK_BITS = 8
_FEW_BOOKS_FROM = 41
"""From this many bits on, additive and composite codebooks have 8 bits each: time grows with the square of all
codes, memory as well."""
_BEAM = 8


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A quantizer with its settings at a number of bits."""

    name: str
    """Unlike that of any other member of the family: "residual-beam"."""
    title: str
    """For the reader: "residual, beam 8"."""
    kind: str
    """A key of `vqcodec.models.quantizers.KINDS`, or `TRAINED`."""
    budget: int
    """Bits of a vector that may be spent."""
    settings: QuantizerSettings
    """Arguments of the quantizer's class; of the trained one, the arguments of its `encode`."""
    slow: bool = False
    """Whether it takes minutes to fit."""
    note: str = ""
    """A remark on the settings."""

    @property
    def key(self) -> tuple[str, int]:
        """Identifies its results."""
        return self.name, self.budget


@dataclass(frozen=True)
class Variant:
    """A member before it is known how many bits there are."""

    name: str
    title: str
    kind: str
    settings: Callable[[int], QuantizerSettings | None]
    """Bits of a vector -> settings; None where this number of bits is out of its reach."""
    slow: bool = False
    spare: bool = False
    """Whether it only accompanies another variant, and is left out silently where it has no settings."""


def _one_book(bits: int) -> QuantizerSettings | None:
    return {"num_codes": 2**bits} if bits <= MOST_CODE_BITS else None


def _tree(search: str) -> Callable[[int], QuantizerSettings | None]:
    return lambda bits: {"depth": bits, "search": search} if bits <= MOST_CODE_BITS else None


def _books(bits: int, largest: int = _BOOK_BITS) -> QuantizerSettings:
    """Codebooks of one size that spend all the bits, as large as they may be; or most of the bits, where none do."""
    sizes = range(min(largest, bits), _LEAST_BOOK_BITS - 1, -1)
    size = next((size for size in sizes if bits % size == 0), min(largest, bits))
    return {"num_books": bits // size, "codes_per_book": 2**size}


def _few_books(bits: int) -> QuantizerSettings:
    return _books(bits, _BOOK_BITS if bits < _FEW_BOOKS_FROM else _FEW_BOOK_BITS)


def _residual_like_few(bits: int) -> QuantizerSettings | None:
    """Settings of codebooks as large as additive ones, where these are smaller than the others."""
    few = _few_books(bits)
    return {**few, "beam": _BEAM} if few != _books(bits) else None


def _lattice(name: str) -> Callable[[int], QuantizerSettings]:
    return lambda bits: {"lattice": name, "bits": float(bits)}


VARIANTS = (
    Variant("scalar-uniform", "scalar, uniform", "scalar", lambda bits: {"bits": bits, "design": "uniform"}),
    Variant("scalar", "scalar, Lloyd-Max", "scalar", lambda bits: {"bits": bits, "design": "lloyd-max"}),
    Variant("kmeans", "k-means", "kmeans", _one_book),
    Variant("lbg", "LBG", "lbg", _one_book),
    Variant("tree-greedy", "tree, greedy", "tree", _tree("greedy")),
    Variant("tree-full", "tree, full search", "tree", _tree("full")),
    Variant("lvq", "learning VQ", "lvq", _one_book),
    Variant("product", "product", "product", _books),
    Variant("opq", "optimized product", "opq", _books),
    Variant("residual-greedy", "residual, greedy", "residual", lambda bits: {**_books(bits), "beam": 1}),
    Variant("residual-beam", f"residual, beam {_BEAM}", "residual", lambda bits: {**_books(bits), "beam": _BEAM}),
    Variant(
        "residual-small",
        f"residual, beam {_BEAM}, {2**_FEW_BOOK_BITS} codes a book",
        "residual",
        _residual_like_few,
        spare=True,
    ),
    Variant("additive", "additive", "additive", _few_books, slow=True),
    Variant("composite", "composite", "composite", _few_books, slow=True),
    Variant("lattice-z", "lattice Z", "lattice", _lattice("Z")),
    Variant("lattice-d4", "lattice D4", "lattice", _lattice("D4")),
    Variant("lattice-e8", "lattice E8", "lattice", _lattice("E8")),
)
"""The classical family, in the order of tables and charts."""

_TRAINED = (("trained-greedy", "trained, greedy", 1), ("trained-beam", f"trained, beam {_BEAM}", _BEAM))
"""Name, title and effort of a search."""

ORDER = (*(name for name, *_ in _TRAINED), *(variant.name for variant in VARIANTS))
"""Names, in the order of tables and charts."""

KINDS = (TRAINED, *dict.fromkeys(variant.kind for variant in VARIANTS))
"""Kinds that `select` can choose from."""


def check_kinds(kinds: Sequence[str]) -> None:
    """Refuse kinds that are unknown.

    Raises:
        ConfigError: naming the first of them.
    """
    for kind in kinds:
        if kind not in KINDS:
            raise ConfigError(f"unknown quantizer {kind!r}; choose from {', '.join(KINDS)}")


def family(budgets: Sequence[int], kinds: Sequence[str], dim: int, speakers: int) -> tuple[list[Candidate], list[str]]:
    """The members of the classical family at every budget, and why others are left out.

    Args:
        budgets: bits a vector, each at least 1.
        kinds: which of `KINDS`; all of them if empty.
        dim: of the vectors.
        speakers: in the part to fit on, by whom vectors are labelled; 0 where they are not known.
    """
    members, notes = [], []
    beyond: dict[int, list[str]] = {}
    for variant in VARIANTS:
        if kinds and variant.kind not in kinds:
            continue
        for budget in budgets:
            settings = variant.settings(budget)
            if settings is None and variant.spare:
                continue
            elif settings is None:
                beyond.setdefault(budget, []).append(variant.title)
            elif reason := _obstacle(variant, settings, dim, speakers):
                notes.append(f"{variant.title} at {budget} bits is left out: {reason}.")
            else:
                members.append(_member(variant, budget, settings))
    notes += [
        f"{'; '.join(titles)}: left out at {budget} bits, as there are too few vectors to learn 2^{budget} codes from."
        for budget, titles in beyond.items()
    ]
    return members, notes


def trained(budgets: Sequence[int], kinds: Sequence[str], choices: Mapping[int, float]) -> list[Candidate]:
    """The codebooks of a model: at every budget, as many stages as fit, searched greedily and with a beam.

    Args:
        budgets: bits a vector.
        kinds: which of `KINDS`; all of them if empty.
        choices: bits a vector by the number of stages, for every number that can be encoded.
    """
    if kinds and TRAINED not in kinds:
        return []
    members = []
    for name, title, effort in _TRAINED:
        for budget in budgets:
            if fitting := [stages for stages, bits in choices.items() if bits <= budget]:
                settings = {"stages": max(fitting), "effort": effort}
                members.append(Candidate(name=name, title=title, kind=TRAINED, budget=budget, settings=settings))
    return members


def _member(variant: Variant, budget: int, settings: QuantizerSettings) -> Candidate:
    few = variant.slow and settings != _books(budget)
    return Candidate(
        name=variant.name,
        title=variant.title,
        kind=variant.kind,
        budget=budget,
        settings=settings,
        slow=variant.slow,
        note=f"codebooks of {settings['codes_per_book']} codes: larger ones are too slow" if few else "",
    )


def _obstacle(variant: Variant, settings: QuantizerSettings, dim: int, speakers: int) -> str:
    """Why these settings cannot be fitted, or nothing."""
    if variant.kind in ("product", "opq") and settings["num_books"] > dim:
        return f"{settings['num_books']} parts of {dim} dimensions"
    blocks = {"D4": 4, "E8": 8}.get(settings.get("lattice", ""), 1)
    if dim % blocks:
        return f"{dim} dimensions are not a multiple of {blocks}"
    if variant.kind == "lvq" and speakers < 2:
        return "it needs recordings of two known speakers at least, to tell them apart"
    if variant.kind == "lvq" and speakers > settings["num_codes"]:
        return f"{speakers} speakers need a code each, and there are {settings['num_codes']}"
    return ""
