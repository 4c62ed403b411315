"""Several processes train what one would train, die and resume without a trace, and speak with one voice."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from distributed_helpers import (
    OF_KIND,
    SMALL,
    recipe,
    resume_and_save,
    run,
    take_steps,
    take_turns,
    talk,
    tensors_of,
    together,
    train_and_save,
)
from vqcodec import Codec
from vqcodec.errors import ConfigError
from vqcodec.models.bottlenecks.codebook import Codebook
from vqcodec.models.registry import describe
from vqcodec.recipes.distributed import World, joined
from vqcodec.recipes.training.step import Trainer

JOBS = {
    "plain": [],
    "phases": [
        "phases.adversarial_from=4",
        "discriminator.alone_steps=1",
        "discriminator.ramp_steps=2",
        "phases.decoder_only_from=7",
    ],
    "hierarchical": [
        "bottleneck.kind=hierarchical",
        *OF_KIND["hierarchical"],
        "quantizer.learning=gradient",
    ],
    "sampled": ["model.decoder_stochastic=true", "loss.mean=0.3"],
    "vae": ["bottleneck.kind=vae", "loss.sparse=2.0", "loss.contractive=1e-3"],
}
SIZES = [2, 3]
IN_PARTS = "optimizer.accumulate=2"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What every process of one, two and three has after the jobs; the three work in parts as well."""
    out = tmp_path_factory.mktemp("trained")
    train_and_save(World(), JOBS, out)
    together(2, train_and_save, JOBS, out)
    together(3, train_and_save, {name: [*settings, IN_PARTS] for name, settings in JOBS.items()}, out)
    return out


def result(folder: Path, job: str, rank: int, size: int) -> tuple[dict[str, Tensor], list[dict[str, Tensor]]]:
    """The state, as a flat table of its tensors, and the metrics of every step."""
    state, metrics = torch.load(folder / f"{job}_{rank}_of_{size}.pt", weights_only=True)
    return dict(tensors_of(state)), metrics


# Steps


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("job", JOBS)
def test_processes_stay_alike(trained: Path, job: str, size: int) -> None:
    lead, metrics = result(trained, job, 0, size)
    for rank in range(1, size):
        state, others = result(trained, job, rank, size)
        own = {
            "/adversary/metrics/discriminator",
            "/adversary/metrics/discriminator_accuracy",
        }  # of its share of the batch
        assert [name for name in lead if not torch.equal(lead[name], state[name]) and name not in own] == []
        assert all(torch.equal(a[name], b[name]) for a, b in zip(metrics, others, strict=True) for name in a)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("job", JOBS)
def test_processes_train_what_one_does(trained: Path, job: str, size: int) -> None:
    alone, metrics_alone = result(trained, job, 0, 1)
    state, metrics = result(trained, job, 0, size)
    assert state.keys() == alone.keys()
    for name, tensor in alone.items():
        if name.startswith(("/model", "/average")):
            torch.testing.assert_close(
                state[name], tensor, rtol=2e-3, atol=1e-3, msg=lambda text, n=name: f"{n}: {text}"
            )
    for expected, found in zip(metrics_alone, metrics, strict=True):
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            torch.testing.assert_close(
                found[name], value, rtol=2e-3, atol=1e-4, msg=lambda text, n=name: f"{n}: {text}"
            )


def test_those_steps_had_it_all(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, metrics = result(trained, "phases", 0, 2)
    assert {"signed", "mel", "commitment", "adversarial", "feature", "discriminator", "perplexity"} <= metrics[
        -1
    ].keys()
    dead: list[int] = []
    replace = Codebook.replace

    def count(self: Codebook, which: Tensor, live: Tensor) -> None:
        dead.append(int(which.sum()))
        replace(self, which, live)

    monkeypatch.setattr(Codebook, "replace", count)
    take_steps(recipe(), World())
    assert any(dead[-9:])  # of three stages in the last three steps


def test_two_processes_resume_bit_for_bit(trained: Path, tmp_path: Path) -> None:
    together(2, resume_and_save, JOBS["phases"], 6, tmp_path)
    whole, metrics = result(trained, "phases", 0, 2)
    resumed, rest = result(tmp_path, "resumed", 0, 2)
    assert [name for name in whole if not torch.equal(whole[name], resumed[name])] == []
    assert all(torch.equal(a[name], b[name]) for a, b in zip(metrics[6:], rest, strict=True) for name in a)


def test_a_batch_must_be_shared_out_evenly() -> None:
    with pytest.raises(ConfigError, match="choose a multiple of 4"):
        Trainer(recipe(IN_PARTS), torch.device("cpu"), World(0, 2))


# What processes tell each other


@pytest.mark.parametrize("size", SIZES)
def test_processes_talk(size: int) -> None:
    together(size, talk)


def test_one_alone_gets_back_what_it_gave() -> None:
    talk(World())


def test_processes_take_turns(tmp_path: Path) -> None:
    together(2, take_turns, tmp_path)


def test_the_environment_names_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    with joined() as world:
        assert world == World(0, 1)
        assert world.leads
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "2")
    with joined() as world:
        assert world.restarted


