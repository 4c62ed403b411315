"""Outputs appear whole or not at all, and every failure is one line that names the target."""

from __future__ import annotations

import errno
import io
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from vqcodec.errors import VqcodecError
from vqcodec.files import _remove_abandoned, atomic_output, check_output, open_output


def test_a_new_file_appears_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "out.vq"
    with atomic_output(target) as file:
        file.write(b"abc")
        assert not target.exists()
    assert target.read_bytes() == b"abc"
    assert os.listdir(tmp_path) == ["out.vq"]


def test_the_output_can_seek(tmp_path: Path) -> None:
    with atomic_output(tmp_path / "out") as file:
        file.write(b"....tail")
        file.seek(0)
        file.write(b"head")
    assert (tmp_path / "out").read_bytes() == b"headtail"


def test_an_existing_file_needs_force(tmp_path: Path) -> None:
    target = tmp_path / "out.vq"
    target.write_bytes(b"old")
    with pytest.raises(VqcodecError, match=r"out\.vq exists already; add --force"), atomic_output(target):
        pytest.fail("the body must not run")
    assert target.read_bytes() == b"old"
    with atomic_output(target, force=True) as file:
        file.write(b"new")
        file.flush()
        assert target.read_bytes() == b"old"
    assert target.read_bytes() == b"new"


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_an_exception_leaves_the_old_file(tmp_path: Path, error: type[BaseException]) -> None:
    target = tmp_path / "out.vq"
    target.write_bytes(b"old")
    with pytest.raises(error), atomic_output(target, force=True) as file:
        file.write(b"new")
        raise error
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["out.vq"]


def test_an_error_of_the_body_is_not_blamed_on_the_target(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="elsewhere"), atomic_output(tmp_path / "out"):
        raise OSError(errno.EIO, "elsewhere")
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(os.name != "posix", reason="file modes are of POSIX")
def test_the_mode_follows_the_umask(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        with atomic_output(tmp_path / "out") as file:
            file.write(b"abc")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o640


@pytest.mark.parametrize("force", [False, True])
def test_impossible_targets(tmp_path: Path, force: bool) -> None:
    (tmp_path / "file").write_bytes(b"old")
    for name, problem in {
        "": "is a folder",
        "none/out": "none is not a folder",
        "file/out": "file is not a folder",
        "nul\0l": "cannot write",
        "x" * 300: "cannot write",
    }.items():
        with pytest.raises(VqcodecError, match=problem) as caught, atomic_output(tmp_path / name, force):
            pytest.fail("the body must not run")
        assert str(tmp_path) in str(caught.value)
        assert "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == ["file"]


def test_check_output_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(b"old")
    check_output(tmp_path / "new")
    check_output(tmp_path / "old", force=True)
    with pytest.raises(VqcodecError, match="exists already"):
        check_output(tmp_path / "old")
    assert os.listdir(tmp_path) == ["old"]


def test_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    if os.access(locked, os.W_OK):
        pytest.skip("this user may write everywhere")
    with (
        pytest.raises(VqcodecError, match=r"cannot write .*locked.out: Permission denied"),
        atomic_output(locked / "out"),
    ):
        pytest.fail("the body must not run")


def test_a_symbolic_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "out").write_bytes(b"old")
    link = tmp_path / "link"
    try:
        link.symlink_to(tmp_path / "real" / "out")
    except OSError:
        pytest.skip("no symbolic links here")
    with atomic_output(link, force=True) as file:
        file.write(b"new")
    assert link.is_symlink()
    assert (tmp_path / "real" / "out").read_bytes() == b"new"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_full_device() -> None:
    with pytest.raises(VqcodecError, match="cannot write /dev/full: No space left"), atomic_output("/dev/full") as file:
        file.write(bytes(100))
    with pytest.raises(VqcodecError, match="cannot write /dev/full: No space left"), atomic_output("/dev/full") as file:
        file.write(bytes(1_000_000))
    assert stat.S_ISCHR(os.stat("/dev/full").st_mode)


LIMITED = """
import resource, sys
from vqcodec.errors import VqcodecError
from vqcodec.files import atomic_output
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    with atomic_output(sys.argv[1], force=True) as file:
        for _ in range(int(sys.argv[2])):
            file.write(bytes(100))
except VqcodecError as error:
    print(error, end="")
"""


@pytest.mark.skipif(os.name != "posix", reason="size limits are of POSIX")
@pytest.mark.parametrize("writes", [101, 1000])
def test_a_file_that_grows_too_large_leaves_the_old_one(tmp_path: Path, writes: int) -> None:
    target = tmp_path / "out"
    target.write_bytes(b"old")
    command = [sys.executable, "-c", LIMITED, str(target), str(writes)]
    said = subprocess.run(command, capture_output=True, text=True, check=True)
    assert said.stdout == f"cannot write {target}: File too large"
    assert said.stderr == ""
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["out"]


