"""Outputs that appear whole or not at all: a temporary file beside the target, renamed at success.

Imports only errors.py, so that every other module may import it.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import io
import itertools
import os
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from .errors import VqcodecError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

if sys.platform != "win32":
    import fcntl

STANDARD_STREAM = "-"

_TEMPORARY_PREFIX, _TEMPORARY_SUFFIX = ".vqcodec-", ".part"
_FRESH_S = 10.0


@contextlib.contextmanager
def open_input(source: str | os.PathLike[str]) -> Iterator[tuple[BinaryIO, str]]:
    """Open `source` for reading bytes, "-" being standard input, and say what to call it in messages.

    Raises:
        VqcodecError: it cannot be read.
    """
    name = os.fspath(source)
    if name == STANDARD_STREAM:
        yield standard_input(), "standard input"
        return
    try:
        file = open(source, "rb")  # noqa: SIM115
    except OSError as error:
        raise VqcodecError(f"cannot read {name}: {error.strerror or error}") from error
    with file:
        yield file, name


def standard_input() -> BinaryIO:
    """Return standard input, for bytes.

    Raises:
        VqcodecError: it is closed, or cannot be read.
    """
    try:
        if sys.stdin is None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        with contextlib.suppress(io.UnsupportedOperation):  # replaced by an object in memory
            os.read(sys.stdin.fileno(), 0)
    except OSError as error:
        raise VqcodecError(f"cannot read standard input: {error.strerror}") from error
    return sys.stdin.buffer


@contextlib.contextmanager
def open_output(target: str | os.PathLike[str], force: bool = False) -> Iterator[BinaryIO]:
    """Open `target` for writing bytes: "-" is standard output, anything else an `atomic_output`.

    Raises:
        VqcodecError: the target cannot be written, or exists already and `force` is false.
    """
    opened = _standard_output() if os.fspath(target) == STANDARD_STREAM else atomic_output(target, force)
    with opened as output:
        yield output


@contextlib.contextmanager
def atomic_output(path: str | os.PathLike[str], force: bool = False, durable: bool = False) -> Iterator[BinaryIO]:
    """Open a temporary file beside `path`; rename it to `path` if the body succeeds, else remove it.

    A crash or Ctrl-C leaves either the old file or the new one; what a killed process left behind is removed by the
    next that writes into the folder. Symbolic links are followed; a device or a named pipe (`/dev/null`) is written
    directly. The mode of a new file is what the umask allows. With `durable` that holds for a power cut, too, which
    else may leave an empty file under the name.

    Raises:
        VqcodecError: `path` is a folder, lies in a folder that does not exist or may not be written, exists already
            while `force` is false (if only at the end, the output is kept under a name beside it), or the disk is full
            (here or during the body).
    """
    check_output(path, force)
    name = os.fspath(path)
    if _mode(path) and not os.path.isfile(path):  # a device or a pipe, as /dev/fd/63, whose real path is none
        with _buffered(_open(path, "wb", name)) as output:
            yield output
        return
    target = Path(os.path.realpath(path))
    _remove_abandoned(target.parent)
    temporary, raw = _temporary(target.parent, name)
    try:
        with _locked(raw):
            with _buffered(raw) as output:
                yield output
                if durable:
                    with _named_errors(name):
                        output.flush()
                        os.fsync(output.fileno())
            with _named_errors(name):
                _publish(temporary, target, force)
                if durable:
                    _sync_folder(target.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _publish(temporary: Path, target: Path, force: bool) -> None:
    """Give a finished file its name. Without `force` that replaces nothing; then the file gets another name."""
    if force:
        os.replace(temporary, target)
        return
    try:
        _move(temporary, target)
    except FileExistsError:
        kept = _beside(temporary, target)
        problem = f"{target} exists already, and appeared only meanwhile; this output is kept as {kept.name}"
        raise VqcodecError(f"{problem}; add --force to overwrite") from None


def _move(temporary: Path, target: Path) -> None:
    """Rename a file; FileExistsError if there is one of that name, however late it came."""
    try:
        os.link(temporary, target)
    except FileExistsError:
        raise
    except (OSError, NotImplementedError):  # a file system without links: nobody else can take a name that is taken
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        try:
            os.replace(temporary, target)
        except OSError:
            os.unlink(target)
            raise
    else:
        temporary.unlink()


def _beside(temporary: Path, target: Path) -> Path:
    """Give a file the first free name of `target` with a number."""
    for number in itertools.count(1):
        kept = target.with_name(f"{target.stem}-{number}{target.suffix}")
        with contextlib.suppress(FileExistsError):
            _move(temporary, kept)
            return kept
    raise AssertionError


# Temporary files. Their writers hold a lock, which ends with the process, whatever ends that.


def _temporary(folder: Path, name: str) -> tuple[Path, _NamedFile]:
    """Open a new temporary file; `name` is that of the target, for messages."""
    path = folder / f"{_TEMPORARY_PREFIX}{os.urandom(8).hex()}{_TEMPORARY_SUFFIX}"
    return path, _open(path, "xb", name)


@contextlib.contextmanager
def _locked(file: _NamedFile) -> Iterator[None]:
    """Lock a file until the body ends, though the file be closed before; without effect where there are no locks."""
    if sys.platform == "win32":
        yield
        return
    descriptor = os.dup(file.fileno())
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@functools.cache
def _remove_abandoned(folder: Path) -> None:
    """Remove this user's temporary files in a folder whose writers are gone, once in the life of a process."""
    if sys.platform == "win32":
        return
    for path in folder.glob(f"{_TEMPORARY_PREFIX}*{_TEMPORARY_SUFFIX}"):
        with contextlib.suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                if _is_old(os.fstat(descriptor)):
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    path.unlink()
            finally:
                os.close(descriptor)


