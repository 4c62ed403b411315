"""Outputs that appear whole or not at all: a temporary file beside the target, renamed at success.

Imports only errors.py, so that every other module may import it.
"""

from __future__ import annotations

import contextlib
import io
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from .errors import VqcodecError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

STANDARD_STREAM = "-"


@contextlib.contextmanager
def open_input(source: str | os.PathLike[str]) -> Iterator[tuple[BinaryIO, str]]:
    """Open `source` for reading bytes, "-" being standard input, and say what to call it in messages.

    Raises:
        VqcodecError: it cannot be read.
    """
    name = os.fspath(source)
    if name == STANDARD_STREAM:
        yield sys.stdin.buffer, "standard input"
        return
    try:
        file = open(source, "rb")  # noqa: SIM115
    except OSError as error:
        raise VqcodecError(f"cannot read {name}: {error.strerror or error}") from error
    with file:
        yield file, name


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

    A crash or Ctrl-C leaves either the old file or the new one. Symbolic links are followed; a device
    or a named pipe (`/dev/null`) is written directly. The mode of a new file is what the umask allows.
    With `durable` that holds for a power cut, too, which else may leave an empty file under the name.

    Raises:
        VqcodecError: `path` is a folder, lies in a folder that does not exist or may not be written,
            exists already while `force` is false, or the disk is full (here or during the body).
    """
    check_output(path, force)
    name = os.fspath(path)
    if _mode(path) and not os.path.isfile(path):  # a device or a pipe, as /dev/fd/63, whose real path is none
        with _buffered(_open(path, "wb", name)) as output:
            yield output
        return
    target = Path(os.path.realpath(path))
    temporary = target.parent / f".{os.urandom(8).hex()}.part"
    raw = _open(temporary, "xb", name)
    try:
        with _buffered(raw) as output:
            yield output
            if durable:
                with _named_errors(name):
                    output.flush()
                    os.fsync(output.fileno())
        with _named_errors(name):
            os.replace(temporary, target)
            if durable:
                _sync_folder(target.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


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
    sys.stdout.flush()
    try:
        descriptor = os.dup(sys.stdout.fileno())
    except (OSError, ValueError):  # replaced by an object in memory
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    with _buffered(_open(descriptor, "wb", "standard output")) as output:
        yield output
