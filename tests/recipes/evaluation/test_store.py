"""The folder of an evaluation: what is kept, what is refused, and what an interruption leaves."""

import csv
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from synthetic import voice
from vqcodec import audio
from vqcodec.errors import ConfigError
from vqcodec.recipes.evaluation.results import EvaluationResult, SystemFacts
from vqcodec.recipes.evaluation.store import EvaluationFailure, EvaluationStore, RunFacts

SYSTEMS = tuple(SystemFacts(name=name, codec="Codec", setting=name, version="1") for name in ("low", "high"))
FACTS = RunFacts(
    sample_rate=16000,
    metrics=("si_sdr",),
    systems=SYSTEMS,
    files={"a.wav": 10, "b/<c>.flac": 20},
    model={"name": "tiny", "codebook_size": 8},
    codes_of="high",
    notes=("left out: Opus",),
)


def result(file: str, system: str = "low", score: float = 1.0) -> EvaluationResult:
    return EvaluationResult(
        file=file,
        system=system,
        duration_s=2.0,
        bytes=100,
        encode_s=0.1,
        decode_s=0.2,
        scores={"si_sdr": score},
    )


@pytest.fixture
def store(tmp_path: Path) -> EvaluationStore:
    store = EvaluationStore(tmp_path / "out")
    store.begin(FACTS)
    return store


def test_what_is_written_is_read_back(store: EvaluationStore) -> None:
    store.append(result("b/<c>.flac", "high"))
    store.append(result("a.wav", "high"))
    store.append(result("a.wav", "low"))
    store.append(EvaluationFailure(file="b/<c>.flac", system="low", reason="it broke"))
    evaluation = store.load()
    assert evaluation.facts == FACTS
    assert [(one.file, one.system) for one in evaluation.results] == [
        ("a.wav", "low"),
        ("a.wav", "high"),
        ("b/<c>.flac", "high"),
    ]
    assert evaluation.failures == (EvaluationFailure(file="b/<c>.flac", system="low", reason="it broke"),)


def test_means_are_over_the_files_that_every_system_has(store: EvaluationStore) -> None:
    for one in (result("a.wav", "low", 1.0), result("a.wav", "high", 2.0), result("b/<c>.flac", "high", 9.0)):
        store.append(one)
    low, high = store.load().summaries
    assert (low.files, high.files) == (1, 1)
    assert high.scores["si_sdr"].value == 2.0


def test_a_codec_that_returns_silence_gains_nothing(store: EvaluationStore) -> None:
    for one in (result("a.wav", "low", 1.0), result("a.wav", "high", 2.0), result("b/<c>.flac", "high", 9.0)):
        store.append(one)
    store.append(dataclasses.replace(result("b/<c>.flac", "low"), scores={}))
    evaluation = store.load()
    low, high = evaluation.summaries
    assert (low.files, high.files) == (2, 2)
    assert high.scores["si_sdr"].value == 2.0
    assert high.scores["si_sdr"].files == 1
    assert evaluation.notes[-1].startswith("si_sdr: undefined for 1 of 2 files")


def test_sounds_and_codes_are_kept(store: EvaluationStore) -> None:
    waveform = voice(0.5)
    store.keep_audio("b/<c>.flac", "low", waveform, 16000)
    store.keep_audio("a.wav", "low", waveform, 16000)
    for file, code in (("a.wav", 3), ("b/<c>.flac", 5)):
        store.keep_codes(file, "high", np.full((2, 4), code))
        store.keep_codes(file, "low", np.full((1, 4), 7))
    kept, rate = audio.read(store.audio_path("b/<c>.flac", "low"))
    assert rate == 16000
    assert np.abs(kept[0] - waveform).max() < 1e-4
    usage = store.load().usage
    assert [stage.counts.tolist() for stage in usage] == [[0, 0, 0, 4, 0, 4, 0, 0]] * 2
    store.drop_audio(["a.wav"])
    assert store.audio_path("a.wav", "low").exists()
    assert not store.audio_path("b/<c>.flac", "low").exists()


def test_a_run_goes_on_with_more_systems_and_files(store: EvaluationStore) -> None:
    store.append(result("a.wav"))
    more = SystemFacts(name="other", codec="Other", setting="", version="1")
    store.begin(dataclasses.replace(FACTS, systems=(*SYSTEMS, more), files={**FACTS.files, "d.wav": 1}))
    assert store.records() == ([result("a.wav")], [])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sample_rate": 24000}, "at 16000 Hz"),
        ({"metrics": ("stoi",)}, "other scores"),
        ({"systems": (dataclasses.replace(SYSTEMS[0], version="2"),)}, "another version of Codec low"),
        ({"files": {"a.wav": 11}}, "another recording named a.wav"),
    ],
)
def test_a_run_with_other_settings_is_refused_or_begun_anew(
    store: EvaluationStore, change: dict[str, object], words: str
) -> None:
    store.append(result("a.wav"))
    other = dataclasses.replace(FACTS, **change)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=words):
        store.begin(other)
    assert store.records()[0] == [result("a.wav")]
    store.begin(other, force=True)
    assert store.records() == ([], [])
    assert store.facts() == other


def test_an_unreadable_file_may_be_mended(store: EvaluationStore) -> None:
    store.append(EvaluationFailure(file="a.wav", reason="no sound"))
    store.begin(dataclasses.replace(FACTS, files={**FACTS.files, "a.wav": 99}))
    store.append(result("a.wav"))
    assert store.records() == ([result("a.wav")], [])


def test_a_failure_told_twice_counts_once(store: EvaluationStore) -> None:
    for _ in range(2):
        store.append(EvaluationFailure(file="a.wav", reason="no sound"))
    assert len(store.load().failures) == 1


def test_a_torn_last_line_is_forgotten(store: EvaluationStore) -> None:
    store.append(result("a.wav"))
    lines = store.folder / "results.jsonl"
    lines.write_bytes(lines.read_bytes() + b'{"file": "b')
    store.begin(FACTS)
    store.append(result("a.wav", "high"))
    assert store.records()[0] == [result("a.wav"), result("a.wav", "high")]


def test_damage_is_named(store: EvaluationStore) -> None:
    (store.folder / "results.jsonl").write_text('{"file": 1}\n')
    with pytest.raises(ConfigError, match="line 1"):
        store.records()
    (store.folder / "run.json").write_text("{")
    with pytest.raises(ConfigError, match=r"run\.json is damaged"):
        store.load()


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ConfigError, match="something other"):
        EvaluationStore(tmp_path).begin(FACTS, force=True)
    with pytest.raises(ConfigError, match="holds no evaluation"):
        EvaluationStore(tmp_path / "nothing").load()


def test_tables(store: EvaluationStore) -> None:
    store.append(result("a.wav", "low", 1.5))
    store.append(result("a.wav", "high", 2.5))
    store.append(EvaluationFailure(file="b/<c>.flac", reason="no sound"))
    store.write_tables(store.load())
    with (store.folder / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["file"], row["system"], row["bitrate_bps"], row["si_sdr"]) for row in rows] == [
        ("a.wav", "low", "400.0", "1.5"),
        ("a.wav", "high", "400.0", "2.5"),
    ]
    summary = json.loads((store.folder / "summary.json").read_text())
    assert summary["systems"][1]["scores"]["si_sdr"]["value"] == 2.5
    assert summary["failures"] == [{"file": "b/<c>.flac", "reason": "no sound", "system": None}]
    assert summary["model"] == FACTS.model
