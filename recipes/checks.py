"""What a recipe must fulfil beyond the range of each setting, found out before anything is decoded or trained."""

from __future__ import annotations

from vqcodec.errors import ConfigError

from .config import Recipe
from .data import crop_samples
from .losses import windows
from .validate import SCORES, stage_choices


def check(recipe: Recipe) -> None:
    """Refuse a recipe that would fail later.

    Raises:
        ConfigError: `run.best_by` is no score of the validation, or `data.crop_s` too short for the losses.
    """
    _check_best_by(recipe)
    _check_crop(recipe)


def _check_best_by(recipe: Recipe) -> None:
    by = recipe.run.best_by
    name, at, stages = by.partition("@")
    choices = [str(choice) for choice in stage_choices(recipe.model)]
    if name not in SCORES:
        raise ConfigError(f"run.best_by = {by!r} is no score of the validation; choose one of {', '.join(SCORES)}")
    if at and stages not in choices:
        raise ConfigError(
            f"run.best_by = {by!r}: scores are for {', '.join(choices)} stages, as in {name}@{choices[-1]}"
        )


def _check_crop(recipe: Recipe) -> None:
    model = recipe.model
    needed = max(windows(model.sample_rate).values())
    if crop_samples(recipe) - model.delay < needed:
        least = needed / model.sample_rate
        raise ConfigError(f"data.crop_s = {recipe.data.crop_s:g} is shorter than the losses need: at least {least:.3f}")