def test_devices_of_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert World().device("auto") == torch.device("cuda")
    assert World().device("cuda:1") == torch.device("cuda", 1)
    assert World(3, 4, local_rank=1).device("auto") == torch.device("cuda", 1)
    assert World(3, 4, local_rank=1).device("cpu") == torch.device("cpu")
    with pytest.raises(ConfigError, match="each takes its own"):
        World(1, 2, 1).device("cuda:0")
    with pytest.raises(ConfigError, match="--nproc-per-node"):
        World(2, 3, 2).device("cuda")
    with pytest.raises(ConfigError, match="no such device"):
        World().device("abacus")


# Whole runs


RUN = ["run.steps=24", "run.validate_every=12", "run.checkpoint_minutes=1e-9"]


@pytest.fixture(scope="module")
def whole(speech: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two processes that nothing happens to."""
    root = tmp_path_factory.mktemp("whole")
    together(2, run, speech, root / "run", root / "cache", RUN, False, None, connected=False)
    return root / "run"


def last_state(run: Path) -> dict[str, Tensor]:
    state = torch.load(sorted((run / "checkpoints").glob("step_*.pt"))[-1], weights_only=True)
    return dict(tensors_of(state))


def assert_same_end(run: Path, whole: Path) -> None:
    found, expected = last_state(run), last_state(whole)
    assert [name for name in expected if not torch.equal(found[name], expected[name])] == []
    assert describe(run / "small.safetensors").fingerprint == describe(whole / "small.safetensors").fingerprint


def test_only_the_first_process_writes(whole: Path) -> None:
    lines = [json.loads(line) for line in (whole / "metrics.jsonl").read_text().splitlines()]
    logged = [line["step"] for line in lines if "loss" in line]
    assert logged == sorted(set(logged))
    assert logged[-1] == 24
    assert [line["step"] for line in lines if "validation" in line] == [12, 24]
    Codec.load(whole / "small.safetensors")


def test_a_signal_to_one_process_stops_all(speech: Path, whole: Path, tmp_path: Path) -> None:
    arguments = [speech, tmp_path / "run", tmp_path / "cache", [*RUN, "run.checkpoint_minutes=60"]]
    together(2, run, *arguments, False, 5, connected=False)
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == ["step_00000005.pt"]
    together(2, run, *arguments, True, None, connected=False)
    assert_same_end(tmp_path / "run", whole)


KILLED_ONCE = """
import os, signal
from vqcodec.cli.main import main
from vqcodec.recipes.training.step import Trainer
step_of = Trainer.train_step
def step(self, batch):
    metrics = step_of(self, batch)
    if self.step == 7 and (os.environ["RANK"], os.environ["TORCHELASTIC_RESTART_COUNT"]) == ("1", "0"):
        os.kill(os.getpid(), signal.SIGKILL)
    return metrics
Trainer.train_step = step
main()
"""


def test_a_killed_process_costs_no_more_than_the_steps_since_the_checkpoint(
    speech: Path, whole: Path, tmp_path: Path
) -> None:
    script = tmp_path / "killed_once.py"
    script.write_text(KILLED_ONCE)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--max-restarts=1"]
    command += [str(script), "train", "speech_16k", str(speech), "--out", str(tmp_path / "run"), "--device", "cpu"]
    command += [part for setting in [*SMALL, *RUN] for part in ("--set", setting)]
    with open(tmp_path / "output", "w+") as output:
        code = subprocess.run(command, stderr=output, check=False).returncode
        output.seek(0)
        said = output.read()
    assert code == 0, said
    assert "resuming at step" in said
    assert said.count("M parameters") == 2  # once in the run and once when it resumes, not once a process
    assert_same_end(tmp_path / "run", whole)
