"""Presets: recipes that somebody published, each one TOML file in `shared/recipes/`."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from shared.errors import InputError
from shared.recipe import Recipe

FOLDER = Path(__file__).parent / "recipes"


@dataclass(frozen=True)
class Preset:
    """What a publication fixes, and what it reports."""

    name: str
    title: str
    task: str
    model: str
    recipe: Recipe
    reported: str
    """Its own scores and times, on its own model and machine."""
    keeps: tuple[str, ...]
    """Choices of it that one would not make today, and that the preset keeps."""
    source: str | None
    """Its address, where that is known."""
    fixes: str | None
    """The preset that this one corrects; None for what was published."""


def preset_names() -> list[str]:
    """Every preset's, in alphabetical order."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def get_preset(name: str) -> Preset:
    """Raises InputError for a name that is none, and for a file with a field or value that Recipe does not know."""
    if name not in preset_names():
        raise InputError(f"unknown recipe {name!r}; known: {', '.join(preset_names())}")
    values = _read(name)
    recipe = {field: None if value == "none" else value for field, value in values["recipe"].items()}
    return Preset(
        name=name,
        title=values["title"],
        task=values["task"],
        model=values["model"],
        recipe=Recipe.from_json(recipe),
        reported=values["reported"],
        keeps=tuple(values["keeps"]),
        source=values.get("source"),
        fixes=values.get("fixes"),
    )


def _read(name: str) -> dict[str, Any]:
    """What the file says, on top of what that of the preset says which it fixes."""
    values: dict[str, Any] = tomllib.loads((FOLDER / f"{name}.toml").read_text(encoding="utf-8"))
    if "fixes" not in values:
        return values
    fixed = _read(values["fixes"])
    return fixed | values | {"recipe": fixed["recipe"] | values["recipe"]}


def differing_fields(preset: Preset, recipe: Recipe) -> list[str]:
    """The names of the fields in which a recipe is not the preset's, the seed apart: several seeds are still it."""
    return [
        f.name for f in fields(Recipe) if f.name != "seed" and getattr(recipe, f.name) != getattr(preset.recipe, f.name)
    ]
