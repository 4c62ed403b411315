"""A run's folder: its recipe, the checkpoints that training goes on from, and the weights exported from them.

A checkpoint is on the disk whole, or not at all, whenever the process is killed; one that was damaged later is found
out when it is read, and the one before takes its place.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch.optim.swa_utils import AveragedModel

from vqcodec.errors import ConfigError, CorruptFile, VqcodecError
from vqcodec.files import atomic_output
from vqcodec.models import checkpoint
from vqcodec.models.autoencoder import Autoencoder

from ..config import Recipe
from ..loading import from_dict, sizes_that_differ
from ..metrics.imitated import imitated_scores
from . import checkpoint_file
from .validation import SCORES

Report = Callable[[str], None]

KEPT = 2
"""Checkpoints that a run keeps, beside the best one."""

BEST = "best.pt"
"""Name of the checkpoint with the best score on the held-out recordings."""

RECIPE = "recipe.json"
"""Name of the file with the settings of a run, as they were last."""


def save(run: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint, whole or not at all, and drop all but the last few.

    Those of later steps go as well: they are what a run left behind that went back, and would be taken for newer.

    Raises:
        VqcodecError: it cannot be written; the checkpoints that were there stay.
    """
    step = state["step"]
    write(run, f"step_{step:08d}.pt", state)
    earlier = [path for path in _numbered(run) if _step_of(path) <= step]
    for path in set(_numbered(run)) - set(earlier[-KEPT:]):
        path.unlink()


def write(run: Path, name: str, state: dict[str, Any]) -> None:
    """Write a checkpoint of that name, whole or not at all, and leave the others alone.

    Raises:
        VqcodecError: it cannot be written.
    """
    checkpoint_file.write(run / "checkpoints" / name, state)


def load(run: Path, report: Report) -> dict[str, Any]:
    """The run's last checkpoint that can be read, on the CPU.

    Args:
        run: the folder of the run.
        report: is told about every checkpoint that cannot be read.

    Raises:
        ConfigError: there is none.
        CorruptFile: none can be read.
    """
    return _last(run, report)[1]


def exist(run: Path) -> bool:
    """Whether there is anything to go on from."""
    return bool(_numbered(run))


def prepare_folder(run: Path, recipe: Recipe, resume: bool) -> None:
    """Make the run's folder and note its recipe there.

    Raises:
        ConfigError: the run exists and `resume` was not asked for, or the other way round; or its model is another one,
            or its note of the best checkpoint is damaged.
        VqcodecError: the folder cannot be written.
    """
    exists = exist(run)
    if exists and not resume:
        raise ConfigError(f"{run} holds a run already; add --resume to go on with it, or choose another folder")
    if resume and not exists:
        raise ConfigError(f"{run} holds no checkpoint to resume from")
    if resume and (differing := sizes_that_differ(recorded(run).model, recipe.model)):
        raise ConfigError(f"{run} trains a model of other sizes than this recipe's: {', '.join(differing)}")
    BestCheckpoint(run, recipe.run.best_by)
    try:
        run.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise VqcodecError(f"cannot write to {run}: {error.strerror or error}") from error
    with atomic_output(run / RECIPE, force=True) as output:
        output.write((recipe.to_json() + "\n").encode())


def recorded(run: Path) -> Recipe:
    """The settings that a run was last started with; those of its last checkpoint where its `RECIPE` is missing.

    Raises:
        ConfigError: there is no run, or its settings are unknown to this version.
        CorruptFile: only checkpoints could say, and none of them can be read.
    """
    path = run / RECIPE
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if not exist(run):
            raise ConfigError(f"{run} holds no checkpoint to resume from") from None
        return checkpoint_file.recipe_of(*_last(run, lambda problem: None))
    except (OSError, ValueError, RecursionError) as error:
        advice = "remove it, and the settings are those of the last checkpoint"
        raise ConfigError(f"{path} cannot be read: {error}; {advice}") from None
    try:
        return from_dict(values)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def export(run: Path, target: Path, *, best: bool = False, force: bool = False, report: Report) -> int:
    """Write the averaged weights of a checkpoint as an inference checkpoint.

    Args:
        run: the folder of the run.
        target: the file to write.
        best: take the checkpoint with the best score on the held-out recordings, not the last one.
        force: overwrite the target.
        report: is told about checkpoints that cannot be read.

    Returns:
        The step that the weights are of.

    Raises:
        ConfigError: the run has no such checkpoint, or the target exists and `force` is not set.
        CorruptFile: the checkpoint cannot be read.
    """
    if target.exists() and not force:
        raise ConfigError(f"{target} exists already; add --force to overwrite it")
    path, state = _best(run) if best else _last(run, report)
    recipe = checkpoint_file.recipe_of(path, state)
    average = AveragedModel(Autoencoder(recipe.model), use_buffers=True)
    with checkpoint_file.taken_over(path):
        average.load_state_dict(state["average"])
    model = average.module
    assert isinstance(model, Autoencoder)
    model.learn_silence()
    training = {"steps": state["step"], "recipe": recipe.to_dict()}
    trained_on = imitated_scores(recipe.loss, state.get("trained_on_scores", ()))
    checkpoint.save(target, model, training, state.get("decodes", ()), trained_on)
    return int(state["step"])


