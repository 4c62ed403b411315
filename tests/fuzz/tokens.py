"""Manifests of corpora, and parts of tokens: as `tokenize` reads the first and `detokenize` the second."""

from __future__ import annotations

import functools
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np

from vqcodec.errors import VqcodecError
from vqcodec.recipes.tokenization import outputs
from vqcodec.recipes.tokenization.inputs import items_of
from vqcodec.recipes.tokenization.items import Item, unicode

from .damaged_values import changed_value

_MANIFEST, _TAR = b"m", b"t"
"""The first byte of an input says what the rest is."""


@functools.cache
def _folder() -> Path:
    memory = Path("/dev/shm")
    return Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None))


def seeds() -> list[bytes]:
    """Two lines of a manifest, and a part."""
    recording = {"id": "r", "sources": [{"type": "file", "channels": [0], "source": "c.wav"}], "duration": 9.0}
    said = [{"text": "one", "speaker": "s"}]
    lines = [
        {"path": "a.wav", "offset": 1.5, "duration": 2, "text": "t", "speaker": "s", "channel": 1},
        {"id": "c", "start": 0.5, "duration": 1.0, "recording": recording, "supervisions": said},
    ]
    codes = np.arange(12, dtype=np.uint16).reshape(1, 2, 6)
    outputs.write(_folder(), "part-000000", "wds", [({"key": "000000000", "id": "a", "num_samples": 1900}, codes)])
    part = (_folder() / "part-000000.tar").read_bytes()
    return [_MANIFEST + json.dumps(line).encode() for line in lines] + [_TAR + part]


def check(data: bytes) -> None:
    """Read the manifest, and write its items as a plan does; or read the part."""
    if data[:1] == _TAR:
        _check_part(data[1:])
        return
    path = _folder() / "list.jsonl"
    path.write_bytes(data[1:])
    for item in items_of([path]):
        assert Item.from_line(item.to_line()) == item
        assert "\n" not in (item.fault or "")
        unicode(item.id).encode()


def _check_part(data: bytes) -> None:
    path = _folder() / "part.tar"
    path.write_bytes(data)
    try:
        for _, codes in outputs.read(path):
            assert codes.ndim == 3 and codes.dtype == np.uint16
    except VqcodecError as error:
        assert str(error) and "\n" not in str(error)
    for item in items_of([path]):
        assert Item.from_line(item.to_line()) == item


def mutate(data: bytes, random: Random, change: Callable[[bytes], bytes]) -> bytes:
    """Damage a value of a manifest, or bytes of either."""
    if data[:1] == _MANIFEST and random.random() < 0.6:
        try:
            return _MANIFEST + json.dumps(changed_value(json.loads(data[1:]), random)).encode()
        except (ValueError, RecursionError):
            pass
    return data[:1] + change(data[1:])
