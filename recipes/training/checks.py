"""Checks of a recipe beyond the range of each setting, before anything is decoded or trained."""

from __future__ import annotations

from vqcodec.errors import ConfigError

from ..config import Recipe
from ..data.batches import crop_samples
from .losses.spectral import windows
from .validation import listened_to, scores_of


def check(recipe: Recipe) -> None:
    """Refuse a recipe that would fail later.

    Raises:
        ConfigError: `run.best_by` is not a score of the validation, `data.crop_s` too short for the losses, or there
            are no codebooks to learn by gradient; or the model cannot vary its stages, or lose frames, as it should.
    """
    _check_decoder(recipe)
    _check_learning(recipe)
    _check_frames(recipe)
    _check_best_by(recipe)
    _check_crop(recipe)


def _check_decoder(recipe: Recipe) -> None:
    if recipe.phases.adversarial_from is not None:
        recipe.model.require_mdct("phases.adversarial_from")


def _check_learning(recipe: Recipe) -> None:
    if recipe.quantizer.learning == "gradient" and not recipe.model.code_vectors:
        kind = recipe.bottleneck.kind
        raise ConfigError(f"quantizer.learning = 'gradient': a {kind!r} bottleneck has no codebooks; leave it at 'ema'")


def _check_frames(recipe: Recipe) -> None:
    if recipe.quantizer.varying_share and not recipe.model.kind.can_vary:
        kind = recipe.bottleneck.kind
        raise ConfigError(
            f"quantizer.varying_share: all frames of a {kind!r} bottleneck have the same number of stages"
        )
    if recipe.augment.lost_frames and not recipe.model.decoder_conceals:
        raise ConfigError(
            "augment.lost_frames needs a decoder that can go on without them: model.decoder_conceals = true"
        )


def _check_best_by(recipe: Recipe) -> None:
    by = recipe.run.best_by
    name, at, stages = by.partition("@")
    choices = [str(choice) for choice in listened_to(recipe.model)]
    scores = scores_of(recipe.model)
    if name not in scores:
        raise ConfigError(f"run.best_by = {by!r} is not a score of the validation; choose one of {', '.join(scores)}")
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
