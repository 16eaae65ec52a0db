"""Presets: published recipes, each a TOML file in `shared/recipes/`."""

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


def preset_names() -> list[str]:
    """Names of all presets, in alphabetical order."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def get_preset(name: str) -> Preset:
    """Reads the preset of this name. Raises InputError if there is none, or if its file has a field or value that
    Recipe does not accept."""
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
    """Reads the file's values, merged over those of the preset that it corrects."""
    values: dict[str, Any] = tomllib.loads((FOLDER / f"{name}.toml").read_text(encoding="utf-8"))
    if "fixes" not in values:
        return values
    fixed = _read(values["fixes"])
    return fixed | values | {"recipe": fixed["recipe"] | values["recipe"]}


def differing_fields(preset: Preset, recipe: Recipe) -> list[str]:
    """Names of the fields in which a recipe differs from the preset's. The seed does not count, as a preset may be run
    with several seeds."""
    return [
        f.name for f in fields(Recipe) if f.name != "seed" and getattr(recipe, f.name) != getattr(preset.recipe, f.name)
    ]
