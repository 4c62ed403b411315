"""Several processes that train together, and the steps they take: what the tests of distributed training share."""

from __future__ import annotations

import functools
import multiprocessing
import os
import signal
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from synthetic import Sound, voice
from vqcodec.errors import VqcodecError
from vqcodec.recipes import loading
from vqcodec.recipes.config import Recipe
from vqcodec.recipes.data.batches import Example, crop_samples
from vqcodec.recipes.distributed import World, joined
from vqcodec.recipes.training.step import Trainer
from vqcodec.recipes.training.train import train

SMALL = [
    "model.name=small",
    "model.latent_dim=16",
    "model.num_stages=3",
    "model.codebook_size=48",
    "model.encoder_width=24",
    "model.encoder_blocks=1",
    "model.decoder_width=32",
    "model.decoder_blocks=1",
    "model.decoder_stochastic=false",
    "data.batch_size=6",
    "data.crop_s=0.25",
    "data.workers=0",
    "data.gain_db=[-12.0, 6.0]",
    "data.validation_s=2.0",
    "augment.noise=0",
    "augment.reverb=0",
    "optimizer.warmup_steps=4",
    "optimizer.weight_ema=0.9",
    "loss.schedule_start=4",
    "loss.schedule_steps=4",
    "quantizer.start_step=3",
    "quantizer.kmeans_batches=4",
    "quantizer.usage_threshold=0.5",  # many dead codes
    "quantizer.ema_decay=0.9",
    "quantizer.full_share=0.15",
    "discriminator.periods=[2, 3]",
    "discriminator.period_channels=2",
    "discriminator.windows=[256]",
    "discriminator.stft_channels=4",
    "run.precision=fp32",
    "run.steps=9",
    "run.log_every=2",
    "run.validate_every=9",
    "run.tensorboard=false",
]


OF_KIND = {
    "rvq": [],
    "vq": ["model.num_stages=1"],
    "product": ["model.num_stages=4"],
    "lattice": ["model.num_stages=4", "model.codebook_size=256"],
    "tree": ["model.codebook_size=4"],
    "hierarchical": ["model.num_stages=6", "bottleneck.coarse_stages=2"],
    "vae": [],
    "none": [],
}
"""The sizes that suit each kind of bottleneck, beside those above."""


PRELOADED = ["distributed_helpers", "librosa.filters", "torch._dynamo", "vqcodec.recipes.training.train"]
"""Imported once, not once a process: that takes longer than the steps."""


def recipe(*overrides: str) -> Recipe:
    """A recipe of a few quick steps, with every part of a step in it."""
    return loading.load("speech_16k", [*SMALL, *overrides])


def recipe_of(kind: str, *overrides: str) -> Recipe:
    """The same with a bottleneck of some kind."""
    return recipe(f"bottleneck.kind={kind}", *OF_KIND[kind], *overrides)


def batch_of(chosen: Recipe, world: World, number: int) -> Example:
    """This process's share of a batch [item, 1, sample]."""
    sound = _sound()
    samples = crop_samples(chosen)
    starts = np.random.default_rng(number).integers(len(sound) - samples, size=chosen.data.batch_size)
    crops = np.stack([sound[start : start + samples] for start in starts])[:, None]
    crops *= 10 ** -np.linspace(0, 1, len(crops), dtype=np.float32)[:, None, None]  # no two shares are as loud
    waveform = torch.from_numpy(crops[world.share(len(crops))])
    return Example(waveform, waveform)


@functools.cache
def _sound() -> Sound:
    return voice(6.0, seed=1)