def _is_old(facts: os.stat_result) -> bool:
    """Tell whether a file is this user's, and too old for its writer not to have locked it yet."""
    return stat.S_ISREG(facts.st_mode) and facts.st_uid == os.geteuid() and time.time() - facts.st_mtime > _FRESH_S


def _sync_folder(folder: Path) -> None:
    """Make the names in a folder outlast a power cut, where the system has a way to."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def check_output(path: str | os.PathLike[str], force: bool = False) -> None:
    """Raise at once what `atomic_output` would raise, as far as that can be known without writing.

    Raises:
        VqcodecError: `path` is a folder, lies in none, or exists already while `force` is false.
    """
    with _named_errors(os.fspath(path)):
        mode = _mode(path)
        if stat.S_ISDIR(mode):
            raise VqcodecError(f"{path} is a folder; name a file to write")
        if stat.S_ISREG(mode) and not force:
            raise VqcodecError(f"{path} exists already; add --force to overwrite it")
        if not mode and not os.path.isdir(os.path.dirname(os.path.realpath(path))):
            raise VqcodecError(f"cannot write {path}: {Path(path).parent} is not a folder")


def check_folder(path: str | os.PathLike[str], force: bool = False) -> None:
    """Raise at once what stands in the way of a folder that several files are written to.

    Raises:
        VqcodecError: `path` is no folder, lies in none, or holds files already while `force` is false.
    """
    with _named_errors(os.fspath(path)):
        mode = _mode(path)
        if mode and not stat.S_ISDIR(mode):
            raise VqcodecError(f"{path} is a file; name a folder to write to")
        if mode and not force and os.listdir(path):
            raise VqcodecError(f"{path} holds files already; add --force to overwrite them")
        if not mode and not os.path.isdir(os.path.dirname(os.path.realpath(path))):
            raise VqcodecError(f"cannot write {path}: {Path(path).parent} is not a folder")


def _mode(path: str | os.PathLike[str]) -> int:
    """The kind of file that `path` is, for the functions of `stat`; 0 if there is none."""
    try:
        return os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return 0


class _NamedFile(io.FileIO):
    """A file whose failures to write (a full disk, a closed pipe) are VqcodecErrors naming the target."""

    target = ""

    def write(self, data: ReadableBuffer, /) -> int:
        with _named_errors(self.target):
            return super().write(data)

    def close(self) -> None:
        with _named_errors(self.target):
            super().close()


@contextlib.contextmanager
def _named_errors(name: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:  # a ValueError is a null character in the name
        reason = (isinstance(error, OSError) and error.strerror) or str(error)
        raise VqcodecError(f"cannot write {name}: {reason}") from error


def _open(file: str | os.PathLike[str] | int, mode: str, name: str) -> _NamedFile:
    with _named_errors(name):
        raw = _NamedFile(file, mode)
    raw.target = name
    return raw


@contextlib.contextmanager
def _buffered(raw: _NamedFile) -> Iterator[BinaryIO]:
    """Buffer `raw`: flushed when the body ends well, dropped after an exception, closed in any case."""
    with raw:
        output = io.BufferedWriter(raw)
        yield cast(BinaryIO, output)
        output.flush()


@contextlib.contextmanager
def _standard_output() -> Iterator[BinaryIO]:
    """Standard output behind a buffer of its own, so that after an error nothing is left to fail at exit."""
    if sys.stdout is None:
        raise VqcodecError(f"cannot write standard output: {os.strerror(errno.EBADF)}")
    sys.stdout.flush()
    try:
        descriptor = os.dup(sys.stdout.fileno())
    except (OSError, ValueError):  # replaced by an object in memory
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    with _buffered(_open(descriptor, "wb", "standard output")) as output:
        yield output
