"""What becomes of the files: the outcome of each, and their totals."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from ..terminal.messages import error, note
from .places import Conversion


@dataclass(frozen=True)
class Outcome:
    """A file that was converted."""

    duration_s: float
    """Seconds of audio."""
    vq_bytes: int
    """Size of the .vq file that was written or read."""
    damage: str | None = None
    """Why a salvaged file is not complete."""
    summary: str | None = None
    """What to say of the file, if not the usual."""


@dataclass(frozen=True)
class News:
    """What is known of one of many files: how far it is, its outcome, or why it failed."""

    place: int
    """Where the file stands in the list."""
    done_s: float = 0.0
    """Seconds of audio that are done, of a file that is being converted."""
    outcome: Outcome | None = None
    failure: str | None = None


@dataclass
class Totals:
    """Counts of the files that are done, and of their audio."""

    files: int = 0
    failed: int = 0
    audio_s: float = 0.0
    bytes: int = 0
    started: float = field(default_factory=time.perf_counter)
    going: dict[int, float] = field(default_factory=dict)
    """Seconds of audio that are done of files that are being converted, by their places."""

    def add(self, file: Conversion, outcome: Outcome) -> None:
        """Count a file that is done, and say what was wrong with one that was salvaged."""
        self.files += 1
        self.audio_s += outcome.duration_s
        self.bytes += outcome.vq_bytes
        if outcome.damage is not None:
            note(f"{file.source} is damaged; {outcome.duration_s:.1f} s of audio were saved ({outcome.damage})")

    def take(self, news: News, file: Conversion) -> None:
        """Take in the news of a file; a failure is reported and counted."""
        if news.outcome is None and news.failure is None:
            self.going[news.place] = news.done_s
            return
        self.going.pop(news.place, None)
        if news.outcome is not None:
            self.add(file, news.outcome)
        if news.failure is not None:
            error(news.failure if file.source in news.failure else f"{file.source}: {news.failure}")
            self.failed += 1

    def speed(self, more_s: float = 0.0) -> float:
        """Seconds of audio per second, with `more_s` and those of files that are not done yet."""
        done_s = self.audio_s + sum(self.going.values()) + more_s
        return done_s / max(time.perf_counter() - self.started, 1e-9)

    def __str__(self) -> str:
        kbps = self.bytes * 8e-3 / self.audio_s if self.audio_s else 0.0
        facts = f"{_duration(self.audio_s)}, {self.bytes} bytes, {kbps:.2f} kbit/s"
        return f"{facts}, {self.speed():.0f} x real time"


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 600 else f"{seconds / 3600:.2f} h"
