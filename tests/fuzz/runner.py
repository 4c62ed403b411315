"""Try a parser with damaged input.

Guided by coverage where atheris is installed (`pip install '.[fuzz]'`), by chance elsewhere. An input that fails is
written to a file; its name is printed, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import multiprocessing
import resource
import sys
import tempfile
import time
import traceback
from ctypes import Structure, c_double, c_long
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from random import Random

from . import NAMES, Target, load, mutation

_PLAIN_SHARE = 0.125
"""Share of the inputs whose lengths and checksums nobody puts right."""

_MOST_MEMORY_MB = 2000
_MOST_SECONDS = 20
"""What a case may take, which is far more than any should."""


class _Counts(Structure):
    """What is known of the cases so far, in memory that the fuzzing process shares."""

    _fields_ = (("cases", c_long), ("longest_s", c_double))


class _Tried:
    """The check of a target, counted and timed in seconds of the processor."""

    def __init__(self, target: Target, counts: Synchronized[_Counts]) -> None:
        self._check = target.check
        self._counts = counts

    def __call__(self, data: bytes) -> None:
        begin = time.process_time()
        self._check(data)
        counts = self._counts.get_obj()
        counts.cases += 1
        counts.longest_s = max(counts.longest_s, time.process_time() - begin)


def by_chance(name: str, seconds: float, cases: int, seed: int, counts: Synchronized[_Counts]) -> None:
    """Try inputs changed at random; ends the process with code 1 at the first failure."""
    target, random = load(name), Random(seed)
    tried, until = _Tried(target, counts), time.monotonic() + seconds

    def change(data: bytes) -> bytes:
        return mutation.changed(data, random, target.inputs)

    for number in range(cases):
        data = random.choice(target.inputs)
        if number >= len(target.inputs):
            data = change(data) if random.random() < _PLAIN_SHARE else target.mutate(data, random, change)
        try:
            tried(data)
        except Exception:
            traceback.print_exc()
            failed = Path(f"crash-{hashlib.sha1(data).hexdigest()}")
            failed.write_bytes(data)
            sys.exit(f"{name}: see {failed}")
        if time.monotonic() > until:
            return


def by_coverage(name: str, seconds: float, cases: int, seed: int, counts: Synchronized[_Counts]) -> None:
    """Let atheris look for inputs that reach new code; it ends the process."""
    import atheris

    with atheris.instrument_imports(include=["vqcodec"]):
        target = load(name)
    limits = [f"-timeout={_MOST_SECONDS}", f"-rss_limit_mb={_MOST_MEMORY_MB}"]
    amount = [f"-max_total_time={int(seconds)}", f"-runs={cases}", f"-seed={seed}"]

    def mutate(data: bytes, most: int, seed: int) -> bytes:
        random = Random(seed)
        if random.random() < _PLAIN_SHARE:
            return bytes(atheris.Mutate(data, most))
        return target.mutate(data, random, lambda part: bytes(atheris.Mutate(part, max(most, len(part)))))[:most]

    with tempfile.TemporaryDirectory() as folder:
        for number, data in enumerate(target.inputs):
            (Path(folder) / f"{number:04}").write_bytes(data)
        atheris.Setup([name, *limits, *amount, "-verbosity=0", folder], _Tried(target, counts), custom_mutator=mutate)
        atheris.Fuzz()


def run(name: str, seconds: float, cases: int, seed: int, guided: bool) -> bool:
    """Run a target in a process of its own, say what came of it, and tell whether all went well."""
    processes = multiprocessing.get_context("spawn")
    counts = processes.Value(_Counts)
    way = by_coverage if guided else by_chance
    process = processes.Process(target=way, args=(name, seconds, cases, seed, counts))
    begin = time.monotonic()
    process.start()
    process.join()
    found, seconds = counts.get_obj(), time.monotonic() - begin
    memory_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(
        f"{name}: {found.cases} cases {way.__name__.replace('_', ' ')}, {found.cases / seconds:.0f} a second;"
        f" longest {found.longest_s:.3f} s, peak memory {memory_mb:.0f} MB",
        flush=True,
    )
    return process.exitcode == 0


def main() -> None:
    """Run what the command line names."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Try a parser with damaged input.")
    parser.add_argument("name", choices=[*NAMES, "all"])
    parser.add_argument("--seconds", type=float, default=1e8, help="for all targets together")
    parser.add_argument("--cases", type=int, default=1 << 30, help="for each target")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--by-chance", action="store_true", help="even where atheris is installed")
    options = parser.parse_args()
    guided = importlib.util.find_spec("atheris") is not None and not options.by_chance
    names = NAMES if options.name == "all" else [options.name]
    share_s = options.seconds / len(names)
    sys.exit(not all([run(name, share_s, options.cases, options.seed, guided) for name in names]))
