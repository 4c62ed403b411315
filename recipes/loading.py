"""Recipes: read from TOML files, where one file is one complete run, or from dictionaries, and changed."""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from vqcodec.errors import ConfigError
from vqcodec.models.config import ModelConfig

from .config import OF_BOTTLENECK, Recipe

CONFIGS = Path(__file__).parent / "configs"

FORMER_NAMES = {
    ("quantizer", "dead_share"): "usage_threshold",
    ("loss", "handover_start"): "schedule_start",
    ("loss", "handover_steps"): "schedule_steps",
}
"""Settings that have been renamed, by section and former name. Recipes and checkpoints may still have the latter."""


def names() -> list[str]:
    """The recipes that ship."""
    return sorted(path.stem for path in CONFIGS.glob("*.toml"))


def load(name_or_path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe that ships, by name, or a TOML file, and change single settings.

    Args:
        name_or_path: "speech_16k", "speech_16k.toml" or a path.
        overrides: "section.key=value", the value as TOML has it (bare words count as strings).

    Raises:
        ConfigError: there is no such recipe, it is not TOML, or a setting is unknown or out of range.
    """
    path = _find(name_or_path)
    try:
        values = _renamed(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: not a readable TOML file: {error}") from None
    for override in overrides:
        _override(values, override)
    return from_dict(values)


def change(recipe: Recipe, overrides: Sequence[str]) -> Recipe:
    """The recipe with single settings changed, as for `load`.

    Raises:
        ConfigError: a setting is unknown or out of range.
    """
    values = recipe.to_dict()
    for override in overrides:
        _override(values, override)
    return from_dict(values)


def differences(before: Recipe, after: Recipe) -> list[str]:
    """The settings that differ, as "section.key 1 -> 2"."""
    old, new = before.to_dict(), after.to_dict()
    pairs = [(section, key, old[section][key], new[section][key]) for section in old for key in old[section]]
    return [f"{section}.{key} {was} -> {now}" for section, key, was, now in pairs if was != now]


def sizes_that_differ(first: ModelConfig, second: ModelConfig, besides: Collection[str] = ()) -> list[str]:
    """The settings of two models that differ, besides their names and those given, as "latent_dim 32 -> 64"."""
    old, new = dataclasses.asdict(first), dataclasses.asdict(second)
    return [f"{key} {old[key]} -> {new[key]}" for key in old if old[key] != new[key] and key not in ("name", *besides)]


def from_dict(values: Mapping[str, Any]) -> Recipe:
    """The inverse of `Recipe.to_dict`; what is left out has its default.

    Raises:
        ConfigError: a setting is unknown or out of range.
    """
    if not isinstance(values, Mapping):
        raise ConfigError(f"a recipe is made of sections, not {type(values).__name__}")
    rest = _renamed(values)
    model = rest.pop("model", {})
    if not isinstance(model, Mapping):
        raise ConfigError(f"model must be a section, not {model!r}")
    if misplaced := OF_BOTTLENECK.keys() & model.keys():
        name = min(misplaced)
        raise ConfigError(f"model.{name} is not a setting of a recipe; set bottleneck.{OF_BOTTLENECK[name]}")
    try:
        recipe = Recipe.model_validate(rest)
    except ValidationError as error:
        raise ConfigError(_explain(error)) from None
    bottleneck = {name: getattr(recipe.bottleneck, key) for name, key in OF_BOTTLENECK.items()}
    return recipe.model_copy(update={"model": ModelConfig.from_dict({**model, **bottleneck})})


def _find(name_or_path: str | Path) -> Path:
    path = Path(name_or_path)
    if path.is_file():
        return path
    shipped = CONFIGS / f"{path.name.removesuffix('.toml')}.toml"
    if path.name == str(name_or_path) and shipped.is_file():
        return shipped
    raise ConfigError(f"{name_or_path}: no such recipe; the ones that ship are {', '.join(names())}")


def _renamed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Put settings that have `FORMER_NAMES` under those they have now."""
    renamed = dict(values)
    for (section, former), name in FORMER_NAMES.items():
        table = renamed.get(section)
        if isinstance(table, Mapping) and former in table:
            if name in table:
                raise ConfigError(f"{section}.{former} is the former name of {section}.{name}: set only the latter")
            renamed[section] = {name if key == former else key: value for key, value in table.items()}
    return renamed


def _override(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    section, dot, name = key.strip().partition(".")
    if not equals or not dot:
        raise ConfigError(f"{override!r} is not of the form section.key=value")
    table = values.setdefault(section, {})
    if not isinstance(table, dict):
        raise ConfigError(f"{section} is not a section")
    table[FORMER_NAMES.get((section, name), name)] = _parse(text.strip())


def _parse(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _explain(error: ValidationError) -> str:
    """The first fault of a recipe, in one line, with the nearest known name for an unknown one."""
    fault = error.errors()[0]
    where = ".".join(str(part) for part in fault["loc"])
    if fault["type"] != "extra_forbidden":
        return f"{where} = {fault['input']!r}: {fault['msg'][0].lower()}{fault['msg'][1:]}"
    fields = Recipe.model_fields
    known = list(
        getattr(fields[str(fault["loc"][0])].annotation, "model_fields", ()) if len(fault["loc"]) > 1 else fields
    )
    near = _nearest(str(fault["loc"][-1]), known)
    return f"{where} is not a known setting; did you mean {'.'.join([*map(str, fault['loc'][:-1]), near])}?"


def _nearest(name: str, known: Sequence[str]) -> str:
    """The name that was probably meant: one with these initials, as learning_rate has for "lr", or the most alike."""
    initials = {"".join(word[0] for word in one.split("_")): one for one in known}
    return initials.get(name) or difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
