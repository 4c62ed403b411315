"""Standard input, output and error where they are closed or full."""

import contextlib
import io
import os
import sys
from typing import TextIO


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


def drop(stream: TextIO) -> None:
    """Let what is left in the buffer of a stream go nowhere, so that nothing fails once more at exit."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
