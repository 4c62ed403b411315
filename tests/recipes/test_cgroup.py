"""Limits of containers on the use of CPUs."""

from pathlib import Path

import pytest

from vqcodec.recipes import cgroup, parallel


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place for files as Linux has them."""
    monkeypatch.setattr(cgroup, "SELF", tmp_path / "self")
    monkeypatch.setattr(cgroup, "ROOT", tmp_path / "root")
    return tmp_path


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_the_tightest_group_counts(system: Path) -> None:
    write(system / "self", "0::/outer/inner\n")
    write(system / "root/outer/inner/cpu.max", "max 100000\n")
    assert cgroup.cpu_limit() is None
    write(system / "root/outer/cpu.max", "250000 100000\n")
    assert cgroup.cpu_limit() == 2.5
    write(system / "root/cpu.max", "50000 100000\n")
    assert cgroup.cpu_limit() == 0.5


def test_the_first_version_of_the_system(system: Path) -> None:
    write(system / "self", "5:memory:/a\n4:cpu,cpuacct:/a\n")
    write(system / "root/cpu,cpuacct/a/cpu.cfs_quota_us", "-1\n")
    write(system / "root/cpu,cpuacct/a/cpu.cfs_period_us", "100000\n")
    assert cgroup.cpu_limit() is None
    write(system / "root/cpu,cpuacct/a/cpu.cfs_quota_us", "300000\n")
    assert cgroup.cpu_limit() == 3


def test_without_groups(system: Path) -> None:
    assert cgroup.cpu_limit() is None


def test_usable_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel.os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    for limit, cpus in {None: 8, 16.0: 8, 2.5: 2, 0.3: 1}.items():
        monkeypatch.setattr(cgroup, "cpu_limit", lambda limit=limit: limit)
        assert parallel.usable_cpus() == cpus
