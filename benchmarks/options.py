"""Command-line options: the recipe's fields, and errors of one line."""

from __future__ import annotations

import argparse
import itertools
import sys
import types
import typing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from typing import Any, NoReturn

from shared.errors import InputError
from shared.recipe import CHOICES, Recipe


class Parser(argparse.ArgumentParser):
    """argparse, with an error of one line, and options by their whole names: a prefix that is clear today may not be
    when there is one more option."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, **settings)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message} (see --help)\n")


@contextmanager
def one_line_errors(command: str, when_interrupted: str = "nothing is kept") -> Iterator[None]:
    """InputError becomes one line on standard error and exit code 2; Ctrl-C becomes exit code 130."""
    try:
        yield
    except InputError as error:
        print(f"{command}: error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print(f"{command}: interrupted; {when_interrupted}", file=sys.stderr)
        sys.exit(130)


def add_recipe_options(parser: argparse.ArgumentParser) -> None:
    """One option a field of Recipe, each taking one value or several; several make a grid."""
    group = parser.add_argument_group(
        "recipe", "Defaults are google-research/bert's fine-tuning with torch.optim.AdamW. Several values make a grid."
    )
    hints = typing.get_type_hints(Recipe)
    for f in fields(Recipe):
        group.add_argument(
            f"--{f.name.replace('_', '-')}",
            nargs="+",
            type=_reader(f.name, hints[f.name]),
            default=[f.default],
            metavar=_metavar(f.name, hints[f.name]),
            help=f"{f.metadata['help']} ({_shown(f.default)})",
        )


def recipes(options: argparse.Namespace) -> list[Recipe]:
    """The grid of recipes that the options span, in the order given. Raises InputError."""
    names = [f.name for f in fields(Recipe)]
    grid = itertools.product(*(getattr(options, name) for name in names))
    return [Recipe(**dict(zip(names, values, strict=True))) for values in grid]


def _reader(name: str, hint: Any) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        if name in CHOICES:
            if text not in CHOICES[name]:
                raise argparse.ArgumentTypeError(f"{text!r} is not one of {', '.join(CHOICES[name])}")
            return text
        if hint is bool:
            if text not in ("yes", "no"):
                raise argparse.ArgumentTypeError(f"{text!r} is neither yes nor no")
            return text == "yes"
        if typing.get_origin(hint) is tuple:
            return tuple(part for part in text.split(",") if part)
        if isinstance(hint, types.UnionType) and text == "none":
            return None
        number = int if hint is int else str if hint is str else float
        try:
            return number(text)
        except ValueError:
            kind = "a whole number" if number is int else "a number"
            raise argparse.ArgumentTypeError(f"{text!r} is not {kind}") from None

    return read


def _metavar(name: str, hint: Any) -> str:
    if name in CHOICES:
        return "|".join(CHOICES[name])
    if hint is bool:
        return "yes|no"
    if typing.get_origin(hint) is tuple:
        return "A,B"
    return {int: "N", str: "NAME"}.get(hint, "X")


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ",".join(value)
    return "none" if value is None else str(value)