class BestCheckpoint:
    """The checkpoint of a run with the best score on the held-out recordings; `best.json` beside it has step and score.

    A score with several values, for several numbers of stages, counts by their mean.
    """

    def __init__(self, run: Path, by: str) -> None:
        """
        Args:
            run: the folder of the run; what it holds from before counts, if it was chosen by the same score.
            by: a score as validation names it ("mel@12"), or what stands before its "@"; `checks` knows which.

        Raises:
            CorruptFile: `best.json` is damaged.
        """
        self.run, self.by = run, by
        self._note = run / "checkpoints" / "best.json"
        self.value = self._noted()
        """The best value so far; None before the first one."""

    def offer(self, scores: Mapping[str, float], state: dict[str, Any]) -> bool:
        """Keep this checkpoint if it scores better than any before; returns whether it does."""
        value = _value_of(scores, self.by)
        if value is None or not math.isfinite(value) or not self._beats(value):
            return False
        write(self.run, BEST, state)
        self.value = value
        noted = {"step": state["step"], "by": self.by, "value": value, "scores": dict(scores)}
        with atomic_output(self._note, force=True) as output:
            output.write((json.dumps(noted, indent=2) + "\n").encode())
        return True

    def _beats(self, value: float) -> bool:
        if self.value is None:
            return True
        return value > self.value if SCORES[_name(self.by)] else value < self.value

    def _noted(self) -> float | None:
        try:
            noted = json.loads(self._note.read_text(encoding="utf-8"))
            by, value = noted["by"], float(noted["value"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError):
            advice = "remove it, and the best checkpoint is chosen anew"
            raise CorruptFile(f"{self._note} does not say how good the best checkpoint is; {advice}") from None
        return value if by == self.by and math.isfinite(value) else None


def _last(run: Path, report: Report) -> tuple[Path, dict[str, Any]]:
    """The last checkpoint that can be read, as `load` has it, and its path."""
    paths = [*reversed(_numbered(run)), *(run / "checkpoints").glob(BEST)]
    if not paths:
        raise ConfigError(f"{run} holds no checkpoint")
    for path in paths:
        try:
            return path, checkpoint_file.read(path)
        except CorruptFile as error:
            report(f"{error}; going back to the one before")
    raise CorruptFile(f"{run}: not one of its {len(paths)} checkpoints can be read; begin anew in another folder")


def _best(run: Path) -> tuple[Path, dict[str, Any]]:
    path = run / "checkpoints" / BEST
    if not path.exists():
        raise ConfigError(f"{run} holds no best checkpoint: it has not been validated with its quantizer yet")
    return path, checkpoint_file.read(path)


def _numbered(run: Path) -> list[Path]:
    """The checkpoints that are named by their step, in its order."""
    return sorted((run / "checkpoints").glob("step_*.pt"), key=_step_of)


def _step_of(path: Path) -> int:
    digits = path.stem.removeprefix("step_")
    return int(digits) if digits.isdecimal() else -1


def _value_of(scores: Mapping[str, float], by: str) -> float | None:
    """The value that counts, or None if there is none: the mean of all scores of that name."""
    values = [value for name, value in scores.items() if by in (name, _name(name))]
    return sum(values) / len(values) if values else None


def _name(score: str) -> str:
    return score.partition("@")[0]
