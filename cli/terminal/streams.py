"""Standard input, output and error where they are closed or full: what the command then says, and its exit code."""

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from typing import TextIO

FAILURE = 1


def open_closed() -> None:
    """Give the standard streams that the caller closed a place, so that no file takes their numbers.

    To use standard input or output still fails, as with a closed file; what goes to standard error is lost.
    """
    places = (("stdin", "r", os.O_WRONLY), ("stdout", "w", os.O_RDONLY), ("stderr", "w", os.O_WRONLY))
    for name, mode, flags in places:
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.open(os.devnull, flags), mode))  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):  # a file name may hold bytes that are not text
        sys.stdout.reconfigure(errors="backslashreplace")


@contextlib.contextmanager
def written() -> Iterator[None]:
    """End the program with an error if standard output cannot be written, whatever the body ends with."""
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except OSError as failure:
        drop(sys.stdout)
        if not isinstance(failure, BrokenPipeError):  # whoever reads has enough: nothing to talk about
            reason = failure.strerror or str(failure)
            say(f"vqcodec: error: cannot write standard output: {reason}")
        sys.exit(FAILURE)
    finally:
        _flush_errors()


def say(text: str) -> None:
    """Print a line on standard error; where that is not possible, nobody hears it."""
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        drop(sys.stderr)


def drop(stream: TextIO) -> None:
    """Let what is left in the buffer of a stream go nowhere, so that nothing fails once more at exit."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def _flush_errors() -> None:
    try:
        sys.stderr.flush()
    except OSError:
        drop(sys.stderr)
