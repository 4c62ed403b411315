"""Training: it learns, it resumes bit for bit, an interruption loses nothing, and what it exports decodes."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from synthetic import voice
from vqcodec import Codec
from vqcodec.cli.main import app
from vqcodec.errors import ConfigError, CorruptFile, VqcodecError
from vqcodec.models import registry
from vqcodec.recipes import config, loading
from vqcodec.recipes.data.shard_reader import open_source
from vqcodec.recipes.distributed import World
from vqcodec.recipes.metrics.imitated import imitated_scores
from vqcodec.recipes.training import checkpoint_file, checkpoints, logs, memory
from vqcodec.recipes.training.checkpoints import export
from vqcodec.recipes.training.logs import Meter, MetricsLog, spectrogram
from vqcodec.recipes.training.objective import loss_weights
from vqcodec.recipes.training.optimizers import learning_rate_share
from vqcodec.recipes.training.step import Trainer
from vqcodec.recipes.training.train import train

TINY = [
    "model.name=tiny",
    "model.latent_dim=16",
    "model.num_stages=3",
    "model.codebook_size=16",
    "model.encoder_width=24",
    "model.encoder_blocks=1",
    "model.decoder_width=32",
    "model.decoder_blocks=1",
    "data.batch_size=4",
    "data.crop_s=0.25",
    "data.workers=0",
    "data.validation_s=2.0",
    "optimizer.warmup_steps=4",
    "optimizer.learning_rate=3e-3",
    "optimizer.weight_ema=0.9",
    "loss.schedule_start=6",
    "loss.schedule_steps=4",
    "quantizer.start_step=4",
    "quantizer.kmeans_batches=4",
    "run.tensorboard=false",
    "run.log_every=2",
    "run.validate_every=8",
    "run.steps=16",
]


class Notes:
    """A display that remembers."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.steps: list[int] = []
        self.scores: list[Mapping[str, float]] = []
        self.on_step = lambda step: None

    def message(self, text: str) -> None:
        self.messages.append(text)

    def update(self, step: int, steps: int, metrics: Mapping[str, float], perplexities: Sequence[float]) -> None:
        self.steps.append(step)
        self.on_step(step)

    def validation(self, step: int, metrics: Mapping[str, float]) -> None:
        self.scores.append(metrics)


def recipe(*overrides: str) -> config.Recipe:
    return loading.load("speech_16k", [*TINY, *overrides])


def states(run: Path) -> dict:
    return torch.load(sorted((run / "checkpoints").glob("step_*.pt"))[-1], weights_only=True)


