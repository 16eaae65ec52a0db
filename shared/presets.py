"""Presets: published recipes, each a TOML file in `shared/recipes/`."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from shared.errors import InputError
from shared.parsing import parse_toml, small_text
from shared.recipe import Recipe

FOLDER = Path(__file__).parent / "recipes"


@dataclass(frozen=True)
class Preset:
    """A published recipe, and the results that its authors report."""

    name: str
    title: str
    task: str
    model: str
    recipe: Recipe
    reported: str
    """Scores and times that the authors report, with their model and machine."""
    keeps: tuple[str, ...]
    """Choices of the authors that one would not make today, and that the preset keeps."""
    source: str | None
    """Web address; None if unknown."""
    fixes: str | None
    """The preset that this one corrects; None for a recipe as published."""


class _Toml(Struct, forbid_unknown_fields=True):
    """The content of a preset's file. What corrects another preset leaves out what it takes of that."""

    title: str
    task: str
    model: str
    recipe: dict[str, Any]
    reported: str
    keeps: list[str]
    source: str | None = None
    fixes: str | None = None


def preset_names() -> list[str]:
    """Names of all presets, in alphabetical order."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def get_preset(name: str) -> Preset:
    """Reads the preset of this name. Raises InputError if there is none, and naming the file if it has a field or value
    that is not accepted."""
    if name not in preset_names():
        raise InputError(f"unknown recipe {name!r}; known: {', '.join(preset_names())}")
    file = FOLDER / f"{name}.toml"
    try:
        read = msgspec.convert(_values(name), _Toml)
        recipe = {field: None if value == "none" else value for field, value in read.recipe.items()}
        return Preset(
            name=name,
            title=read.title,
            task=read.task,
            model=read.model,
            recipe=Recipe.from_json(recipe),
            reported=read.reported,
            keeps=tuple(read.keeps),
            source=read.source,
            fixes=read.fixes,
        )
    except (ValueError, InputError, OSError) as error:
        raise InputError(f"{file}: {error}; mend or remove the file") from None


def _values(name: str) -> dict[str, Any]:
    """Reads the file's values, merged over those of the preset that it corrects. Raises ValueError."""
    values = _own_values(name)
    fixes = values.get("fixes")
    if fixes is None:
        return values
    if fixes == name or fixes not in preset_names():
        raise ValueError(f"fixes is {fixes!r}, which is no other recipe")
    fixed = _own_values(fixes)
    if "fixes" in fixed:
        raise ValueError(f"it fixes {fixes}, which fixes another")
    return fixed | values | {"recipe": fixed["recipe"] | values["recipe"]}


def _own_values(name: str) -> dict[str, Any]:
    values = parse_toml(small_text(FOLDER / f"{name}.toml"))
    if not isinstance(values.get("recipe"), dict):
        raise ValueError("it has no table [recipe]")
    return values


def differing_fields(preset: Preset, recipe: Recipe) -> list[str]:
    """Names of the fields in which a recipe differs from the preset's. The seed does not count, as a preset may be run
    with several seeds."""
    return [
        f.name for f in fields(Recipe) if f.name != "seed" and getattr(recipe, f.name) != getattr(preset.recipe, f.name)
    ]
