"""Writes the reference of settings in `docs/training.md`: `python docs/make_settings.py`.

Names, ranges, defaults and meanings are those of `vqcodec.recipes.config` and `vqcodec.models.config`: the meaning of a
setting is the docstring below its field.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from annotated_types import BaseMetadata, Ge, Gt, Le, Lt

from vqcodec.models.config import ModelConfig
from vqcodec.recipes import loading
from vqcodec.recipes.config import OF_BOTTLENECK, Recipe

DOCS = Path(__file__).resolve().parent
PAGE = "training.md"
BEGIN = "<!-- settings: written by docs/make_settings.py -->"
END = "<!-- end of settings -->"
SHOWN = "speech_16k"
"""The recipe whose settings stand beside the defaults where they differ."""
WORDS = {int: "whole number", float: "number", bool: "true or false", str: "text"}


class Setting(NamedTuple):
    """One row of the reference."""

    name: str
    values: str
    default: Any
    meaning: str


def main(folder: Path = DOCS) -> None:
    """Write the page into the folder; its text is read from where this file lies."""
    (folder / PAGE).write_text(filled((DOCS / PAGE).read_text(encoding="utf-8")), encoding="utf-8")


def filled(page: str) -> str:
    """The page with the reference between the markers written anew."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{reference()}\n{END}{after}"


def reference() -> str:
    """A heading, a sentence and a table for each section of a recipe."""
    shown = loading.load(SHOWN).to_dict()
    lines = []
    for section, (about, settings) in sections().items():
        lines += [f"### [{section}]", "", *about, "| setting | values | default | meaning |", "|---|---|---|---|"]
        for setting in settings:
            default, there = toml(setting.default), toml(shown[section][setting.name])
            cell = f"`{default}`" if there == default else f"`{default}` ({SHOWN}: `{there}`)"
            lines.append(f"| `{setting.name}` | {setting.values} | {cell} | {setting.meaning} |")
        lines.append("")
    return "\n".join(lines)


def sections() -> dict[str, tuple[list[str], list[Setting]]]:
    """Each section of a recipe by its name: what it is about, and its settings in their order."""
    found = {}
    for name, field in Recipe.model_fields.items():
        kind = field.annotation
        assert isinstance(kind, type)
        found[name] = (paragraphs(kind), list(_of_model() if kind is ModelConfig else _of_section(kind)))
    return found


def _of_model() -> Iterator[Setting]:
    meanings = docstrings(ModelConfig)
    hints = get_type_hints(ModelConfig)
    for field in dataclasses.fields(ModelConfig):
        if field.name not in OF_BOTTLENECK:
            yield Setting(field.name, WORDS[hints[field.name]], field.default, meanings[field.name])


def _of_section(kind: Any) -> Iterator[Setting]:
    meanings = docstrings(kind)
    for name, field in kind.model_fields.items():
        limits = [part for part in field.metadata if isinstance(part, BaseMetadata)]
        yield Setting(name, values(field.annotation, limits), field.default, meanings[name])


def docstrings(kind: type) -> dict[str, str]:
    """The text below each field of a class, in one line and fit for a cell of a table.

    Raises:
        KeyError: a field has none.
    """
    [definition] = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(definition, ast.ClassDef)
    found = {}
    for field, text in zip(definition.body, [*definition.body[1:], ast.Pass()], strict=True):
        if not isinstance(field, ast.AnnAssign) or not isinstance(field.target, ast.Name):
            continue
        if not (isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)):
            raise KeyError(f"{kind.__name__}.{field.target.id} has no docstring")
        found[field.target.id] = " ".join(str(text.value.value).split()).replace("|", "\\|")
    return found


def paragraphs(kind: type) -> list[str]:
    """The docstring of a class but for what it raises: each paragraph in one line, with an empty line behind it."""
    parts = [" ".join(part.split()) for part in re.split(r"\n\s*\n", inspect.getdoc(kind) or "")]
    return [line for part in parts if not part.startswith("Raises:") for line in (part, "")]


def values(kind: Any, limits: list[BaseMetadata]) -> str:
    """The values that a type allows, in a few words."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        return ", ".join(f"`{choice}`" for choice in arguments)
    if origin in (Union, UnionType):  # with None, which is left out of the file
        [kind] = [each for each in arguments if each is not NoneType]
        return values(kind, limits)
    if hasattr(kind, "__metadata__"):  # Annotated
        return values(kind.__origin__, [part for field in kind.__metadata__ for part in _limits(field)])
    if origin in (tuple, dict):
        several = values(arguments[origin is dict], []).replace("number", "numbers", 1)
        return f"{'table of' if origin is dict else 'list of' if Ellipsis in arguments else 'two'} {several}"
    return WORDS[kind] + _range(limits)


def _limits(field: Any) -> list[BaseMetadata]:
    return [part for part in getattr(field, "metadata", []) if isinstance(part, BaseMetadata)]


def _range(limits: list[BaseMetadata]) -> str:
    """The limits of a number, such as " ≥ 0, ≤ 1"; nothing without any."""
    signs = {Gt: (">", "gt"), Ge: ("≥", "ge"), Lt: ("<", "lt"), Le: ("≤", "le")}
    texts = [
        f"{sign} {getattr(limit, name)}"
        for kind, (sign, name) in signs.items()
        for limit in limits
        if isinstance(limit, kind)
    ]
    return f" {', '.join(texts)}" if texts else ""


def toml(value: Any) -> str:
    """A value as a recipe writes it."""
    match value:
        case None:
            return "never"
        case bool():
            return "true" if value else "false"
        case float():
            return f"{value:g}"
        case list() | tuple():
            return f"[{', '.join(map(toml, value))}]"
        case str():
            return json.dumps(value)
    return str(value)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
