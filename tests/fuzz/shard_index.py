"""Indexes and lists of shards: as `train` reads them, and the recordings that they lead to."""

from __future__ import annotations

import functools
import json
import tempfile
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from random import Random

import numpy as np

from vqcodec import audio
from vqcodec.errors import VqcodecError
from vqcodec.recipes import loading
from vqcodec.recipes.data import shard_format
from vqcodec.recipes.data.shard_format import Facts, SourceFile
from vqcodec.recipes.data.shard_reader import Shards
from vqcodec.recipes.distributed import World

from .damaged_values import changed_number, changed_value

_RATE = 16_000
_BETWEEN = b"\0\0\0"
"""Stands between the index and the list of the first shard in an input."""

_LIST = "shard-000000.json"


@functools.cache
def _folder() -> Path:
    """A corpus of two shards, whose index and first list are replaced by those of the input."""
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None))
    pcm = np.arange(2000, dtype=np.int16)
    shards = []
    for number in range(2):
        facts = [Facts(f"a/{n}/b.wav", 0.0, "a", f"a/{n}", "train", _RATE, len(pcm), -20.0, -3.0) for n in range(3)]
        recordings = [(one, audio.to_flac(pcm, _RATE)) for one in facts]
        shards.append(shard_format.write_shard(folder, number, recordings, [SourceFile("a/0/b.wav", "a", "a/0", None)]))
    shard_format.write_index(folder, shards, _RATE)
    return folder


@functools.cache
def _recipe() -> loading.Recipe:
    settings = ["data.batch_size=2", "data.crop_s=0.05", "data.workers=0", "data.buffer_mb=0.1"]
    return loading.load("tiny", settings)


def seeds() -> list[bytes]:
    """The index and a list that belong together."""
    return [_BETWEEN.join((_folder() / name).read_bytes() for name in (shard_format.INDEX, _LIST))]


def check(data: bytes) -> None:
    """Open the corpus and draw two batches."""
    folder = _folder()
    index, _, listed = data.partition(_BETWEEN)
    (folder / shard_format.INDEX).write_bytes(index)
    (folder / _LIST).write_bytes(listed)
    try:
        shards = Shards(_recipe(), [folder], folder / "cache", lambda text: None)
        assert all(tar.resolve().parent == folder.resolve() for tar in shards.catalogue.tars)
        shards.describe()
        for batch in islice(shards.batches(range(2), World(), 1), 2):
            assert batch.waveform.isfinite().all()
    except VqcodecError as error:
        assert str(error) and "\n" not in str(error)


def mutate(data: bytes, random: Random, change: Callable[[bytes], bytes]) -> bytes:
    """Damage a value, a number or bytes of one of the two."""
    parts = list(data.partition(_BETWEEN))
    place, way = random.choice((0, 2)), random.random()
    try:
        values = json.loads(parts[place])
    except (ValueError, RecursionError):
        values = None
    if values is not None and way < 0.6:
        parts[place] = json.dumps(changed_value(values, random)).encode()
    else:
        parts[place] = changed_number(parts[place], random) if way < 0.8 else change(parts[place])
    return b"".join(parts)
