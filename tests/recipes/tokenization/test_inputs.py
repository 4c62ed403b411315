"""What is found in folders, tar files, parquet files and manifests, and what is said of what cannot be used."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
import soundfile as sf

from synthetic import voice
from vqcodec import audio
from vqcodec.errors import AudioError, ConfigError
from vqcodec.recipes.tokenization.containers import Stretch, TableReader
from vqcodec.recipes.tokenization.inputs import items_of
from vqcodec.recipes.tokenization.items import Item


def wav(seconds: float = 0.5, seed: int = 0) -> bytes:
    content = io.BytesIO()
    sf.write(content, voice(seconds, seed=seed), 16_000, format="WAV")
    return content.getvalue()


def tar_of(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def in_manifest(tmp_path: Path, *lines: Any) -> list[Item]:
    path = tmp_path / "list.jsonl"
    path.write_text("".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines))
    return list(items_of([path]))


def test_a_folder(tmp_path: Path) -> None:
    for name in ("b/2.wav", "a/1.wav", "a/broken.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"nothing" if "broken" in name else wav())
    items = list(items_of([tmp_path]))
    assert [item.id for item in items] == ["a/1", "a/broken", "b/2"]
    assert [item.duration_s for item in items] == [0.5, None, 0.5]
    assert [item.speaker for item in items] == [f"{tmp_path.name}/{name}" for name in ("a", "a", "b")]


def test_a_folder_of_containers(tmp_path: Path) -> None:
    tar_of(tmp_path / "b.tar", {"y.wav": wav()})
    tar_of(tmp_path / "a.tar", {"x.wav": wav()})
    assert [item.id for item in items_of([tmp_path])] == ["x", "y"]


def test_a_tar_file(tmp_path: Path) -> None:
    facts = json.dumps({"speaker": "anna", "text": "hello", "duration": 0.5, "other": [1]}).encode()
    members = {
        "d/k1.wav": wav(seed=1),
        "d/k1.json": facts,
        "d/k2.flac": wav(seed=2),
        "d/k2.txt": b"two\n",
        "d/k3.txt": b"no sound",
        "d/k4.left.wav": wav(seed=3),
        "d/k4.right.wav": wav(seed=4),
        "d/k5.wav": wav(),
        "d/k5.json": b"{",
    }
    path = tar_of(tmp_path / "a.tar", members)
    items = list(items_of([path]))
    assert [item.id for item in items] == ["d/k1", "d/k2", "d/k4.left.wav", "d/k4.right.wav", "d/k5"]
    assert (items[0].speaker, items[0].text, items[0].duration_s) == ("anna", "hello", 0.5)
    assert items[1].text == "two"
    assert items[4].fault is not None and "d/k5" in items[4].fault
    for item, name in zip(items, ["d/k1.wav", "d/k2.flac", "d/k4.left.wav", "d/k4.right.wav"], strict=False):
        assert item.place is not None
        with Stretch(item.source, *item.place) as stretch:
            assert stretch.read() == members[name]


def test_a_tar_file_that_ends_early_gives_what_it_has(tmp_path: Path) -> None:
    path = tar_of(tmp_path / "a.tar", {"k1.wav": wav(), "k2.wav": wav()})
    path.write_bytes(path.read_bytes()[:-15_000])
    first, *rest = items_of([path])
    assert (first.id, first.fault) == ("k1", None)
    assert all(item.fault for item in rest[1:])
    path.write_bytes(b"\x1f\x8b nothing")
    (item,) = items_of([path])
    assert item.fault is not None and "tar file" in item.fault


def test_a_parquet_file(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    (tmp_path / "beside.wav").write_bytes(wav(seed=9))
    sounds = [{"bytes": wav(seed=seed), "path": f"s{seed}.wav"} for seed in range(5)]
    sounds += [{"bytes": None, "path": "beside.wav"}, None]
    table = pa.table({"text": ["a"] * 7, "speaker_id": list(range(7)), "audio": sounds})
    path = tmp_path / "a.parquet"
    parquet.write_table(table, path, row_group_size=3)
    items = list(items_of([path]))
    assert [item.id for item in items] == ["s0", "s1", "s2", "s3", "s4", "beside", "a-2-0"]
    assert [item.speaker for item in items] == list("0123456") and {item.text for item in items} == {"a"}
    reader = TableReader()
    places = [item.place for item in items if item.place is not None]
    for index in (0, 1, 4, 3, 0):
        found = reader.sound(str(path), *places[index])
        assert not isinstance(found, str) and found.read() == sounds[index]["bytes"]
    assert reader.sound(str(path), *places[5]) == str(tmp_path / "beside.wav")
    with pytest.raises(AudioError, match="holds no sound"):
        reader.sound(str(path), *places[6])


def test_parquet_files_that_cannot_be_used(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    (tmp_path / "junk.parquet").write_bytes(b"PAR1 nothing PAR1")
    parquet.write_table(pa.table({"text": ["a"]}), tmp_path / "text.parquet")
    faults = [item.fault for item in items_of([tmp_path])]
    assert len(faults) == 2 and all(faults)
    assert "no column of sounds" in str(faults[1])
    with pytest.raises(AudioError, match="cannot read"):
        TableReader().sound(str(tmp_path / "junk.parquet"), 0, 0)


def test_names_of_fields(tmp_path: Path) -> None:
    nemo = {"audio_filepath": "x/a.wav", "offset": 1.5, "duration": 2, "text": "t", "speaker": "s"}
    plain = {"path": "/data/b.flac", "id": 7, "duration": 3.25}
    recording = {"id": "r", "sources": [{"type": "file", "channels": [0], "source": "c.wav"}], "duration": 9.0}
    said = [{"text": "one", "speaker": "s"}, {"text": "two", "speaker": "s"}]
    cut = {"id": "c", "start": 0.5, "duration": 1.0, "channel": 1, "recording": recording, "supervisions": said}
    folder = str(tmp_path)
    assert in_manifest(tmp_path, nemo, "\n", plain, recording, cut) == [
        Item(f"{folder}/x/a.wav", "a", start_s=1.5, duration_s=2.0, text="t", speaker="s"),
        Item("/data/b.flac", "7", duration_s=3.25),
        Item(f"{folder}/c.wav", "r", duration_s=9.0),
        Item(f"{folder}/c.wav", "c", start_s=0.5, duration_s=1.0, channel=1, text="one two", speaker="s"),
    ]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{\n", "line 1"),
        ("[" * 100_000 + "\n", "nested"),
        ([], "an object"),
        ({"offset": 1}, "no path"),
        ({"path": 1.5}, "is text"),
        ({"path": "a", "offset": -1}, "a number of seconds"),
        ('{"path": "a", "duration": 1e999}\n', "a number of seconds"),
        ('{"path": "a", "duration": NaN}\n', "a number of seconds"),
        ({"path": "a", "duration": True}, "a number of seconds"),
        ({"path": "a", "channel": "left"}, "channel"),
        ({"sources": [{"type": "url", "source": "http://"}]}, "one file"),
        ({"sources": [{"source": "a"}, {"source": "b"}]}, "one file"),
    ],
)
def test_lines_that_cannot_be_used_are_named(tmp_path: Path, line: Any, reason: str) -> None:
    bad, good = in_manifest(tmp_path, line, {"path": "a.wav"})
    assert bad.fault is not None and reason in bad.fault and bad.id == "list.jsonl:1"
    assert good.fault is None


def test_compressed_manifests(tmp_path: Path) -> None:
    path = tmp_path / "list.jsonl.gz"
    content = gzip.compress(b'{"path": "a.wav"}\n' * 50_000)
    path.write_bytes(content)
    assert len(list(items_of([path]))) == 50_000
    path.write_bytes(content[:-20])
    assert "any further" in str(list(items_of([path]))[-1].fault)


def test_inputs_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    for name in ("a.txt", "gone.wav"):
        with pytest.raises(ConfigError, match=name):
            list(items_of([tmp_path / name]))
    with pytest.raises(AudioError, match="no audio"):
        list(items_of([tmp_path]))


def test_lines_of_the_plan() -> None:
    item = Item("a\udcff.tar", "ü\n", "tar", (512, 10), 0.5, 1.25, 1, "s", "t", "why")
    assert item.to_line().count("\n") == 1
    assert Item.from_line(item.to_line()) == item
    assert Item.from_line(Item("a", "b").to_line()) == Item("a", "b")


def test_a_stretch_of_a_file_is_read_as_sound(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"before" + wav() + b"behind")
    with Stretch(str(path), 6, len(wav())) as stretch:
        waveform, rate = audio.read(stretch)
    assert (waveform.shape, rate) == ((1, 8000), 16_000)