def assert_same(a: object, b: object, where: str = "") -> None:
    if isinstance(a, torch.Tensor):
        assert a.equal(b), where
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            assert_same(a[key], b[key], f"{where}/{key}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), where
        for index, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_same(x, y, f"{where}/{index}")
    else:
        assert a == b, where


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_interrupted_and_resumed_is_the_same_run(speech: Path, tmp_path: Path, kind: str) -> None:
    settings = recipe(f"optimizer.kind={kind}", "data.workers=1")
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    assert train(settings, [speech], whole, display=Notes(), cache=tmp_path / "cache")
    for stop in (2, 8):  # before and after the codebooks are set
        notes = Notes()
        notes.on_step = lambda step, stop=stop: os.kill(os.getpid(), signal.SIGTERM) if step == stop else None
        resume = stop > 2
        assert train(settings, [speech], halves, display=notes, resume=resume, cache=tmp_path / "cache") is None
        assert f"stopped at step {stop}" in notes.messages[-1]
    assert train(settings, [speech], halves, display=Notes(), resume=True, cache=tmp_path / "cache")
    assert_same(states(whole), states(halves))


@pytest.fixture(scope="module")
def learnt(speech: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Notes]:
    """The weights of a run that is long enough to learn from, and what it showed; tests only read it."""
    notes, run = Notes(), tmp_path_factory.mktemp("learnt") / "run"
    weights = train(recipe("run.steps=100", "run.validate_every=20"), [speech], run, display=notes)
    assert weights == run / "tiny.safetensors"
    return weights, notes


@pytest.fixture(scope="module")
def finished(speech: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 8 steps with a checkpoint after each; tests that change it copy it."""
    run = tmp_path_factory.mktemp("finished") / "run"
    train(recipe("run.checkpoint_minutes=1e-9", "run.steps=8"), [speech], run, display=Notes())
    return run


def logged(run: Path) -> list[dict[str, Any]]:
    """The lines of the metrics file that are not about validation."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if "loss" in line]


def test_a_run_leaves_metrics_and_weights_that_decode(learnt: tuple[Path, Notes]) -> None:
    weights, notes = learnt
    lines = logged(weights.parent)
    assert [line["step"] for line in lines] == sorted({1, 5, *range(2, 101, 2)})  # early ones first
    assert [line["step"] for line in lines] == notes.steps
    assert lines[-1]["signed"] < 0.7 * lines[0]["signed"]
    assert {"mel", "complex", "commitment", "audio_s_per_s", "data_share", "learning_rate"} <= lines[-1].keys()
    assert len(lines[-1]["perplexity"]) == 3
    assert notes.scores[-1].keys() >= {"mel@1", "mel@3", "complex@3", "si_sdr@3", "perplexity_min"}
    codec = Codec.load(weights)
    waveform = voice(1.0, 16_000, seed=50)
    decoded = codec.decode(codec.encode(waveform))
    assert decoded.shape == (1, 16_000)


def test_training_learns_speech_like_sound(learnt: tuple[Path, Notes]) -> None:
    _, notes = learnt
    assert notes.scores[-1]["mel@3"] < 0.7 * notes.scores[0]["mel@3"]


def test_folders_that_hold_a_run_or_none(finished: Path, speech: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no checkpoint to resume"):
        train(recipe(), [speech], tmp_path / "run", display=Notes(), resume=True)
    with pytest.raises(ConfigError, match="--resume"):
        train(recipe(), [speech], finished, display=Notes())
    with pytest.raises(ConfigError, match="other sizes"):
        train(recipe("model.latent_dim=8"), [speech], finished, display=Notes(), resume=True)
    with pytest.raises(ConfigError, match="--force"):
        export(finished, finished / "tiny.safetensors", report=print)


def test_training_can_begin_with_exported_weights(learnt: tuple[Path, Notes], speech: Path, tmp_path: Path) -> None:
    notes, cold = Notes(), Notes()
    settings = recipe("run.steps=8", "quantizer.start_step=0", "loss.schedule_start=0", "optimizer.learning_rate=1e-5")
    train(settings, [speech], tmp_path / "second", display=notes, init=learnt[0])
    train(settings, [speech], tmp_path / "cold", display=cold)
    assert notes.scores[-1]["mel@3"] < 0.8 * cold.scores[-1]["mel@3"]


def test_old_checkpoints_go(finished: Path) -> None:
    names = sorted(path.name for path in (finished / "checkpoints").iterdir())
    assert names == ["best.json", "best.pt", "step_00000007.pt", "step_00000008.pt"]


def test_learning_rate_warms_up_and_falls_to_its_final_share() -> None:
    settings = recipe("run.steps=100", "optimizer.warmup_steps=10", "optimizer.final_share=0.1")
    shares = [learning_rate_share(step, settings) for step in range(101)]
    assert shares[0] == pytest.approx(0.1)
    assert max(shares) == pytest.approx(shares[9], rel=0.03)
    assert shares[10:] == sorted(shares[10:], reverse=True)
    assert shares[-1] == pytest.approx(0.1)


def test_loss_weights_follow_the_schedule_linearly() -> None:
    losses = config.LossConfig(signed=20.0, signed_final=4.0, mel=1.0, magnitude=3.0, complex=2.0, sparse=7.0)
    scheduled = {0.0: (20.0, 0.0, 0.0, 0.0), 0.5: (12.0, 0.5, 1.5, 1.0), 1.0: (4.0, 1.0, 3.0, 2.0)}
    for progress, expected in scheduled.items():
        weights = loss_weights(losses, progress)
        assert tuple(weights[name] for name in ("signed", "mel", "magnitude", "complex")) == expected
        assert (weights["commitment"], weights["codebook"], weights["sparse"]) == (0.25, 1.0, 7.0)


def test_no_cuda_is_one_clear_line(speech: Path, tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("a CUDA device is available here")
    with pytest.raises(ConfigError, match="no CUDA device"):
        train(recipe(), [speech], tmp_path / "run", display=Notes(), device="cuda")


def test_training_can_begin_with_weights_of_another_name_but_not_of_other_sizes(
    finished: Path, speech: Path, tmp_path: Path
) -> None:
    first, notes = finished / "tiny.safetensors", Notes()
    settings = recipe("run.steps=2", "run.log_every=1", "run.validate_every=2", "model.name=voice_of_mine")
    weights = train(settings, [speech], tmp_path / "second", display=notes, init=first)
    assert weights is not None and weights.name == "voice_of_mine.safetensors"
    assert {"mel@1", "mel@3"} <= notes.scores[0].keys()  # its codebooks are in from the first step, before start_step
    with pytest.raises(ConfigError, match=r"other sizes than the recipe's: latent_dim 16 -> 8$"):
        train(recipe("model.latent_dim=8"), [speech], tmp_path / "third", display=Notes(), init=first)


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [cut_short, flip_a_bit, empty])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(
    finished: Path, speech: Path, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    run, whole = tmp_path / "run", states(finished)
    shutil.copytree(finished, run)
    damage(run / "checkpoints" / "step_00000008.pt")
    notes = Notes()
    train(recipe("run.steps=8"), [speech], run, display=notes, resume=True)
    [told] = [message for message in notes.messages if "step_00000008.pt" in message]
    assert "not a readable checkpoint" in told and "going back to the one before" in told
    assert "resuming at step 7" in notes.messages
    assert_same(states(run)["model"], whole["model"])
    assert sorted(path.name for path in run.glob("checkpoints/step_*")) == ["step_00000007.pt", "step_00000008.pt"]


def test_without_any_readable_checkpoint_there_is_no_resuming(finished: Path, tmp_path: Path) -> None:
    run, messages = tmp_path / "run", list[str]()
    shutil.copytree(finished, run)
    for path in run.glob("checkpoints/step_*.pt"):
        cut_short(path)
    assert checkpoints.load(run, messages.append)["step"] == 8  # the best one is still there
    assert len(messages) == 2
    cut_short(run / "checkpoints" / "best.pt")
    with pytest.raises(CorruptFile, match="not one of its 3 checkpoints can be read"):
        export(run, tmp_path / "weights.safetensors", report=messages.append)


def test_checkpoints_of_steps_to_come_are_dropped(tmp_path: Path) -> None:
    for step in (100, 200, 150):
        checkpoints.save(tmp_path, {"step": step})
    assert sorted(path.name for path in tmp_path.glob("checkpoints/*")) == ["step_00000100.pt", "step_00000150.pt"]


STOP_WHEREVER_THE_DISK_CHANGES = """
import os, signal, sys, torch
from pathlib import Path
from vqcodec import files
from vqcodec.recipes.training import checkpoints

def stopping_after(function):
    def stopping(*arguments, **options):
        result = function(*arguments, **options)
        os.kill(os.getpid(), signal.SIGSTOP)
        return result
    return stopping

def save(step):
    checkpoints.save(Path(sys.argv[1]), {"step": step, "weights": torch.full((500_000,), float(step))})

save(1)
files._NamedFile.write = stopping_after(files._NamedFile.write)
os.replace, Path.unlink = stopping_after(os.replace), stopping_after(Path.unlink)
for step in range(2, 6):
    save(step)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="needs signals that stop a process")
def test_at_any_moment_there_is_a_whole_checkpoint(tmp_path: Path) -> None:
    script, messages = tmp_path / "save.py", list[str]()
    script.write_text(STOP_WHEREVER_THE_DISK_CHANGES)
    found = [1]
    with subprocess.Popen([sys.executable, script, tmp_path]) as process:
        while os.WIFSTOPPED(os.waitpid(process.pid, os.WUNTRACED)[1]):  # the disk is now as if it had been killed
            state = checkpoints.load(tmp_path, messages.append)
            assert state["step"] in (found[-1], found[-1] + 1)
            assert state["weights"].unique().tolist() == [state["step"]]
            found.append(state["step"])
            process.send_signal(signal.SIGCONT)
    assert set(found) == {1, 2, 3, 4, 5} and len(found) > 12
    assert messages == []


def test_a_full_disk_leaves_the_checkpoints_there_are(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="limits the size of files")
    checkpoints.save(tmp_path, {"step": 1, "weights": torch.ones(1000)})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(VqcodecError, match=r"cannot write .*step_00000002\.pt: (File too large|is the disk full)"):
            checkpoints.save(tmp_path, {"step": 2, "weights": torch.ones(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in tmp_path.glob("checkpoints/*")] == ["step_00000001.pt"]
    assert checkpoints.load(tmp_path, print)["step"] == 1


def test_the_best_checkpoint_is_kept_by_the_direction_of_its_score(tmp_path: Path) -> None:
    def kept(folder: str, by: str, values: Sequence[float]) -> list[bool]:
        best = checkpoints.BestCheckpoint(tmp_path / folder, by)
        return [
            best.offer({"mel@1": 9.0, "mel@2": value, "si_sdr@2": value}, {"step": step})
            for step, value in enumerate(values)
        ]

    for folder in "abcd":
        (tmp_path / folder).mkdir()
    assert kept("a", "mel@2", [3.0, 2.0, 2.5, math.nan, 1.0]) == [True, True, False, False, True]
    assert kept("b", "si_sdr", [-3.0, math.nan, 2.0, 1.0, 4.0]) == [True, False, True, False, True]
    assert kept("c", "mel", [3.0, 2.0]) == [True, True]
    assert kept("c", "mel", [2.5, 1.0]) == [False, True]  # resumed: what was noted counts
    assert kept("c", "si_sdr", [-9.0]) == [True]  # unless it was another score
    assert kept("d", "complex", [1.0]) == [False]
    noted = json.loads((tmp_path / "a" / "checkpoints" / "best.json").read_text())
    assert (noted["step"], noted["by"], noted["value"]) == (4, "mel@2", 1.0)


def test_the_best_weights_can_be_exported(finished: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    state = states(run)
    state["step"] = 5
    checkpoints.write(run, "best.pt", state)
    assert export(run, tmp_path / "best.safetensors", best=True, report=print) == 5
    assert export(run, tmp_path / "last.safetensors", report=print) == 8
    assert Codec.load(tmp_path / "best.safetensors").name == "tiny"
    trained_on = registry.describe(tmp_path / "best.safetensors").trained_on_scores
    assert trained_on == imitated_scores(checkpoints.recorded(run).loss) != ()
    (run / "checkpoints" / "best.pt").unlink()
    with pytest.raises(ConfigError, match="no best checkpoint"):
        export(run, tmp_path / "none.safetensors", best=True, report=print)


def test_lines_of_steps_that_come_again_leave_the_metrics_file(tmp_path: Path) -> None:
    with MetricsLog(tmp_path) as log:
        for step in (1, 2, 3, 4):
            log.training(step, {"loss": 1.0 / step}, [5.0])
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(path.read_bytes()[:-10])  # killed in the midst of a line
    with MetricsLog(tmp_path, step=2) as log:
        log.training(3, {"loss": 7.0}, [5.0])
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3]
    assert lines[-1] == {"step": 3, "loss": 7.0, "perplexity": [5.0]}


def test_tensorboard_has_curves_sound_pictures_and_codes(speech: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="TensorBoard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    settings = recipe("run.tensorboard=true", "run.steps=8", "run.validate_every=4")
    train(settings, [speech], tmp_path / "run", display=Notes())
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"), size_guidance={"images": 0, "audio": 0})
    events.Reload()
    tags = events.Tags()
    assert {"training/loss", "training/data_share", "validation/mel_at_3", "perplexity/stage_3"} <= set(tags["scalars"])
    assert [event.step for event in events.Scalars("training/loss")] == [1, 2, 4, 5, 6, 8]
    names = {"recording_1/input", "recording_1/0.2_kbit_per_s", "recording_1/0.6_kbit_per_s"}
    assert names <= set(tags["audio"]) and names <= set(tags["images"])
    assert [event.step for event in events.Audio("recording_1/input")] == [0]
    assert [event.step for event in events.Audio("recording_1/0.6_kbit_per_s")] == [8]
    assert events.Audio("recording_1/input")[0].sample_rate == 16_000
    assert {f"code_usage/stage_{number}" for number in (1, 2, 3)} <= set(tags["histograms"])


def test_pictures_show_high_frequencies_above_low_ones() -> None:
    times = torch.arange(16_000) / 16_000
    low, high = (spectrogram(torch.sin(2 * math.pi * hz * times), 16_000)[0] for hz in (500.0, 7500.0))
    assert low.shape == high.shape and low.min() >= 0 and low.max() <= 1
    assert low.mean(1).argmax() > 0.9 * len(low)
    assert high.mean(1).argmax() < 0.1 * len(high)


def test_without_tensorboard_there_is_one_message(
    speech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    notes = Notes()
    assert train(recipe("run.tensorboard=true", "run.steps=2"), [speech], tmp_path / "run", display=notes)
    [told] = [message for message in notes.messages if "TensorBoard" in message]
    assert "pip install tensorboard" in told
    assert not (tmp_path / "run" / "tensorboard").exists()


@pytest.mark.parametrize(
    "error",
    [
        None,
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."),
        MemoryError(),
    ],
)
def test_out_of_memory_says_what_to_lower(
    speech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception | None
) -> None:
    def fail(*_: object) -> None:
        if error is not None:
            raise error
        torch.empty(2**50)  # no machine has as much

    monkeypatch.setattr(Trainer, "train_step", fail)
    with pytest.raises(VqcodecError, match=r"^[^\n]*$") as caught:
        train(recipe(), [speech], tmp_path / "run", display=Notes())
    for words in ("optimizer.accumulate (now 1)", "data.batch_size (now 4)", "data.crop_s (now 0.25)"):
        assert words in str(caught.value)


def test_other_errors_are_not_taken_for_a_lack_of_memory() -> None:
    with pytest.raises(RuntimeError, match="shapes"), memory.explained(recipe()):
        raise RuntimeError("shapes do not match")


def test_the_share_of_time_spent_waiting_for_data_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter([10.0, 11.0, 13.0, 18.0, 18.0])  # the start, a batch that is waited for, the reading, a new start
    monkeypatch.setattr(logs, "time", SimpleNamespace(monotonic=lambda: next(ticks)))
    meter = Meter(audio_s=2.0)
    with meter.waiting():
        pass
    meter.add({"loss": torch.tensor(1.0), "skipped": torch.tensor(3.0)})
    meter.add({"loss": torch.tensor(2.0), "skipped": torch.tensor(4.0)})
    metrics, _ = meter.read()
    assert (metrics["loss"], metrics["skipped"]) == (1.5, 4.0)
    assert (metrics["data_share"], metrics["audio_s_per_s"]) == (2 / 8, 2 * 2.0 / 8)


OF_KIND = {
    "vq": ["model.num_stages=1"],
    "product": ["model.num_stages=4"],
    "lattice": ["model.num_stages=8"],
    "tree": [],
    "hierarchical": ["bottleneck.coarse_stages=1"],
    "vae": [],
    "none": [],
}


@pytest.mark.parametrize("kind", OF_KIND)
def test_a_run_of_every_kind_can_be_interrupted_and_exported(speech: Path, tmp_path: Path, kind: str) -> None:
    run, notes = tmp_path / "run", Notes()
    settings = recipe(f"bottleneck.kind={kind}", *OF_KIND[kind], "run.tensorboard=true")
    notes.on_step = lambda step: os.kill(os.getpid(), signal.SIGTERM) if step == 10 else None
    assert train(settings, [speech], run, display=notes, cache=tmp_path / "cache") is None
    weights = train(settings, [speech], run, display=notes, resume=True, cache=tmp_path / "cache")
    assert weights is not None
    model, waveform = Codec.load(weights).model, voice(1.0, 16_000, seed=50)
    assert model.config == settings.model
    most = model.config.num_stages if model.config.has_codes else 0
    assert notes.scores[-1].keys() >= {f"mel@{most}", f"si_sdr@{most}"}
    assert ("perplexity_min" in notes.scores[-1]) is model.config.has_codes
    assert checkpoint_file.read(run / "checkpoints" / "best.pt")["step"] in (8, 16)
    if model.config.has_codes:
        codec = Codec.load(weights)
        assert codec.decode(codec.encode(waveform)).shape == (1, 16_000)
    else:
        with pytest.raises(ConfigError, match=rf"has no codes: its bottleneck is '{kind}'"):
            Codec.load(weights).encode(waveform)


def test_code_vectors_learnt_by_gradient_are_exported_like_others(speech: Path, tmp_path: Path) -> None:
    settings = recipe("quantizer.learning=gradient", "run.steps=8")
    weights = train(settings, [speech], tmp_path / "run", display=Notes())
    assert weights is not None
    model, average = Codec.load(weights).model, states(tmp_path / "run")["average"]
    assert not any(book.vectors.requires_grad for book in model.quantizer.books)
    for number, book in enumerate(model.quantizer.books):
        expected = average[f"module.quantizer.codebooks.{number}.vectors"]
        torch.testing.assert_close(book.vectors, expected, rtol=1e-3, atol=1e-3)  # float16
    again = train(recipe("run.steps=2"), [speech], tmp_path / "again", display=Notes(), init=weights)
    assert again is not None


def test_runs_of_earlier_versions_resume(finished: Path, speech: Path, tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    for run in (old, new):
        shutil.copytree(finished, run)
    without = json.loads((old / "recipe.json").read_text())
    del without["bottleneck"], without["quantizer"]["learning"]
    for former, name in (("handover_start", "schedule_start"), ("handover_steps", "schedule_steps")):
        without["loss"][former] = without["loss"].pop(name)
    for name in ("codebook", "divergence", "sparse", "sparse_rho", "contractive"):
        del without["loss"][name]
    (old / "recipe.json").write_text(json.dumps(without))
    checkpoints.write(old, "step_00000008.pt", states(old) | {"recipe": without})
    for run in (old, new):
        again = loading.change(checkpoints.recorded(run), ["run.steps=10"])
        assert train(again, [speech], run, display=Notes(), resume=True)
    assert_same(states(old), states(new))
    with pytest.raises(ConfigError, match="other sizes than this recipe's: bottleneck rvq -> vae"):
        train(recipe("bottleneck.kind=vae"), [speech], old, display=Notes(), resume=True)


def test_noisy_input_with_a_clean_target_is_learnt_by_any_kind(speech: Path, tmp_path: Path) -> None:
    noisy = ["augment.noise=1.0", "augment.denoise=true", "augment.snr_db=[0.0, 5.0]"]
    settings = recipe("bottleneck.kind=none", *noisy, "run.steps=60")
    train(settings, [speech], tmp_path / "run", display=Notes())
    signed = [line["signed"] for line in logged(tmp_path / "run")]
    assert signed[-1] < 0.75 * signed[0]
    source = open_source(settings, [speech], tmp_path / "run" / "cache", print)
    batch = next(source.batches(range(1), World(), 0))
    assert 0.5 * batch.target.std() < (batch.waveform - batch.target).std() < 2 * batch.target.std()


def test_sizes_that_do_not_fit_a_kind_are_explained(speech: Path, tmp_path: Path) -> None:
    arguments = ["train", "tiny", "--data", str(speech), "--out", str(tmp_path / "run"), "--device", "cpu"]
    refused = CliRunner().invoke(app, [*arguments, "--set", "bottleneck.kind=vq"])
    assert refused.exit_code == 1
    assert "model.num_stages = 8 must be 1" in refused.stderr
    assert not (tmp_path / "run").exists()


def test_resuming_keeps_the_settings_of_the_run(finished: Path, speech: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    arguments = ["train", "tiny", "--data", str(speech), "--out", str(run), "--resume", "--device", "cpu"]
    result = CliRunner().invoke(app, [*arguments, "--set", "run.steps=9"])
    assert result.exit_code == 0, result.output
    lines = result.stderr.splitlines()
    assert "vqcodec: changed in this run: run.steps 8 -> 9" in lines
    [kept] = [line for line in lines if "keeps its own settings, not those of tiny" in line]
    assert "model.latent_dim 32 -> 16" in kept and "run.steps" not in kept
    assert states(run)["step"] == 9
    assert checkpoints.recorded(run).run.steps == 9
    missing = CliRunner().invoke(app, [*arguments[:5], str(tmp_path / "none"), "--resume"])
    assert missing.exit_code == 1
    assert "holds no checkpoint to resume from" in missing.stderr


def test_weights_to_begin_with_may_be_named(speech: Path, tmp_path: Path) -> None:
    arguments = ["train", "tiny", "--data", str(speech), "--out", str(tmp_path / "run"), "--device", "cpu"]
    unknown = CliRunner().invoke(app, [*arguments, "--init", "speech_17k"])
    assert unknown.exit_code == 1 and "unknown model 'speech_17k'" in unknown.stderr
    shipped = CliRunner().invoke(app, [*arguments, "--init", "speech_16k"])
    assert shipped.exit_code == 1 and "is a model of other sizes than the recipe's" in shipped.stderr


def test_perceptual_losses_take_part_where_they_weigh_something(speech: Path, tmp_path: Path) -> None:
    weighed = recipe("loss.intelligibility=1.0", "loss.loudness=0.1", "loss.similarity=0.5", "run.steps=12")
    train(weighed, [speech], tmp_path / "run", display=Notes())
    assert {"intelligibility", "loudness", "similarity"} <= logged(tmp_path / "run")[-1].keys()
    weights = loss_weights(weighed.loss, 0.5)
    assert (weights["intelligibility"], weights["loudness"], weights["similarity"]) == (0.5, 0.05, 0.25)
    assert "loudness" not in loss_weights(recipe("loss.loudness=0").loss, 1.0)


def test_a_model_whose_decoder_alone_was_trained_on_decodes_the_files_of_its_forerunner(
    finished: Path, speech: Path, tmp_path: Path
) -> None:
    first = finished / "tiny.safetensors"
    settings = recipe("run.steps=6", "phases.decoder_only_from=0")
    later = train(settings, [speech], tmp_path / "later", display=Notes(), init=first)
    assert later is not None
    old, new = Codec.load(first), Codec.load(later)
    waveform = voice(1.0, 16_000, seed=50)
    encoded = old.encode(waveform)
    assert new.decodes == (old.fingerprint,) and new.fingerprint != old.fingerprint
    assert (encoded.codes == new.encode(waveform).codes).all()
    assert not (new.decode(encoded) == old.decode(encoded)).all()
    tuned = train(recipe("run.steps=6"), [speech], tmp_path / "tuned", display=Notes(), init=first)
    assert tuned is not None and Codec.load(tuned).decodes == ()


def test_what_is_not_finite_stays_out_of_the_means() -> None:
    meter = Meter(1.0)
    for loss in (1.0, math.nan, 3.0, math.inf):
        meter.add({"loss": torch.tensor(loss), "signed": torch.tensor(math.nan)})
    metrics, _ = meter.read()
    assert metrics["loss"] == 2.0 and "signed" not in metrics
