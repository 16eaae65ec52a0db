"""Values as the command line has them: read from text, and shown."""

from __future__ import annotations

import argparse
import types
import typing
from collections.abc import Callable, Sequence
from typing import Any, Literal


def as_typed(value: Any) -> Any:
    """The value as one would type it. A number stays a number, so that it can be sorted as one."""
    if isinstance(value, list | tuple):
        return ",".join(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else value


def typed_values(values: Sequence[Any]) -> str:
    """Several values of one option, as one would type them."""
    return " ".join(str(as_typed(value)) for value in values)


def one_of(allowed: Sequence[str]) -> Callable[[str], str]:
    """Reads a word that is among those allowed."""

    def read(text: str) -> str:
        if text not in allowed:
            raise argparse.ArgumentTypeError(f"{text!r} is not one of {', '.join(allowed)}")
        return text

    return read


def yes_or_no(text: str) -> bool:
    """Reads a switch."""
    if text not in ("yes", "no"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither yes nor no")
    return text == "yes"


def every(text: str) -> int | Literal["epoch"]:
    """Reads how often something is done: `epoch`, or a number of steps."""
    if text == "epoch":
        return "epoch"
    if not text.isascii() or not text.isdecimal() or int(text[:9]) < 1 or len(text) > 9:
        raise argparse.ArgumentTypeError(f"{text!r} is neither epoch nor a number of steps from 1 to 999999999")
    return int(text)


def reader(hint: Any) -> Callable[[str], Any]:
    """Reads a value of a type: a number, a word, yes or no, words with commas between; `none` if the type has None."""
    if hint is bool:
        return yes_or_no
    kind = kind_of(hint)

    def read(text: str) -> Any:
        if kind is tuple:
            return tuple(part for part in text.split(",") if part)
        if text == "none" and isinstance(hint, types.UnionType):
            return None
        try:
            return kind(text)
        except ValueError:
            wanted = "a whole number" if kind is int else "a number"
            raise argparse.ArgumentTypeError(f"{text!r} is not {wanted}") from None

    return read


def kind_of(hint: Any) -> type:
    """The class of a type's values, None aside."""
    if isinstance(hint, types.UnionType):
        hint = next(kind for kind in typing.get_args(hint) if kind is not types.NoneType)
    kind: type = typing.get_origin(hint) or hint
    return kind