def take_steps(
    chosen: Recipe, world: World, last: int | None = None, state: dict[str, Any] | None = None
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Train up to step `last`, or to the end, from the beginning or from a state: the new one, and all metrics."""
    trainer = Trainer(chosen, torch.device("cpu"), world)
    if state is not None:
        trainer.load_state(state)
    metrics = []
    while trainer.step < (chosen.run.steps if last is None else last):
        if trainer.needs_codebooks:
            trainer.initialise_codebooks(batch_of(chosen, world, 1000 + number) for number in range(4))
        metrics.append(trainer.train_step(batch_of(chosen, world, trainer.step)))
    return trainer.state(), metrics


def tensors_of(value: Any, name: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    """All numbers of a state but its recipe, each with the path to it."""
    if isinstance(value, torch.Tensor):
        yield name, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            if key != "recipe":
                yield from tensors_of(inner, f"{name}/{key}")
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from tensors_of(inner, f"{name}/{index}")
    elif value is not None:
        yield name, torch.tensor(float(value))


def together(size: int, work: Callable[..., None], *args: Any, connected: bool = True) -> None:
    """Call work(world, *args) in `size` connected processes at once, and wait for them; or work(*args) in loose ones.

    Raises:
        AssertionError: one of them failed.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    with socket.socket() as port:  # bound until the end, so that no other process is given it
        port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        port.bind(("127.0.0.1", 0))
        join = functools.partial(_join, size, port.getsockname()[1], connected, work, args)
        processes = [context.Process(target=join, args=[rank]) for rank in range(size)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(600)
            process.kill()
    assert [process.exitcode for process in processes] == [0] * size


def _join(size: int, port: int, connected: bool, work: Callable[..., None], args: Sequence[Any], rank: int) -> None:
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(size), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    if not connected:
        work(*args)
        return
    with joined() as world:
        work(world, *args)


def train_and_save(world: World, jobs: Mapping[str, Sequence[str]], out: Path) -> None:
    """Take the steps of several recipes, named by their overrides; every process saves what it has at the end."""
    for name, overrides in jobs.items():
        torch.save(take_steps(recipe(*overrides), world), out / f"{name}_{world.rank}_of_{world.size}.pt")


def resume_and_save(world: World, overrides: Sequence[str], stop: int, out: Path) -> None:
    """Take the steps of a recipe, the later ones in a new trainer from the state of the process that leads."""
    state, _ = take_steps(recipe(*overrides), world, stop)
    world.by_lead(lambda: torch.save(state, out / "stopped.pt"))
    state = torch.load(out / "stopped.pt", weights_only=True)
    torch.save(take_steps(recipe(*overrides), world, state=state), out / f"resumed_{world.rank}_of_{world.size}.pt")


def talk(world: World) -> None:
    """Every way in which processes tell each other something."""
    rank, size = world.rank, world.size
    first, second = world.sum(torch.full((2, 3), rank + 1.0), torch.tensor(float(rank == 0)))
    assert first.tolist() == [[size * (size + 1) / 2] * 3] * 2
    assert second == 1.0
    assert world.gather(torch.tensor([[rank, 7]])).tolist() == [[other, 7] for other in range(size)]
    copied = torch.full((3,), float(rank))
    world.copy_from_lead([copied])
    assert copied.tolist() == [0.0] * 3
    assert world.any(rank == size - 1)
    assert not world.any(False)
    assert [world.share(6)[0], len(world.share(6))] == [rank * 6 // size, 6 // size]
    with_gradient, without = torch.nn.Parameter(torch.zeros(4)), torch.nn.Parameter(torch.zeros(2))
    with_gradient.grad = torch.full((4,), float(rank))
    world.average_gradients([with_gradient, without])
    assert with_gradient.grad.tolist() == [(size - 1) / 2] * 4
    assert without.grad is None


def take_turns(world: World, out: Path) -> None:
    """The one that leads writes a file before the others look for it; what fails in one fails in all."""

    def find_or_write() -> bool:
        found = (out / "written").exists()
        (out / "written").touch()
        return found

    assert world.in_turn(find_or_write) is not world.leads
    ran: list[int] = []
    world.by_lead(lambda: ran.append(1))
    assert ran == [1] * world.leads
    try:
        world.in_turn(lambda: (out / "missing" / "deeper").mkdir())
    except FileNotFoundError:
        assert world.leads
    except VqcodecError as error:
        assert "another process" in str(error)
        assert not world.leads
    else:
        raise AssertionError("nobody failed")


class Notes:
    """A display that remembers what it was told."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    def message(self, text: str) -> None:
        self.messages.append(text)

    def update(self, step: int, steps: int, metrics: Mapping[str, float], perplexities: Sequence[float]) -> None:
        self.messages.append(f"step {step}")

    def validation(self, step: int, metrics: Mapping[str, float]) -> None:
        self.messages.append(f"validation {step}")


def run(data: Path, out: Path, cache: Path, overrides: Sequence[str], resume: bool, stop: int | None) -> None:
    """A whole run in the processes that the environment names; the last one is told to end after step `stop`."""
    notes = Notes()
    if stop is not None and int(os.environ["RANK"]) == int(os.environ["WORLD_SIZE"]) - 1:
        _end_after(stop)
    weights = train(recipe(*overrides), [data], out, display=notes, resume=resume, device="cpu", cache=cache)
    assert (weights is None) is (stop is not None)
    if int(os.environ["RANK"]) == 0:
        assert any("M parameters" in message for message in notes.messages)
        assert stop is None or notes.messages[-1] == f"stopped at step {stop}; go on with --resume"
    else:
        assert notes.messages == []


def _end_after(stop: int) -> None:
    """Let the trainer of this process get a SIGTERM at the end of a step."""
    step_of = Trainer.train_step

    def step_and_signal(self: Trainer, batch: Example) -> dict[str, torch.Tensor]:
        metrics = step_of(self, batch)
        if self.step == stop:
            os.kill(os.getpid(), signal.SIGTERM)
        return metrics

    Trainer.train_step = step_and_signal  # type: ignore[method-assign]
