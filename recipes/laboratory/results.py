"""Results of the laboratory: one record for each quantizer and number of bits. Nothing here touches a disk."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from vqcodec.models.quantizers.bounds import gaussian_distortion

from ..metrics import METRICS
from ..metrics.imitated import marked
from ..statistics import Interval, ratio_interval
from .candidates import Candidate

SCORES = ("pesq_wb", "stoi")
"""Scores of the decoded sound."""


@dataclass(frozen=True, kw_only=True)
class QuantizerResult:
    """One quantizer at a number of bits, fitted on one part of the latents and measured on the other."""

    name: str
    title: str
    kind: str
    budget: int
    """Bits a vector that it was allowed."""
    settings: Mapping[str, Any]
    note: str
    bits: float
    """A vector: of fixed-length codes; of a lattice the entropy on the part it was fitted on, to which it is scaled."""
    mse: float
    """Mean squared error per dimension."""
    snr_db: float
    """Variance of the latents about their mean over the error."""
    entropy_bits: float
    """A vector, what ideal entropy coders would pay, one for each table, made for these very codes."""
    entropy_bias_bits: float
    """Approximate bias of that estimate, which is too low with few vectors (Miller 1955, Madow)."""
    used_share: float | None
    """Share of the codes of all tables that were used; None for a lattice, which is infinite."""
    fit_s: float | None
    """CPU seconds; None where there was nothing to fit."""
    encode_s: float
    """CPU seconds for all vectors."""
    decode_s: float
    vectors: int
    """Number of vectors that it was measured on."""
    table_bytes: int
    """Bytes of the tables in memory; of the trained one, the stages in use."""
    scores: Mapping[str, Mapping[str, float]]
    """Scores by the names of `SCORES` and by recording; empty where none were asked for."""

    @property
    def key(self) -> tuple[str, int]:
        """Identifies the quantizer and its number of bits."""
        return self.name, self.budget

    @property
    def encode_speed(self) -> float:
        """Vectors per CPU second."""
        return self.vectors / max(self.encode_s, 1e-9)

    @property
    def decode_speed(self) -> float:
        """Vectors per CPU second."""
        return self.vectors / max(self.decode_s, 1e-9)

    def answers(self, member: Candidate, scored: bool) -> bool:
        """Whether it is what measuring this candidate would give, with scores or without."""
        return (self.kind, dict(self.settings)) == (member.kind, dict(member.settings)) and (
            bool(self.scores) or not scored
        )


@dataclass(frozen=True, kw_only=True)
class Unquantized:
    """Scores of the decoder on the latents themselves: no quantizer can be expected to do better."""

    scores: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, kw_only=True)
class QuantizerFailure:
    """A quantizer that could not be measured, and why."""

    name: str
    title: str
    budget: int
    reason: str

    @property
    def key(self) -> tuple[str, int]:
        """Identifies the quantizer and its number of bits."""
        return self.name, self.budget


@dataclass(frozen=True, kw_only=True)
class Findings:
    """All data of a report."""

    facts: Mapping[str, Any]
    """Model, recordings and their amount; see `vqcodec.recipes.laboratory.store.facts_of`."""
    results: Sequence[QuantizerResult]
    """Results in the order of the family, and of bits."""
    failures: Sequence[QuantizerFailure] = ()
    unquantized: Unquantized | None = None
    notes: Sequence[str] = ()
    variances: Sequence[float] = field(default=(), repr=False)
    """Variances of the test latents along their principal axes."""

    @property
    def scores(self) -> list[str]:
        """The scores that any result has."""
        return [name for name in SCORES if any(one.scores.get(name) for one in self.results)]

    def label(self, score: str) -> str:
        """The name of a score, marked if the model was trained on it."""
        return marked(METRICS[score].label, score in (self.facts.get("trained_on_scores") or ()))

    def files(self, score: str) -> list[str]:
        """The recordings for which every result that has scores has this one."""
        scored = [set(one.scores[score]) for one in self.results if one.scores.get(score)]
        return sorted(set.intersection(*scored)) if scored else []

    def mean(self, scores: Mapping[str, Mapping[str, float]], name: str) -> Interval | None:
        """Mean of a score over the recordings that all have it, with its interval; None if there are none."""
        found = scores.get(name, {})
        values = np.array([found[file] for file in self.files(name) if file in found])
        return ratio_interval(values, np.ones_like(values)) if len(values) else None

    def titles(self) -> list[str]:
        """Titles of the quantizers, in order."""
        return list(dict.fromkeys(one.title for one in self.results))

    def bound_db(self, bits: float) -> float:
        """The best SNR of any code of this many bits for Gaussian vectors of the test latents' covariance."""
        return bound_db(self.variances, bits)

    def gap_db(self, one: QuantizerResult) -> float:
        """Distance of a result from that bound, for its bits of fixed-length codes."""
        return self.bound_db(one.bits) - one.snr_db

    def of(self, name: str) -> dict[int, QuantizerResult]:
        """The results of one quantizer by the bits that it was allowed."""
        return {one.budget: one for one in self.results if one.name == name}


def bound_db(variances: Sequence[float], bits: float) -> float:
    """The best SNR of any code of this many bits per vector for Gaussian vectors with these variances."""
    exact = torch.tensor(variances, dtype=torch.float64)
    return 10 * math.log10(float(exact.mean()) / gaussian_distortion(exact, bits))
