"""The run of an evaluation: whole files through real systems, in worker processes, and again after an interruption."""

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from synthetic import voice
from vqcodec import audio
from vqcodec.errors import AudioError, ConfigError
from vqcodec.models import registry
from vqcodec.recipes import parallel
from vqcodec.recipes.evaluation.comparison import Comparison, compare, find
from vqcodec.recipes.evaluation.results import EvaluationResult
from vqcodec.recipes.evaluation.runner import EvaluationJob, evaluate, measure
from vqcodec.recipes.evaluation.store import Evaluation, EvaluationStore
from vqcodec.recipes.metrics import METRICS, missing

MODEL = Path(__file__).parents[2] / "golden" / "tiny.safetensors"
RATES = [1e2, 1e9]  # the lowest and the highest of the model


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sounds at two rates, one of them stereo, and two files that are none."""
    folder = tmp_path_factory.mktemp("recordings")
    (folder / "inner").mkdir()
    soundfile.write(folder / "one.wav", voice(0.7), 16000)
    stereo = np.stack([voice(0.9, 44100, seed=1), voice(0.9, 44100, seed=2)], axis=1)
    soundfile.write(folder / "inner" / "two & three.flac", stereo, 44100)
    (folder / "broken.wav").write_bytes(b"RIFF, or so it says")
    (folder / "empty.flac").write_bytes(b"")
    return folder


def comparison(folder: Path, *baselines: str) -> Comparison:
    return compare([folder], [str(MODEL)], RATES, baselines=baselines, scores=["si_sdr"])


@pytest.fixture(scope="module")
def evaluation(recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    return evaluate(
        comparison(recordings, "band:4"), EvaluationStore(tmp_path_factory.mktemp("report") / "out"), jobs=2
    )


def test_every_file_goes_through_every_system(evaluation: Evaluation) -> None:
    systems = [system.name for system in evaluation.facts.systems]
    assert len(systems) == 4
    assert [(one.file, one.system) for one in evaluation.results] == [
        (file, system) for file in ("inner/two & three.flac", "one.wav") for system in systems
    ]


def test_unreadable_files_are_named_once(evaluation: Evaluation) -> None:
    assert [(one.file, one.system) for one in evaluation.failures] == [("broken.wav", None), ("empty.flac", None)]
    assert all(one.reason for one in evaluation.failures)


def test_the_reference_is_untouched(evaluation: Evaluation) -> None:
    reference, *_ = evaluation.summaries
    assert reference.scores["si_sdr"].value == 100.0
    assert reference.bitrate_bps.value == pytest.approx(256_000)


def test_bytes_are_those_on_disk(evaluation: Evaluation) -> None:
    lowest = evaluation.facts.systems[1].name
    (one,) = (one for one in evaluation.results if one.file == "one.wav" and one.system == lowest)
    config = registry.describe(MODEL).config
    payload = -(-config.num_frames(11200) * config.bits_per_code // 8)
    overhead = one.bytes - payload
    assert 0 < overhead <= 32 + 64  # header, packets
    assert one.duration_s == 0.7


def test_sounds_and_codes_are_there(evaluation: Evaluation) -> None:
    for file in ("inner/two & three.flac", "one.wav"):
        for system in evaluation.facts.systems:
            waveform, rate = audio.read(evaluation.store.audio_path(file, system.name))
            assert rate == evaluation.facts.sample_rate
            assert waveform.shape[0] == 1
    config = registry.describe(MODEL).config
    assert len(evaluation.usage) == config.num_stages
    frames = sum(config.num_frames(round(seconds * config.sample_rate)) for seconds in (0.7, 0.9))
    assert 0.9 * frames < evaluation.usage[0].counts.sum() <= frames  # not all frames have a code


def test_channels_are_mixed(evaluation: Evaluation, recordings: Path) -> None:
    waveform, _ = audio.read(evaluation.store.audio_path("inner/two & three.flac", "reference"))
    expected = audio.read(recordings / "inner" / "two & three.flac", evaluation.facts.sample_rate)[0].mean(axis=0)
    assert np.abs(waveform[0] - expected).max() < 1e-4


def test_nothing_is_done_twice(evaluation: Evaluation, recordings: Path) -> None:
    lines = (evaluation.store.folder / "results.jsonl").read_text().splitlines()
    done = []
    again = evaluate(
        comparison(recordings, "band:4", "band:2"),
        evaluation.store,
        jobs=1,
        progress=lambda finished, total, file: done.append(file),
    )
    assert sorted(done) == ["broken.wav"] * 5 + ["empty.flac"] * 5 + ["inner/two & three.flac", "one.wav"]
    assert (evaluation.store.folder / "results.jsonl").read_text().splitlines()[: len(lines)] == lines
    assert {one.system for one in again.results} - {one.system for one in evaluation.results} == {"band-2"}


def test_a_worker_computes_on_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even after scores that bring threads of their own, which would spin, and count as the codec's."""
    for package in ("visqol", "ai_edge_litert", "threadpoolctl"):
        pytest.importorskip(package, reason="the eval extra is not installed")
    from threadpoolctl import threadpool_info

    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    with parallel.pool(1) as pool:
        pool.submit(METRICS["visqol"].function, voice(1.0), voice(1.0), 16000).result()
        pools = pool.submit(threadpool_info).result()
    assert [one["num_threads"] for one in pools] == [1] * len(pools)
    assert any(one["user_api"] == "openmp" for one in pools)


