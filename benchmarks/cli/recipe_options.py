"""One option for each field of the recipe."""

from __future__ import annotations

import argparse
import itertools
import typing
from dataclasses import fields
from typing import Any

from benchmarks.cli.values import kind_of, one_of, reader
from shared.recipe import CHOICES, Recipe

METAVARS = {bool: "yes|no", tuple: "A,B", int: "N", float: "X", str: "NAME"}
"""Placeholders of values in the help, by their class."""


def add_recipe_options(parser: argparse.ArgumentParser, **defaults: Any) -> None:
    """Adds one option for each field of Recipe. Each takes one value or several; several make a grid. `defaults` are
    those that differ from the recipe's."""
    group = parser.add_argument_group(
        "recipe", "Defaults are google-research/bert's fine-tuning with torch.optim.AdamW. Several values make a grid."
    )
    hints = typing.get_type_hints(Recipe)
    for f in fields(Recipe):
        choices, hint = CHOICES.get(f.name), hints[f.name]
        group.add_argument(
            f"--{f.name.replace('_', '-')}",
            nargs="+",
            type=one_of(choices) if choices else reader(hint),
            default=[defaults.get(f.name, f.default)],
            metavar="|".join(choices) if choices else METAVARS[kind_of(hint)],
            help=f.metadata["help"],
        )


def recipes(options: argparse.Namespace) -> list[Recipe]:
    """The grid of recipes that the options span, in the order given. Raises InputError."""
    names = [f.name for f in fields(Recipe)]
    grid = itertools.product(*(getattr(options, name) for name in names))
    return [Recipe(**dict(zip(names, values, strict=True))) for values in grid]
