"""Systems over a network that loses packets, in place of the usual ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vqcodec.live.payload import NO_REDUNDANCY, Redundancy, parse_redundancy
from vqcodec.models import registry

from .systems import System, Unavailable
from .systems.lossy import LiveOpus, LiveVqcodec, Loss, check
from .systems.opus import Opus
from .systems.parse import parse

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, kw_only=True)
class LossPlan:
    """Which losses to try, and with what against them."""

    losses: Sequence[Loss]
    redundancies: Sequence[Redundancy] = (NO_REDUNDANCY, Redundancy(1, 1))


def parse_redundancies(text: str) -> list[Redundancy]:
    """Read redundancies as a user writes them: "none,1x1", packets back times stages.

    Raises:
        ConfigError: there is no such redundancy.
    """
    return [parse_redundancy(part.strip()) for part in text.split(",")]


def ours_under_loss(model: str, bitrates_bps: Sequence[float], plan: LossPlan) -> list[LiveVqcodec]:
    """A model at the nearest possible bitrates, under every loss and with every redundancy."""
    config = registry.describe(registry.find(model)).config
    nearest = sorted({config.bitrate_of(config.stages_for(wanted)) for wanted in bitrates_bps})
    return [
        LiveVqcodec(model=model, kbps=rate / 1000, loss=loss, redundancy=redundancy)
        for loss in plan.losses
        for rate in nearest
        for redundancy in plan.redundancies
    ]


def others_under_loss(baselines: Sequence[str], plan: LossPlan) -> tuple[list[System], list[str]]:
    """Opus under the same losses, and notes on codecs that cannot be tried under loss."""
    found: list[System] = []
    notes: list[str] = []
    for spec in baselines:
        try:
            found += _under_loss(spec, plan)
        except Unavailable as reason:
            notes.append(f"left out: {reason}")
    return found, notes


def _under_loss(spec: str, plan: LossPlan) -> Iterator[System]:
    if spec.partition(":")[0] != "opus":
        raise Unavailable(f"{spec}: only opus has packets and a concealment that can be tried under loss")
    check()
    for system in parse(spec):
        assert isinstance(system, Opus)
        yield from (LiveOpus(system.rate_kbps, loss) for loss in plan.losses)
