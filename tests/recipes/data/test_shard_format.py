"""Indexes and lists of shards from others: one line says what is wrong, and no path leads out of the folder."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vqcodec import audio
from vqcodec.errors import AudioError, CorruptFile
from vqcodec.recipes.data import shard_format
from vqcodec.recipes.data.shard_format import Facts, SourceFile
from vqcodec.recipes.data.shard_reader import Catalogue

RATE = 16_000
PCM = np.arange(1000, dtype=np.int16)
FACTS = Facts("a/b.wav", 0.0, "a", "a/b", "train", RATE, len(PCM), -20.0, -3.0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A corpus of two recordings."""
    flac = audio.to_flac(PCM, RATE)
    source = SourceFile("a/b.wav", "a", "a/b", "train", RATE, 1.0)
    shard = shard_format.write_shard(tmp_path, 0, [(FACTS, flac), (FACTS, flac)], [source])
    shard_format.write_index(tmp_path, [shard], RATE)
    return tmp_path


def change(path: Path, how: Callable[[Any], object]) -> None:
    values = json.loads(path.read_text())
    how(values)
    path.write_text(json.dumps(values))


def read(folder: Path) -> list[shard_format.Shard]:
    return [shard_format.read_shard(tar) for tar in shard_format.read_index(folder)[1]]


def test_what_is_written_is_read(folder: Path) -> None:
    [shard] = read(folder)
    assert [entry.facts for entry in shard.entries] == [FACTS, FACTS]
    assert shard.bytes == shard.tar.stat().st_size
    catalogue = Catalogue([shard.tar], [shard.entries])
    assert (catalogue.pcm(1) == PCM).all()


@pytest.mark.parametrize("name", ["../shard-000000.tar", "/tmp/shard-000000.tar", "x/shard-000000.tar", "a.tar", "", 7])
def test_the_shards_of_an_index_lie_beside_it(folder: Path, name: object) -> None:
    outside = folder.parent / "shard-000000.tar"
    outside.write_bytes((folder / "shard-000000.tar").read_bytes())
    change(folder / "index.json", lambda index: index["shards"][0].update(name=name))
    with pytest.raises(CorruptFile, match=r"is not an index of shards \(shards\.0\.name: "):
        read(folder)


@pytest.mark.parametrize("path", ["/etc/passwd", "../x.wav", "a/../../x.wav", "", "a\0b", 3])
@pytest.mark.parametrize("of", ["entries", "sources"])
def test_paths_of_recordings_are_within_a_folder(folder: Path, path: object, of: str) -> None:
    def wrong(listed: Any) -> None:
        (listed["entries"][0]["facts"] if of == "entries" else listed["sources"][0]).update(path=path)

    change(folder / "shard-000000.json", wrong)
    with pytest.raises(CorruptFile, match=rf"is not the list of a shard \({of}\.0\.\S*path: "):
        read(folder)


@pytest.mark.parametrize(
    "values",
    [
        {"sample_rate": "x"},
        {"sample_rate": float("inf")},
        {"sample_rate": []},
        {"sample_rate": 10**30},
        {"shards": 3},
        {"shards": [3]},
        {"shards": []},
        {"shards": [{"name": "shard-000000.tar", "bytes": None}]},
        {"format": "x" * 1000},
        {"format": None},
    ],
)
def test_wrong_values_of_an_index(folder: Path, values: dict[str, object]) -> None:
    change(folder / "index.json", lambda index: index.update(values))
    with pytest.raises(CorruptFile, match=r"^[^\n]{1,300}; prepare [^\n]*$"):
        read(folder)


@pytest.mark.parametrize(
    "values",
    [
        {"offset": "x"},
        {"offset": -5},
        {"offset": 10**30},
        {"offset": 0.5},
        {"offset": 10**9},
        {"bytes": 10**13},
        {"bytes": None},
        {"crc32": "x"},
        {"facts": 1},
        *({"facts": {"samples": samples}} for samples in ("x", -7, 0, 10**17, 10**30)),
        *({"facts": {"corpus": name}} for name in (3, [], None)),
        *({"facts": {"speaker": name}} for name in (3, {}, None)),
        *({"facts": {"split": name}} for name in (3, [], "other")),
        {"facts": {"level_db": float("nan")}},
    ],
)
def test_wrong_values_of_a_list(folder: Path, values: dict[str, Any]) -> None:
    def wrong(listed: Any) -> None:
        entry = listed["entries"][1]
        facts = values.get("facts")
        entry.update({**values, "facts": {**entry["facts"], **facts}} if isinstance(facts, dict) else values)

    change(folder / "shard-000000.json", wrong)
    with pytest.raises(CorruptFile, match=r"^[^\n]{1,300}; prepare the corpus again$"):
        read(folder)


@pytest.mark.parametrize("text", ["", "[]", "{}", "3", "[" * 100_000, "\x00", '{"format": 1'])
@pytest.mark.parametrize("name", ["index.json", "shard-000000.json"])
def test_other_files_of_that_name(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text)
    with pytest.raises(CorruptFile, match=rf"{name}\b[^\n]*prepare "):
        read(folder)


@pytest.mark.parametrize("samples", [999, 1001, 1 << 25])
def test_a_recording_of_another_length_is_not_decoded(folder: Path, samples: int) -> None:
    change(folder / "shard-000000.json", lambda listed: listed["entries"][0]["facts"].update(samples=samples))
    [shard] = read(folder)
    with pytest.raises(AudioError, match=rf"1 channels of 1000 samples; it should have one of {samples}$"):
        Catalogue([shard.tar], [shard.entries]).pcm(0)
