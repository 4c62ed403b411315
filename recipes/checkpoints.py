"""A run's checkpoints: everything that training goes on from, and the weights that are exported from them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from torch.optim.swa_utils import AveragedModel

from vqcodec.errors import ConfigError, CorruptFile
from vqcodec.models import checkpoint as weights
from vqcodec.models.autoencoder import Autoencoder

from .config import Recipe, from_dict

KEPT = 2
"""Checkpoints that a run keeps."""


def save(run: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint, whole or not at all, and drop all but the last few."""
    folder = run / "checkpoints"
    folder.mkdir(exist_ok=True)
    temporary = folder / "saving.tmp"
    torch.save(state, temporary)
    os.replace(temporary, folder / f"step_{state['step']:08d}.pt")
    for old in sorted(folder.glob("step_*.pt"))[:-KEPT]:
        old.unlink()


def load(run: Path) -> dict[str, Any]:
    """The run's last checkpoint, on the CPU.

    Raises:
        ConfigError: there is none.
        CorruptFile: it cannot be read.
    """
    paths = sorted((run / "checkpoints").glob("step_*.pt"))
    if not paths:
        raise ConfigError(f"{run} holds no checkpoint")
    try:
        state: dict[str, Any] = torch.load(paths[-1], map_location="cpu", weights_only=True)
    except Exception as error:
        raise CorruptFile(f"{paths[-1]}: not a readable checkpoint ({error})") from None
    return state


def prepare_folder(run: Path, recipe: Recipe, resume: bool) -> None:
    """Make the run's folder and note its recipe there.

    Raises:
        ConfigError: the run exists and `resume` was not asked for, or the other way round.
    """
    exists = any((run / "checkpoints").glob("step_*.pt"))
    if exists and not resume:
        raise ConfigError(f"{run} holds a run already; add --resume to go on with it, or choose another folder")
    if resume and not exists:
        raise ConfigError(f"{run} holds no checkpoint to resume from")
    if resume and from_dict(load(run)["recipe"]).model != recipe.model:
        raise ConfigError(f"{run} trains a model of other sizes than this recipe's")
    run.mkdir(parents=True, exist_ok=True)
    (run / "recipe.json").write_text(recipe.to_json() + "\n", encoding="utf-8")


def export(run: Path, target: Path, force: bool = False) -> Path:
    """Write the averaged weights of a run's last checkpoint as an inference checkpoint.

    Raises:
        ConfigError: the run has no checkpoint, or the target exists and `force` is not set.
    """
    if target.exists() and not force:
        raise ConfigError(f"{target} exists already; add --force to overwrite it")
    state = load(run)
    recipe = from_dict(state["recipe"])
    average = AveragedModel(Autoencoder(recipe.model), use_buffers=True)
    average.load_state_dict(state["average"])
    model = average.module
    assert isinstance(model, Autoencoder)
    weights.save(target, model, training={"steps": state["step"], "recipe": recipe.to_dict()})
    return target
