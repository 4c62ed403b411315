"""The content of a prepared corpus, and what was left out of it: a pure summary of the lists of its shards."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .shard_format import Facts, Shard, SourceFile

FULL_SCALE_DB = -0.01
"""A recording that reaches this peak was probably clipped."""

NO_SPLIT = "none"
"""Name for recordings without an official part."""


@dataclass(frozen=True)
class CorpusSummary:
    """A corpus, or all of them together, in numbers."""

    files: int
    """Files in the folders that were searched."""
    kept: int
    """Files of which something was kept."""
    speakers: int
    recordings: int
    """Recordings in the shards; a file that is long, or has long pauses, was cut into several."""
    hours_found: float
    hours: float
    hours_silent: float
    """Cut away as silence, or in files that are nothing else."""
    hours_by_split: dict[str, float]
    """Hours by official part."""
    dropped: dict[str, int]
    """Files by the reason: "unreadable", "silent", "duplicate"."""
    source_rates: dict[int, int]
    """Files by their sample rate in Hz."""
    level_db: tuple[float, float, float]
    """5th percentile, median and 95th percentile of the recordings' levels."""
    clipped: int
    """Recordings that reach full scale."""

    @classmethod
    def of(cls, sources: Sequence[SourceFile], facts: Sequence[Facts]) -> CorpusSummary:
        """Count and measure."""
        kept = [source for source in sources if not source.dropped]
        by_split: defaultdict[str, float] = defaultdict(float)
        for fact in facts:
            by_split[fact.split or NO_SPLIT] += fact.samples / fact.sample_rate / 3600
        cut = [source.silence_s for source in sources if source.dropped in ("", "silent")]
        levels = np.percentile([fact.level_db for fact in facts], [5, 50, 95]) if facts else np.zeros(3)
        return cls(
            files=len(sources),
            kept=len(kept),
            speakers=len({source.speaker for source in kept}),
            recordings=len(facts),
            hours_found=sum(source.duration_s for source in sources) / 3600,
            hours=sum(by_split.values()),
            hours_silent=sum(cut) / 3600,
            hours_by_split=dict(sorted(by_split.items())),
            dropped=dict(Counter(source.dropped for source in sources if source.dropped)),
            source_rates=dict(sorted(Counter(source.sample_rate for source in sources if source.sample_rate).items())),
            level_db=(round(levels[0], 1), round(levels[1], 1), round(levels[2], 1)),
            clipped=sum(fact.peak_db >= FULL_SCALE_DB for fact in facts),
        )


@dataclass(frozen=True)
class Inventory:
    """Everything about a prepared corpus."""

    total: CorpusSummary
    corpora: dict[str, CorpusSummary]
    """Corpora by name."""
    dropped: list[dict[str, str]]
    """Each file that nothing was kept of: path, reason, detail."""
    shards: int
    bytes: int

    @classmethod
    def of(cls, shards: Iterable[Shard]) -> Inventory:
        """Read it off the lists of the shards."""
        shards = list(shards)
        sources = [source for shard in shards for source in shard.sources]
        facts = [entry.facts for shard in shards for entry in shard.entries]
        names = sorted({source.corpus for source in sources})
        corpora = {
            name: CorpusSummary.of([s for s in sources if s.corpus == name], [f for f in facts if f.corpus == name])
            for name in names
        }
        dropped = [{"path": s.path, "reason": s.dropped, "detail": s.detail} for s in sources if s.dropped]
        return cls(
            CorpusSummary.of(sources, facts), corpora, dropped, len(shards), sum(shard.bytes for shard in shards)
        )

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return asdict(self)
