"""Checkpoints of training: exported, and resumed with a step."""

from __future__ import annotations

import copy
import functools
import io
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import torch

from vqcodec.errors import VqcodecError
from vqcodec.recipes import loading
from vqcodec.recipes.config import Recipe
from vqcodec.recipes.data.batches import Example
from vqcodec.recipes.distributed import World
from vqcodec.recipes.training import checkpoints
from vqcodec.recipes.training.checkpoint_file import taken_over
from vqcodec.recipes.training.step import Trainer

from .damaged_values import changed_value

_CPU = torch.device("cpu")


@functools.cache
def _recipe() -> Recipe:
    model = ["latent_dim=4", "num_stages=2", "codebook_size=4", "mdct_hop=20", "encoder_width=4", "encoder_blocks=1"]
    settings = [f"model.{size}" for size in [*model, "decoder_width=4", "decoder_blocks=1"]]
    settings += ["data.batch_size=2", "data.crop_s=0.2", "quantizer.start_step=0", "phases.adversarial_from=0"]
    settings += ["discriminator.periods=[2]", "discriminator.windows=[64]", "discriminator.stft_channels=2"]
    settings += [f"loss.{name}=0" for name in ("mel", "magnitude", "complex", "mean")]  # quicker: they keep no state
    settings += ["discriminator.alone_steps=0", "model.decoder_stochastic=false", "run.precision=fp32"]
    return loading.load("speech_16k", settings)


@functools.cache
def _run() -> Path:
    """The folder of a run, on a disk in memory where there is one."""
    memory = Path("/dev/shm")
    run = Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None))
    (run / "checkpoints").mkdir()
    return run


def _batch() -> Example:
    model = _recipe().model
    sound = torch.randn(
        2, 1, model.latent_hop * 80 + model.delay // 40 * 40, generator=torch.Generator().manual_seed(1)
    )
    return Example(sound / 10, sound / 10)


def seeds() -> list[bytes]:
    """A run after two steps, with discriminators."""
    trainer = Trainer(_recipe(), _CPU, World())
    trainer.initialise_codebooks([_batch()])
    for _ in range(2):
        trainer.train_step(_batch())
    return [_saved(trainer.state())]


def _saved(state: object) -> bytes:
    file = io.BytesIO()
    torch.save(state, file)
    return file.getvalue()


def check(data: bytes) -> None:
    """Export the weights, and take a step on."""
    (_run() / "checkpoints" / "step_00000002.pt").write_bytes(data)
    for use in (_export, _resume):
        try:
            use()
        except VqcodecError as error:
            assert str(error) and "\n" not in str(error)


def _export() -> None:
    checkpoints.export(_run(), _run() / "weights.safetensors", force=True, report=lambda text: None)


def _resume() -> None:
    state = checkpoints.load(_run(), lambda text: None)
    trainer = Trainer(_recipe(), _CPU, World())
    with taken_over(_run()):
        trainer.load_state(state)
    if trainer.needs_codebooks:
        trainer.initialise_codebooks([_batch()])
    trainer.train_step(_batch())


def mutate(data: bytes, random: Random, change: Callable[[bytes], bytes]) -> bytes:
    """Damage a value of the state, or a member of the archive, whose checksum is made right again."""
    if random.random() < 0.6:
        try:
            state = torch.load(io.BytesIO(data), weights_only=True)
            return _saved(_changed(copy.deepcopy(state), random))
        except Exception:
            pass
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
    except Exception:
        return change(data)
    if not members:
        return change(data)
    name = next(iter(members)) if random.random() < 0.5 else random.choice(list(members))
    members[name] = change(members[name])
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    return file.getvalue()


def _changed(value: Any, random: Random) -> Any:
    """A state with a tensor or a value in it replaced."""
    if isinstance(value, dict) and value and random.random() < 0.95:
        key = random.choice(list(value))
        value[key] = _changed(value[key], random)
        if random.random() < 0.05:
            del value[key]
        return value
    if isinstance(value, list) and value and random.random() < 0.95:
        place = random.randrange(len(value))
        value[place] = _changed(value[place], random)
        return value
    if isinstance(value, torch.Tensor) and random.random() < 0.8:
        return random.choice(
            (
                torch.zeros(3),
                value.flatten()[:1].clone(),
                value.double(),
                value.to(torch.int64),
                value.to(torch.complex64),
                value.clone().to_sparse() if value.ndim else value,
                torch.full_like(value, float("nan")) if value.is_floating_point() else value + 10**9,
                torch.zeros(1).expand(value.shape),
                value[None],
            )
        )
    return changed_value(value, random)
