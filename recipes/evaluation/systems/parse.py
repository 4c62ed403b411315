"""Parsing of systems as a user writes them: "opus:6,9,12"."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from vqcodec.errors import ConfigError

from . import amrwb, codec2, lc3, neural, opus, speex
from .base import System
from .ceilings import Band, Reference


@dataclass(frozen=True)
class _Family:
    """A codec with settings, usually bitrates."""

    make: Callable[[float], System]
    default: tuple[float, ...]
    check: Callable[[], None] = lambda: None
    """Raises Unavailable where something is missing."""


_FAMILIES = {
    "band": _Family(Band, (4.0, 8.0)),
    "opus": _Family(opus.Opus, opus.DEFAULT_KBPS, opus.check),
    "opus-wb": _Family(partial(opus.Opus, wideband=True), opus.DEFAULT_KBPS, opus.check),
    "speex": _Family(speex.Speex, speex.DEFAULT_KBPS, speex.check),
    "codec2": _Family(codec2.Codec2, codec2.DEFAULT_KBPS, codec2.check),
    "amrwb": _Family(amrwb.AmrWb, amrwb.DEFAULT_KBPS, amrwb.check),
    "lc3": _Family(lc3.Lc3, lc3.DEFAULT_KBPS, lc3.check),
}

NAMES: tuple[str, ...] = (Reference.name, *_FAMILIES)
"""The families that need no weights, the reference first."""


def parse(spec: str) -> list[System]:
    """Make systems of one family, each once, in the order that is written.

    Args:
        spec: a name in `NAMES`, and kbit/s (of "band": kHz) after a colon, "opus:6,9,12"; or "encodec:", "dac:" or
            "mimi:" with a folder of weights, and kbit/s after an "@", "encodec:weights/encodec_24khz@1.5,3,6".
            Without numbers, the usual settings.

    Raises:
        ConfigError: there is no such family, or it has no such setting.
        Unavailable: a program, a package or the weights are missing.
    """
    name, colon, rest = (part.strip() for part in spec.partition(":"))
    if name == Reference.name:
        if colon:
            raise ConfigError(f"{spec}: the {name} has no settings; write {name} alone")
        return [Reference()]
    if name in neural.FAMILIES:
        folder, numbers = _folder(spec, rest)
        return _each_once(neural.systems(name, folder, numbers))
    if name not in _FAMILIES:
        raise ConfigError(f"unknown codec {name!r}{_hint(name)}")
    family = _FAMILIES[name]
    numbers = _numbers(spec, rest) if colon else family.default
    systems = _each_once([family.make(number) for number in numbers])
    family.check()
    return systems


def _each_once(systems: Sequence[System]) -> list[System]:
    return list({system.name: system for system in systems}.values())


def _folder(spec: str, rest: str) -> tuple[Path, Sequence[float]]:
    """FOLDER or FOLDER@NUMBERS; a folder whose own name has an "@" is one."""
    before, at, after = rest.rpartition("@")
    if not rest or (at and not before):
        raise ConfigError(f"{spec}: name the folder of the weights, as in {spec.partition(':')[0]}:FOLDER@1.5,3")
    if not at or Path(rest).expanduser().is_dir():
        return Path(rest).expanduser(), ()
    return Path(before).expanduser(), _numbers(spec, after)


def _numbers(spec: str, text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError(f"{spec}: {text!r} should be numbers with commas between them, as in 6,9,12") from None


def _hint(name: str) -> str:
    choices = (*NAMES, *neural.FAMILIES)
    near = difflib.get_close_matches(name.lower(), choices, n=1)
    return f"; did you mean {near[0]}?" if near else f"; choose from {', '.join(choices)}"
