"""One option a field of the recipe."""

from __future__ import annotations

import argparse
import itertools
import types
import typing
from collections.abc import Callable
from dataclasses import fields
from typing import Any

from shared.recipe import CHOICES, Recipe


def add_recipe_options(parser: argparse.ArgumentParser, **defaults: Any) -> None:
    """One option a field of Recipe, each taking one value or several; several make a grid. `defaults` are the command's
    own where they are not the recipe's."""
    group = parser.add_argument_group(
        "recipe", "Defaults are google-research/bert's fine-tuning with torch.optim.AdamW. Several values make a grid."
    )
    hints = typing.get_type_hints(Recipe)
    for f in fields(Recipe):
        default = defaults.get(f.name, f.default)
        group.add_argument(
            f"--{f.name.replace('_', '-')}",
            nargs="+",
            type=reader(f.name, hints[f.name]),
            default=[default],
            metavar=_metavar(f.name, hints[f.name]),
            help=f"{f.metadata['help']} ({_shown(default)})",
        )


def recipes(options: argparse.Namespace) -> list[Recipe]:
    """The grid of recipes that the options span, in the order given. Raises InputError."""
    names = [f.name for f in fields(Recipe)]
    grid = itertools.product(*(getattr(options, name) for name in names))
    return [Recipe(**dict(zip(names, values, strict=True))) for values in grid]


def reader(name: str, hint: Any) -> Callable[[str], Any]:
    if name in CHOICES:
        return one_of(CHOICES[name])

    def read(text: str) -> Any:
        if hint is bool:
            if text not in ("yes", "no"):
                raise argparse.ArgumentTypeError(f"{text!r} is neither yes nor no")
            return text == "yes"
        if typing.get_origin(hint) is tuple:
            return tuple(part for part in text.split(",") if part)
        if isinstance(hint, types.UnionType) and text == "none":
            return None
        kind = _kind(hint)
        try:
            return kind(text)
        except ValueError:
            wanted = "a whole number" if kind is int else "a number"
            raise argparse.ArgumentTypeError(f"{text!r} is not {wanted}") from None

    return read


def one_of(allowed: tuple[str, ...]) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in allowed:
            raise argparse.ArgumentTypeError(f"{text!r} is not one of {', '.join(allowed)}")
        return text

    return read


def _metavar(name: str, hint: Any) -> str:
    if name in CHOICES:
        return "|".join(CHOICES[name])
    if hint is bool:
        return "yes|no"
    if typing.get_origin(hint) is tuple:
        return "A,B"
    return {int: "N", float: "X", str: "NAME"}[_kind(hint)]


def _kind(hint: Any) -> Any:
    """What a value of a field of this type is made with, where it is not None."""
    return next(kind for kind in (typing.get_args(hint) or (hint,)) if kind is not types.NoneType)


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ",".join(value)
    return "none" if value is None else str(value)