PIPED = """
import sys
from vqcodec.errors import VqcodecError
from vqcodec.files import open_output
try:
    with open_output("-") as file:
        for _ in range(int(sys.argv[1])):
            file.write(bytes(range(256)))
except VqcodecError as error:
    sys.exit(str(error))
"""


def test_standard_output() -> None:
    piped = subprocess.run([sys.executable, "-c", PIPED, "3"], capture_output=True, check=True)
    assert piped.stdout == bytes(range(256)) * 3


@pytest.mark.skipif(os.name != "posix", reason="the messages are of POSIX")
@pytest.mark.parametrize("writes", ["1", "10000"])
def test_standard_output_closed_by_its_reader(writes: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as pipe:
        command = [sys.executable, "-c", PIPED, writes]
        piped = subprocess.run(command, stdout=pipe, stderr=subprocess.PIPE, text=True, check=False)
    assert piped.returncode == 1
    assert piped.stderr == "cannot write standard output: Broken pipe\n"


def test_standard_output_replaced_by_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(memory))
    with open_output("-") as file:
        file.write(b"abc")
    assert memory.getvalue() == b"abc"


# Who comes first.


def _without_links(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)


@pytest.mark.parametrize("links", [True, False])
def test_a_file_that_appears_meanwhile_is_not_replaced(
    tmp_path: Path, links: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not links:
        _without_links(monkeypatch)
    target = tmp_path / "out.vq"
    (tmp_path / "out-1.vq").write_bytes(b"older")
    with (
        pytest.raises(VqcodecError, match=r"out\.vq exists already.* kept as out-2\.vq"),
        atomic_output(target) as file,
    ):
        file.write(b"mine")
        target.write_bytes(b"theirs")
    kept = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert kept == {"out.vq": b"theirs", "out-1.vq": b"older", "out-2.vq": b"mine"}


@pytest.mark.parametrize("links", [True, False])
def test_of_two_writers_one_has_the_name(tmp_path: Path, links: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not links:
        _without_links(monkeypatch)
    target = tmp_path / "out"
    with pytest.raises(VqcodecError, match="kept as out-1"), atomic_output(target) as slow:
        with atomic_output(target) as quick:
            quick.write(b"quick")
        slow.write(b"slow")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"out": b"quick", "out-1": b"slow"}


def test_without_links_a_failure_leaves_no_empty_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    _without_links(monkeypatch)
    monkeypatch.setattr(os, "replace", full)
    with (
        pytest.raises(VqcodecError, match=r"cannot write .*out: No space left"),
        atomic_output(tmp_path / "out") as file,
    ):
        file.write(b"abc")
    assert list(tmp_path.iterdir()) == []


# Temporary files that were left behind.

KILLED = """
import os, signal, sys
from vqcodec.files import atomic_output
with atomic_output(sys.argv[1], force=True) as file:
    file.write(bytes(100_000))
    if sys.argv[2] == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    print("writing", flush=True)
    sys.stdin.read()
"""


def _aged(folder: Path) -> None:
    for path in folder.glob(".*.part"):
        os.utime(path, (0, 0))


@pytest.mark.skipif(os.name != "posix", reason="locks and signals are of POSIX")
def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path / "out")]
    subprocess.run([*command, "killed"], check=False)
    [left] = tmp_path.iterdir()
    (tmp_path / ".other.part").write_bytes(b"another program's")
    with atomic_output(tmp_path / "first") as file:  # it may just have begun
        file.write(b"abc")
    assert left.exists()
    _aged(tmp_path)
    _remove_abandoned.cache_clear()
    with atomic_output(tmp_path / "second") as file:
        file.write(b"abc")
    assert sorted(os.listdir(tmp_path)) == [".other.part", "first", "second"]


@pytest.mark.skipif(os.name != "posix", reason="locks are of POSIX")
def test_what_is_being_written_is_not_removed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path / "out"), "alive"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        assert process.stdout.readline() == b"writing\n"
        _aged(tmp_path)
        _remove_abandoned.cache_clear()
        with atomic_output(tmp_path / "other") as file:
            file.write(b"abc")
    assert process.returncode == 0
    assert sorted(os.listdir(tmp_path)) == ["other", "out"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_trap_instead_of_a_temporary_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / ".vqcodec-0.part")
    (tmp_path / ".vqcodec-1.part").symlink_to(tmp_path / "precious")
    (tmp_path / "precious").write_bytes(b"abc")
    os.utime(tmp_path / "precious", (0, 0))
    with atomic_output(tmp_path / "out") as file:
        file.write(b"abc")
    assert sorted(os.listdir(tmp_path)) == [".vqcodec-0.part", ".vqcodec-1.part", "out", "precious"]
