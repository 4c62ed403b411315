"""Damaged and hostile input for every parser: each module with a function `check` is a target.

A target has

- `seeds() -> list[bytes]`: small valid inputs, to begin with;
- `check(data: bytes) -> None`: gives the input to the parser. It swallows the project's own errors, lets every other
  exception through, and raises AssertionError where something is wrong with what the parser returned;
- optionally `mutate(data: bytes, random: Random, change: Callable[[bytes], bytes]) -> bytes`: takes the input apart,
  lets `change` damage a part of it, and puts it together again with right lengths and checksums, so that damage gets
  deep.

`python -m tests.fuzz NAME` runs one. `corpus/NAME/` keeps inputs that are worth trying again; the ordinary tests do so.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import NamedTuple

FOLDER = Path(__file__).parent
NAMES = sorted(path.stem for path in FOLDER.glob("*.py") if "\ndef check(" in path.read_text("utf-8"))
"""The targets."""

Change = Callable[[bytes], bytes]
Mutate = Callable[[bytes, Random, Change], bytes]


class Target(NamedTuple):
    """A parser to be tried, and what to begin with."""

    check: Callable[[bytes], None]
    inputs: list[bytes]
    """The seeds, and what the corpus keeps."""
    mutate: Mutate


def load(name: str) -> Target:
    """Import a target and read its corpus."""
    module = importlib.import_module(f"{__name__}.{name}")
    kept = [path.read_bytes() for path in sorted((FOLDER / "corpus" / name).glob("*"))]
    return Target(module.check, module.seeds() + kept, getattr(module, "mutate", _changed))


def _changed(data: bytes, random: Random, change: Change) -> bytes:
    return change(data)