def test_names_of_files_from_several_folders(tmp_path: Path) -> None:
    for folder in ("a", "b", "c/a"):
        (tmp_path / folder).mkdir(parents=True)
        soundfile.write(tmp_path / folder / "x.wav", voice(0.1), 16000)
    assert sorted(find([tmp_path / "a"])) == ["x.wav"]
    assert sorted(find([tmp_path / "a", tmp_path / "b"])) == ["a/x.wav", "b/x.wav"]
    with pytest.raises(ConfigError, match=r"a/x\.wav"):
        find([tmp_path / "a", tmp_path / "c" / "a"])
    (tmp_path / "none").mkdir()
    with pytest.raises(AudioError, match="no sound files found"):
        find([tmp_path / "none"])


def test_the_model_s_independent_judges_come_first(recordings: Path, tmp_path: Path) -> None:
    model = tmp_path / "model.safetensors"
    shutil.copy(MODEL, model)
    asked = ["stoi", "lsd", "lattice_db", "si_sdr"]
    if explanation := missing(METRICS["stoi"]):
        pytest.skip(explanation)
    facts = compare([recordings], [str(model)], RATES, scores=asked).facts
    assert facts.metrics == tuple(asked)
    assert any("which scores golden was trained on" in note for note in facts.notes)
    model.with_suffix(".md").write_text("+++\ntrained_on_scores = ['stoi', 'si_sdr']\n+++\n")
    facts = compare([recordings], [str(model)], RATES, scores=asked).facts
    assert facts.metrics == ("lsd", "lattice_db", "stoi", "si_sdr")
    assert facts.trained_on_scores == {"stoi", "si_sdr"}
    assert not any("trained on" in note for note in facts.notes)


def test_the_lattice_is_that_of_the_model_s_frame_rate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    soundfile.write(tmp_path / "one.wav", voice(1.0), 16000)
    wanted = compare([tmp_path], [str(MODEL)], RATES, scores=["lattice_db"])
    assert wanted.facts.model["frame_rate_hz"] == registry.describe(MODEL).config.frame_rate
    rates = []
    told = dataclasses.replace(METRICS["lattice_db"], function=lambda *arguments: rates.append(arguments[2:]) or 0.0)
    monkeypatch.setitem(METRICS, "lattice_db", told)
    job = EvaluationJob(
        file="one.wav",
        path=tmp_path / "one.wav",
        system=wanted.systems[0],
        sample_rate=16000,
        metrics=("lattice_db",),
        frame_rate_hz=12.5,
        store=EvaluationStore(tmp_path / "out"),
    )
    result = measure(job)
    assert isinstance(result, EvaluationResult) and result.scores == {"lattice_db": 0.0}
    assert rates == [(16000, 12.5)]


def test_unknown_scores_and_baselines_are_refused(recordings: Path) -> None:
    model = [str(MODEL)]
    with pytest.raises(ConfigError, match="si_sdr"):
        compare([recordings], model, RATES, scores=["loudness"])
    with pytest.raises(ConfigError, match="opus"):
        compare([recordings], model, RATES, baselines=["ogg"])


def test_a_missing_tool_is_a_note(recordings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    facts = comparison(recordings, "opus:6").facts
    assert [system.name for system in facts.systems if "opus" in system.name] == []
    assert any("opus" in note for note in facts.notes)


CTRL_C_AFTER_THREE = """
import os, signal
from vqcodec.cli.main import main
from vqcodec.recipes.result_store import ResultStore
append, lines = ResultStore._append_line, []
def appended(self, content):
    append(self, content)
    lines.append(content)
    if len(lines) == 3:
        os.killpg(os.getpgrp(), signal.SIGINT)
if __name__ == "__main__":  # and not in a worker
    ResultStore._append_line = appended
    main()
"""


def test_after_an_interruption_it_goes_on(tmp_path: Path) -> None:
    """Ctrl-C, as a terminal sends it: to the command and its workers alike."""
    for package in ("jinja2", "matplotlib", "plotly"):
        pytest.importorskip(package, reason="the eval extra is not installed")
    folder, out = tmp_path / "data", tmp_path / "out"
    folder.mkdir()
    for number in range(12):
        soundfile.write(folder / f"{number:02}.wav", voice(1.0, seed=number), 16000)
    options = ["--data", folder, "--model", MODEL, "--bitrates", "1", "--scores", "si_sdr", "--out", out, "--jobs", "2"]
    command = [sys.executable, "-m", "vqcodec", "eval", *map(str, options)]
    script = tmp_path / "interrupted.py"
    script.write_text(CTRL_C_AFTER_THREE)
    arguments = [sys.executable, script, *command[3:]]
    process = subprocess.run(arguments, capture_output=True, text=True, start_new_session=True, check=False)
    lines, errors = out / "results.jsonl", process.stderr
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    before = lines.read_text().splitlines()
    assert 3 <= len(before) < 24  # those that were under way are finished
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    after = lines.read_text().splitlines()
    assert after[: len(before)] == before
    pairs = [(json.loads(line)["file"], json.loads(line)["system"]) for line in after]
    assert len(pairs) == len(set(pairs)) == 24


def test_ways_of_spending_bits_side_by_side(tmp_path: Path) -> None:
    audio.write(tmp_path / "a.wav", voice(1.0)[None], 16_000)
    modes = ["variable", "constant", "variable-plain"]
    found = compare([tmp_path], [str(MODEL)], [600], modes=modes, scores=["si_sdr"])
    assert [system.name for system in found.systems[1:]] == [
        "vqcodec_tiny-0.6-variable",
        "vqcodec_tiny-0.6",
        "vqcodec_tiny-0.6-variable-plain",
    ]
