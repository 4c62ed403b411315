"""Messages of the command line, all of them on standard error, and errors as one line and an exit code."""

import contextlib
import os
import sys
import traceback
from collections.abc import Iterator

import typer

from vqcodec.errors import VqcodecError

from .streams import drop

FAILURE = 1
INTERRUPTED = 130


verbose = False
"""Whether errors show where in the program they came up."""


def printable(text: str) -> str:
    """Text whose characters are all visible: what could command the terminal, such as an escape, as "\\x1b".

    Names of files, speakers and models come from others. All that is printed goes through here, lines apart.
    """
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def show(text: str) -> None:
    """Print lines on standard output."""
    print("\n".join(map(printable, text.split("\n"))))


def say(text: str) -> None:
    """Print a line on standard error; where that is not possible, nobody hears it."""
    try:
        print(printable(text), file=sys.stderr, flush=True)
    except OSError:
        drop(sys.stderr)


def note(text: str) -> None:
    """Print a remark that the user may want to know, under the name of the program."""
    say(f"vqcodec: {text}")


def error(text: str) -> None:
    """Print an error, in one line whatever the text."""
    say(f"vqcodec: error: {' '.join(text.split())}")


def on_terminal() -> bool:
    """Tell whether progress is worth showing: standard error is a terminal."""
    return sys.stderr is not None and sys.stderr.isatty()


def leads() -> bool:
    """Tell whether this process talks: the first of several that train together, or a single process."""
    return os.environ.get("RANK", "0") == "0"


def explain(failure: BaseException) -> str | None:
    """Say in words what went wrong, or None if the fault is not of the input but of the program.

    A failed allocation or a lost GPU comes from torch as a RuntimeError, hence the look at its text.
    """
    if isinstance(failure, VqcodecError):
        return str(failure)
    if isinstance(failure, OSError):
        place = f"{failure.filename}: " if failure.filename is not None else ""
        return f"{place}{failure.strerror or failure}"
    if isinstance(failure, MemoryError):
        return "not enough memory"
    if isinstance(failure, RuntimeError):
        text = str(failure)
        if "out of memory" in text or "can't allocate memory" in text or "CUDA error" in text:
            return text.splitlines()[0]
    return None


@contextlib.contextmanager
def reported() -> Iterator[None]:
    """Turn what the body raises into one line and an exit code; only faults of the program pass through."""
    try:
        yield
        sys.stdout.flush()
    except KeyboardInterrupt:
        note("interrupted")
        raise typer.Exit(INTERRUPTED) from None
    except typer.Exit:
        raise
    except Exception as failure:
        if _is_broken_pipe(failure):  # whoever reads has enough: nothing to talk about
            drop(sys.stdout)
            raise typer.Exit(FAILURE) from None
        text = explain(failure)
        if text is None:
            raise
        if verbose:
            for line in "".join(traceback.format_exception(failure)).splitlines():
                say(line)
        error(text)
        if isinstance(failure, OSError):
            drop(sys.stdout)
        raise typer.Exit(FAILURE) from None


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
            error(f"cannot write standard output: {reason}")
        sys.exit(FAILURE)
    finally:
        _flush_errors()


def _is_broken_pipe(failure: BaseException) -> bool:
    return isinstance(failure, BrokenPipeError) or isinstance(failure.__cause__, BrokenPipeError)


def _flush_errors() -> None:
    try:
        sys.stderr.flush()
    except OSError:
        drop(sys.stderr)
