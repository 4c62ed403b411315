"""Programs of the command line: whether they are there, which version, and the CPU seconds of a run."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from vqcodec.errors import VqcodecError

from .base import Unavailable


def require(codec: str, package: str, *programs: str) -> None:
    """Check that the programs of a codec can be found.

    Raises:
        Unavailable: one cannot; the message names the Debian package that has it.
    """
    for program in programs:
        if shutil.which(program) is None:
            raise Unavailable(f"{codec} needs the program {program}: Debian package {package}")


def run(command: Sequence[str | Path]) -> float:
    """Run a program to its end, and return the CPU seconds it took, of user and system together.

    Raises:
        Unavailable: there is no such program.
        VqcodecError: it failed; the message ends with the last line that it wrote to standard error.
    """
    program = str(command[0])
    with _started(command) as process:
        try:
            assert process.stderr is not None
            said = process.stderr.read()
            # wait4 counts this process alone, whatever else was started meanwhile.
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        raise VqcodecError(f"{program} failed ({_fate(process.returncode)}): {last_line(said) or 'without a word'}")
    return usage.ru_utime + usage.ru_stime


@functools.cache
def says(program: str, *arguments: str) -> str:
    """Return the standard output of a program or, if empty, its standard error; "" if it cannot be started."""
    try:
        done = subprocess.run([program, *arguments], stdin=subprocess.DEVNULL, capture_output=True, env=_environment())
    except OSError:
        return ""
    return (done.stdout or done.stderr).decode(errors="replace")


def version(program: str, pattern: str, text: str) -> str:
    """The number that a regular expression finds in what a program says; "?" where it finds none."""
    found = re.search(pattern, text)
    return f"{program} {found[1] if found else '?'}"


def debian_version(program: str, package: str) -> str:
    """Return the version of a program's Debian package, for programs that do not report it themselves."""
    return version(program, r"^(\S+)$", says("dpkg-query", "--show", "--showformat=${Version}", package))


def last_line(said: bytes) -> str:
    """The last line with anything in it; a progress display rewrites its line after a carriage return."""
    lines = [line.strip() for line in re.split(r"[\r\n]+", said.decode(errors="replace"))]
    return next((line for line in reversed(lines) if line), "")


def _started(command: Sequence[str | Path]) -> subprocess.Popen[bytes]:
    """Start a program in a process group of its own, so that Ctrl-C does not reach it."""
    nothing = subprocess.DEVNULL
    try:
        return subprocess.Popen(
            command, stdin=nothing, stdout=nothing, stderr=subprocess.PIPE, env=_environment(), process_group=0
        )
    except OSError as error:
        raise Unavailable(f"the program {command[0]} cannot be started: {error.strerror or error}") from error


def _environment() -> dict[str, str]:
    return {**os.environ, "LC_ALL": "C"}


def _fate(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"
