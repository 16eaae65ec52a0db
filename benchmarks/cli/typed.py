"""A command line made again of the options that were read from it."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from benchmarks.cli.values import as_typed


@dataclass(frozen=True)
class Typed:
    """An option that was given."""

    field: str
    """Its name in the namespace."""
    option: str
    """As it is typed, such as --max-len."""
    values: list[str]
    """None of a switch."""


def typed_options(
    parser: argparse.ArgumentParser, options: argparse.Namespace, but: Collection[str]
) -> Iterator[Typed]:
    """The options that differ from the parser's defaults, but for those of these names."""
    for action in parser._actions:
        value = getattr(options, action.dest, action.default)
        if not action.option_strings or action.dest in but or value is None or value == action.default:
            continue
        values = [] if action.nargs == 0 else value if isinstance(value, list) else [value]
        typed = [str(as_typed(one)) for one in values]
        again = isinstance(value, list) and action.nargs is None  # given once for each value
        for some in [[one] for one in typed] if again else [typed]:
            yield Typed(action.dest, action.option_strings[-1], some)
