"""Preparing a corpus: decoded once, cleaned, packed; interrupted work goes on, and the report's numbers are right."""

import hashlib
import io
import json
import os
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from synthetic import noise, silence, voice
from vqcodec import audio
from vqcodec.cli.main import app
from vqcodec.errors import AudioError, ConfigError, VqcodecError
from vqcodec.recipes.data import duplicates, prepare, shard_format
from vqcodec.recipes.data.cleaning import LONGEST_S, CleaningSettings, loud_parts
from vqcodec.recipes.data.duplicates import fingerprint
from vqcodec.recipes.data.inventory import Inventory
from vqcodec.recipes.data.shard_format import SourceFile

RATE = 16_000
DEFAULTS = CleaningSettings()


def speech(duration_s: float, seed: int, rate: int = RATE) -> np.ndarray:
    """A voice over a faint hiss, so that its pauses are not silent."""
    sound = 0.8 * voice(duration_s, rate, seed=seed) + 0.02 * noise(duration_s, rate, seed=seed)
    return sound.astype(np.float32)


def put(path: Path, sound: np.ndarray, rate: int = RATE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    audio.write(path, np.atleast_2d(sound), rate)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two corpora and every kind of file that is left out."""
    root = tmp_path_factory.mktemp("corpora") / "speech"
    for speaker in range(3):
        for take in range(2):
            put(root / "plain" / f"anna_{speaker}" / f"{take}.wav", speech(1.5 + take, 10 * speaker + take))
    put(root / "plain" / "wide" / "0.flac", np.stack([speech(2.0, 40, 48_000)] * 2), 48_000)
    put(root / "plain" / "wide" / "silent.wav", silence(2.0))
    put(root / "plain" / "wide" / "again.flac", speech(1.5, 10))  # of anna_1, in another format
    put(root / "plain" / "wide" / "loud.mp3", 0.7 * speech(2.5, 11))  # likewise, lossy and softer
    (root / "plain" / "wide" / "broken.wav").write_bytes(b"RIFF, or so it says")
    libri = root / "LibriSpeech"
    put(libri / "train-clean-100" / "19" / "198" / "19-198-0001.flac", speech(2.0, 50))
    put(libri / "train-clean-100" / "19" / "198" / "19-198-0002.flac", speech(2.0, 51))
    put(libri / "test-clean" / "61" / "700" / "61-700-0001.flac", speech(2.0, 51))  # what is tested is not trained on
    put(
        libri / "dev-clean" / "84" / "121" / "84-121-0001.flac",
        np.concatenate([speech(1, 52), silence(4), speech(1, 53)]),
    )
    return root


def prepared(
    folder: Path, out: Path, settings: CleaningSettings = DEFAULTS, force: bool = False
) -> tuple[Inventory, list[str]]:
    messages: list[str] = []
    plan = prepare.plan([folder], out, settings, force)
    return prepare.run(plan, messages.append, lambda done, text: None), messages


def shards_of(out: Path) -> list[shard_format.Shard]:
    return [shard_format.read_shard(tar) for tar in shard_format.read_index(out)[1]]


def entries_of(out: Path) -> dict[str, list[shard_format.Entry]]:
    """The recordings in the shards by the files they were cut from."""
    found: dict[str, list[shard_format.Entry]] = {}
    for shard in shards_of(out):
        for entry in shard.entries:
            found.setdefault(entry.facts.path, []).append(entry)
    return found


def contents(out: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in out.iterdir()}


def test_shards_hold_the_recordings_and_their_facts(folder: Path, tmp_path: Path) -> None:
    prepared(folder, tmp_path / "out")
    kept = entries_of(tmp_path / "out")
    assert len(kept) == 10
    (entry,) = kept["speech/plain/anna_2/1.wav"]
    assert (entry.facts.corpus, entry.facts.split, entry.facts.sample_rate) == ("plain", None, RATE)
    assert entry.facts.samples == round(2.5 * RATE)
    (shard,) = shards_of(tmp_path / "out")
    data = shard.tar.read_bytes()
    assert (len(data), hashlib.sha256(data).hexdigest()) == (shard.bytes, shard.sha256)
    original, _ = soundfile.read(folder / "plain" / "anna_2" / "1.wav", dtype="int16")
    packed, rate = soundfile.read(io.BytesIO(data[entry.offset : entry.offset + entry.bytes]), dtype="int16")
    assert rate == RATE
    assert np.array_equal(packed, original)  # to the last bit
    level = 20 * np.log10(np.sqrt(np.mean((original / 32_768) ** 2)))
    assert entry.facts.level_db == pytest.approx(level, abs=0.01)
    assert kept["speech/plain/wide/0.flac"][0].facts.samples == 2 * RATE


def test_a_shard_is_a_tar_file_of_pairs(folder: Path, tmp_path: Path) -> None:
    prepared(folder, tmp_path / "out")
    with tarfile.open(tmp_path / "out" / "shard-000000.tar") as tar:
        names = tar.getnames()
        assert len(names) == 2 * 11  # one file was cut in two
        for facts_name, sound_name in zip(names[::2], names[1::2], strict=True):
            assert facts_name.removesuffix(".json") == sound_name.removesuffix(".flac")
            facts = json.loads(tar.extractfile(facts_name).read())  # type: ignore[union-attr]
            sound, _ = soundfile.read(io.BytesIO(tar.extractfile(sound_name).read()))  # type: ignore[union-attr]
            assert len(sound) == facts["samples"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_webdataset_reads_shards(folder: Path, tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset", reason="webdataset is not installed")
    prepared(folder, tmp_path / "out")
    dataset = webdataset.WebDataset([str(tmp_path / "out" / "shard-000000.tar")], shardshuffle=False)
    found = [(json.loads(item["json"]), soundfile.read(io.BytesIO(item["flac"]))[0]) for item in dataset]
    assert len(found) == 11
    assert all(facts["samples"] == len(sound) for facts, sound in found)


def test_what_is_left_out_and_why(folder: Path, tmp_path: Path) -> None:
    inventory, messages = prepared(folder, tmp_path / "out")
    reasons = {one["path"].split("/")[-1]: (one["reason"], one["detail"]) for one in inventory.dropped}
    assert reasons["silent.wav"][0] == "silent"
    assert reasons["broken.wav"][0] == "unreadable"
    assert reasons["19-198-0002.flac"] == ("duplicate", "speech/LibriSpeech/test-clean/61/700/61-700-0001.flac")
    assert sorted(reason for reason, _ in reasons.values()) == ["duplicate"] * 3 + ["silent", "unreadable"]
    assert len(messages) == 1 and "broken.wav" in messages[0]
    assert json.loads((tmp_path / "out" / "report.json").read_text())["dropped"] == inventory.dropped


def test_the_report_adds_up(folder: Path, tmp_path: Path) -> None:
    inventory, _ = prepared(folder, tmp_path / "out")
    assert inventory.corpora.keys() == {"plain", "librispeech"}
    libri, plain, total = inventory.corpora["librispeech"], inventory.corpora["plain"], inventory.total
    assert (libri.files, libri.kept, libri.speakers, libri.recordings) == (4, 3, 3, 4)
    assert (plain.files, plain.kept) == (11, 7)
    assert plain.dropped == {"silent": 1, "duplicate": 2, "unreadable": 1}
    assert libri.hours_by_split.keys() == {"train", "validation", "test"}
    assert libri.hours_by_split["test"] == pytest.approx(2 / 3600)
    assert libri.hours_silent == pytest.approx(3 / 3600, abs=0.05 / 3600)
    assert libri.hours_found == pytest.approx(12 / 3600)
    assert plain.hours_silent == pytest.approx(2 / 3600)
    assert plain.source_rates == {16_000: 9, 48_000: 1}
    assert total.hours == pytest.approx(libri.hours + plain.hours)
    kept = [entry.facts for entries in entries_of(tmp_path / "out").values() for entry in entries]
    assert total.hours == pytest.approx(sum(one.samples for one in kept) / RATE / 3600)
    assert total.level_db == pytest.approx(np.percentile([one.level_db for one in kept], [5, 50, 95]), abs=0.06)
    assert total.clipped == 0


def test_long_silence_is_cut_out(folder: Path, tmp_path: Path) -> None:
    prepared(folder, tmp_path / "out")
    first, second = entries_of(tmp_path / "out")["speech/LibriSpeech/dev-clean/84/121/84-121-0001.flac"]
    assert first.facts.start_s == 0.0
    assert first.facts.samples / RATE == pytest.approx(1.5, abs=0.03)
    assert second.facts.start_s == pytest.approx(4.5, abs=0.03)
    assert second.facts.samples / RATE == pytest.approx(1.5, abs=0.03)


def test_parts_between_silences() -> None:
    def parts(*sounds: np.ndarray, **settings: float) -> list[tuple[float, float]]:
        pcm = (np.concatenate(sounds) * 32_767).astype(np.int16)
        return [(part.start / RATE, part.stop / RATE) for part in loud_parts(pcm, CleaningSettings(**settings))]  # type: ignore[arg-type]

    hiss = noise(1.0, RATE)
    assert parts(hiss, silence(0.9), hiss) == [(0.0, 2.9)]  # a pause
    assert parts(hiss, silence(1.5), hiss) == [(0.0, 1.5), (2.0, 3.5)]
    assert parts(silence(2.0), hiss, silence(0.2)) == [(1.5, 3.2)]
    assert parts(hiss, silence(1.5), hiss[:1600], silence(2.0)) == [(0.0, 1.5)]  # a click is no recording
    assert parts(hiss, silence(1.5), hiss, longest_pause_s=2.0) == [(0.0, 3.5)]
    assert parts(hiss / 1000, silence(0.1)) == []
    assert parts(hiss / 1000, silence(0.1), silence_db=-80.0) == [(0.0, 1.1)]
    long = parts(np.tile(hiss, 150))
    assert len(long) == 3 and all(end - start <= LONGEST_S for start, end in long)
    assert [start for start, _ in long[1:]] == [end for _, end in long[:-1]]


def test_fingerprints_know_a_sound_again_and_tell_sounds_apart(tmp_path: Path) -> None:
    def distance(one: np.ndarray, other: np.ndarray, rate: int = RATE) -> int:
        prints = [
            fingerprint((one * 32_767).astype(np.int16), RATE),
            fingerprint((other * 32_767).astype(np.int16), rate),
        ]
        return (int(prints[0], 16) ^ int(prints[1], 16)).bit_count()

    sounds = [speech(3.0, seed) for seed in range(12)]
    for sound in sounds[:4]:
        copy = audio.read(put(tmp_path / f"{len(list(tmp_path.iterdir()))}.mp3", sound))[0][0]
        assert distance(sound, 0.1 * sound) <= duplicates.SIMILAR_BITS
        assert distance(sound, copy) <= duplicates.SIMILAR_BITS
        assert distance(sound, audio.resample(sound[None], RATE, 24_000)[0], 24_000) <= duplicates.SIMILAR_BITS
    others = [distance(one, other) for number, one in enumerate(sounds) for other in sounds[:number]]
    assert min(others) > duplicates.SIMILAR_BITS + 8


@pytest.mark.parametrize("stop", [1, 6, 14])
def test_interrupted_work_goes_on_to_the_same_shards(folder: Path, tmp_path: Path, stop: int) -> None:
    settings = CleaningSettings(shard_mb=0.1)
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    prepared(folder, whole, settings)
    assert len(shards_of(whole)) >= 4

    def interrupt(done: int, text: str) -> None:
        if done == stop:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare.run(prepare.plan([folder], halves, settings), [].append, interrupt)
    assert not shard_format.is_corpus(halves)
    (halves / ".0123456789abcdef.part").write_bytes(b"what a killed process leaves")
    (halves / "shard-000099.tar").write_bytes(b"a shard without a list")
    plan = prepare.plan([folder], halves, settings)
    assert plan.sources_done == sum(len(shard.sources) for shard in plan.done) < stop
    prepare.run(plan, [].append, lambda done, text: None)
    assert contents(halves) == contents(whole)


def test_work_interrupted_before_the_index_is_finished_without_decoding(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepared(folder, out)
    before = contents(out)
    (out / "index.json").unlink()
    (out / "report.json").unlink()
    plan = prepare.plan([folder], out, CleaningSettings())
    assert plan.sources_done == len(plan.recordings)
    prepare.run(plan, [].append, lambda done, text: None)
    assert contents(out) == before


def test_nothing_is_overwritten_unasked(folder: Path, tmp_path: Path) -> None:
    folder, out = Path(shutil.copytree(folder, tmp_path / "speech")), tmp_path / "out"
    prepared(folder, out)
    before = contents(out)
    with pytest.raises(VqcodecError, match="holds a prepared corpus already; add --force"):
        prepared(folder, out)
    assert contents(out) == before
    (out / "index.json").unlink()
    with pytest.raises(ConfigError, match="other files or settings"):
        prepared(folder, out, CleaningSettings(silence_db=-60.0))
    put(folder / "plain" / "late" / "0.wav", speech(1.0, 70))
    with pytest.raises(ConfigError, match="other files or settings"):
        prepared(folder, out)
    (out / "notes.txt").write_text("mine")
    inventory, _ = prepared(folder, out, CleaningSettings(shard_mb=0.1), force=True)
    assert inventory.shards > 1
    assert inventory.total.files == 16
    assert (out / "notes.txt").read_text() == "mine"
    with pytest.raises(VqcodecError, match="exists and holds no shards"):
        prepared(folder, folder, force=True)
    assert (folder / "plain" / "anna_0" / "0.wav").exists()


def test_a_shard_is_no_larger_than_asked_for(folder: Path, tmp_path: Path) -> None:
    prepared(folder, tmp_path / "out", CleaningSettings(shard_mb=0.15))
    for shard in shards_of(tmp_path / "out"):
        assert sum(entry.bytes for entry in shard.entries) <= 150_000 or len(shard.entries) == 1


def test_faults(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="no such folder"):
        prepared(tmp_path / "missing", tmp_path / "out")
    put(tmp_path / "speech" / "a" / "silent.wav", silence(1.0))
    with pytest.raises(AudioError, match=r"nothing is left of 1 files \(silent\)"):
        prepared(tmp_path / "speech", tmp_path / "out")
    assert not shard_format.is_corpus(tmp_path / "out")
    with pytest.raises(ConfigError, match="silence_db = 3 is out of range; choose -120 to -10"):
        prepared(tmp_path / "speech", tmp_path / "other", CleaningSettings(silence_db=3.0))
    assert not (tmp_path / "other").exists()


def test_similar_words_are_no_duplicates_if_they_are_short() -> None:
    source = SourceFile("a", "c", "s", None, duration_s=0.5, content="1")
    known = duplicates.KnownSounds()
    known.add(source)
    assert known.twin(SourceFile("b", "c", "s", None, duration_s=0.5, content="2")) is None
    assert known.twin(SourceFile("b", "c", "s", None, duration_s=0.5, content="1")) == "a"


def run(*arguments: object, code: int = 0) -> tuple[str, str]:
    result = CliRunner().invoke(app, ["prepare", *map(str, arguments)], prog_name="vqcodec")
    assert result.exit_code == code, (result.output, result.exception)
    return result.stdout, result.stderr


def test_the_command(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    table, talk = run(folder, "--out", out)
    rows = {line.split()[0]: line for line in table.splitlines() if line.strip()}
    assert {"corpus", "librispeech", "plain", "all"} <= rows.keys()
    assert "2 duplicate, 1 silent, 1 unreadable" in rows["plain"]
    assert "16 kHz × 9, 48 kHz × 1" in rows["plain"]
    assert "broken.wav" in talk and f"train with --data {out}" in talk
    _, talk = run(folder, "--out", out, code=1)
    assert talk == f"vqcodec: error: {out} holds a prepared corpus already; add --force to prepare it anew\n"
    text, talk = run(folder, "--out", out, "--force", "--json", "--quiet", "--sample-rate", 24_000)
    assert json.loads(text)["total"]["files"] == 15
    assert talk == ""
    assert shard_format.read_index(out)[0] == 24_000
    assert {entry.facts.sample_rate for entries in entries_of(out).values() for entry in entries} == {24_000}
    run(folder, code=2)


def test_the_command_says_where_it_goes_on(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_shard, out = shard_format.write_shard, tmp_path / "out"

    def interrupted(*arguments: object) -> shard_format.Shard:
        if arguments[1] == 2:
            raise KeyboardInterrupt
        return write_shard(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(shard_format, "write_shard", interrupted)
    run(folder, "--out", out, "--shard-mb", 0.1, code=130)
    monkeypatch.undo()
    _, talk = run(folder, "--out", out, "--shard-mb", 0.1)
    assert "of 15 files are in 2 shards already" in talk
    assert shard_format.is_corpus(out)


@pytest.mark.skipif(os.name == "nt", reason="file names are text there")
def test_names_that_are_not_utf8_are_prepared(tmp_path: Path) -> None:
    strange = tmp_path / "speech" / os.fsdecode(b"caf\xe9") / os.fsdecode(b"\xff.wav")
    try:
        strange.parent.mkdir(parents=True)
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    soundfile.write(os.fsencode(strange), voice(1.0), RATE)
    prepared(tmp_path / "speech", tmp_path / "out")
    [entry] = entries_of(tmp_path / "out")[r"speech/caf\xe9/\xff.wav"]
    assert entry.facts.speaker == r"speech/caf\xe9"
