"""How much of the CPUs a control group of Linux, such as a container, may use."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

SELF = Path("/proc/self/cgroup")
ROOT = Path("/sys/fs/cgroup")


def cpu_limit() -> float | None:
    """Return the number of CPUs, a fraction perhaps, that the groups of this process may use; None without a limit."""
    limits = [limit for folder in _folders() if (limit := _limit(folder)) is not None]
    return min(limits, default=None)


def _folders() -> Iterator[Path]:
    """The folders of the groups that this process is in, and of those around them, of both versions of the system."""
    try:
        lines = SELF.read_text().splitlines()
    except OSError:  # not on Linux
        return
    for line in lines:
        _, controllers, name = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = ROOT / controllers if controllers else ROOT
        inner = PurePosixPath(name.lstrip("/"))
        yield from (root / part for part in (inner, *inner.parents))


def _limit(folder: Path) -> float | None:
    """The limit of one group: `cpu.max` holds quota and period in the second version of the system, in µs each."""
    with contextlib.suppress(OSError, ValueError):
        quota, period = (folder / "cpu.max").read_text().split()
        return int(quota) / int(period)  # a ValueError for "max"
    with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
        quota = (folder / "cpu.cfs_quota_us").read_text()
        if int(quota) > 0:  # -1 stands for no limit
            return int(quota) / int((folder / "cpu.cfs_period_us").read_text())
    return None
