"""Training: it learns, it resumes bit for bit, an interruption loses nothing, and what it exports decodes."""

import json
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import torch

from synthetic import voice
from vqcodec import Codec, audio
from vqcodec.errors import ConfigError, CorruptFile
from vqcodec.recipes import config
from vqcodec.recipes.checkpoints import export
from vqcodec.recipes.train import train
from vqcodec.recipes.trainer import learning_rate_share, loss_weights

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
    "loss.handover_start=6",
    "loss.handover_steps=4",
    "quantizer.start_step=4",
    "quantizer.kmeans_batches=4",
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


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("speech")
    for speaker in range(12):
        (root / f"speaker_{speaker}").mkdir()
        audio.write(root / f"speaker_{speaker}" / "a.wav", voice(2.0, 16_000, seed=speaker)[None], 16_000)
    return root


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def recipe(*overrides: str) -> config.Recipe:
    return config.load("speech_16k", [*TINY, *overrides])


def states(run: Path) -> dict:
    return torch.load(sorted((run / "checkpoints").glob("*.pt"))[-1], weights_only=True)


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


def test_a_run_leaves_metrics_and_weights_that_decode(speech: Path, tmp_path: Path) -> None:
    notes = Notes()
    weights = train(recipe("run.steps=60"), [speech], tmp_path / "run", display=notes)
    assert weights == tmp_path / "run" / "tiny.safetensors"
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    logged = [line for line in lines if "loss" in line]
    assert [line["step"] for line in logged] == list(range(2, 61, 2)) == notes.steps
    assert logged[-1]["signed"] < 0.7 * logged[0]["signed"]
    assert {"mel", "complex", "commitment", "audio_s_per_s", "learning_rate"} <= logged[-1].keys()
    assert len(logged[-1]["perplexity"]) == 3
    assert notes.scores[-1].keys() >= {"mel@1", "mel@3", "complex@3", "si_sdr@3", "perplexity_min"}
    codec = Codec.load(weights)
    waveform = voice(1.0, 16_000, seed=50)
    decoded = codec.decode(codec.encode(waveform))
    assert decoded.shape == (1, 16_000)


def test_training_learns_speech_like_sound(speech: Path, tmp_path: Path) -> None:
    notes = Notes()
    train(recipe("run.steps=200", "run.validate_every=20"), [speech], tmp_path / "run", display=notes)
    assert notes.scores[-1]["mel@3"] < 0.7 * notes.scores[0]["mel@3"]


def test_folders_that_hold_a_run_or_none(speech: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(ConfigError, match="no checkpoint to resume"):
        train(recipe(), [speech], run, display=Notes(), resume=True)
    train(recipe("run.steps=2"), [speech], run, display=Notes())
    with pytest.raises(ConfigError, match="--resume"):
        train(recipe(), [speech], run, display=Notes())
    with pytest.raises(ConfigError, match="other sizes"):
        train(recipe("model.latent_dim=8"), [speech], run, display=Notes(), resume=True)
    with pytest.raises(ConfigError, match="--force"):
        export(run, run / "tiny.safetensors")
    (sorted((run / "checkpoints").glob("*.pt"))[-1]).write_bytes(b"nothing like a checkpoint")
    with pytest.raises(CorruptFile, match="not a readable checkpoint"):
        export(run, run / "other.safetensors")


def test_training_can_begin_with_exported_weights(speech: Path, tmp_path: Path) -> None:
    first = train(recipe("run.steps=60"), [speech], tmp_path / "first", display=Notes())
    notes = Notes()
    cold = Notes()
    settings = recipe("run.steps=8", "quantizer.start_step=0", "loss.handover_start=0", "optimizer.learning_rate=1e-5")
    train(settings, [speech], tmp_path / "second", display=notes, init=first)
    train(settings, [speech], tmp_path / "cold", display=cold)
    assert notes.scores[-1]["mel@3"] < 0.8 * cold.scores[-1]["mel@3"]


def test_old_checkpoints_go(speech: Path, tmp_path: Path) -> None:
    train(recipe("run.checkpoint_minutes=1e-9", "run.steps=6"), [speech], tmp_path / "run", display=Notes())
    names = sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir())
    assert names == ["step_00000005.pt", "step_00000006.pt"]


def test_learning_rate_warms_up_and_falls_to_its_final_share() -> None:
    settings = recipe("run.steps=100", "optimizer.warmup_steps=10", "optimizer.final_share=0.1")
    shares = [learning_rate_share(step, settings) for step in range(101)]
    assert shares[0] == pytest.approx(0.1)
    assert max(shares) == pytest.approx(shares[9], rel=0.03)
    assert shares[10:] == sorted(shares[10:], reverse=True)
    assert shares[-1] == pytest.approx(0.1)


def test_loss_weights_hand_over_linearly() -> None:
    losses = config.LossConfig(signed=20.0, signed_final=4.0, mel=1.0, magnitude=3.0, complex=2.0, commitment=0.25)
    assert loss_weights(losses, 0.0, False) == {"signed": 20.0}
    assert loss_weights(losses, 0.5, True) == {
        "signed": 12.0,
        "mel": 0.5,
        "magnitude": 1.5,
        "complex": 1.0,
        "commitment": 0.25,
    }
    assert loss_weights(losses, 1.0, False) == {"signed": 4.0, "mel": 1.0, "magnitude": 3.0, "complex": 2.0}


def test_no_cuda_is_one_clear_line(speech: Path, tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("a CUDA device is available here")
    with pytest.raises(ConfigError, match="no CUDA device"):
        train(recipe(), [speech], tmp_path / "run", display=Notes(), device="cuda")
