"""Gates for CI: conditions such as `gluon.epoch_s > 1.1 * torch.epoch_s`, on which a command fails. A gate is parsed,
and never run as code."""

from __future__ import annotations

import ast
import math
import operator
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property

from backends import BACKENDS
from benchmarks.reporting.tidy import columns
from shared.errors import InputError

LONGEST = 500
"""Characters of a gate."""

DEEPEST = 50
"""Levels of a gate's tree."""

FUNCTIONS: dict[str, Callable[..., float]] = {"abs": abs, "min": min, "max": max}

SHOWN = ("dev_mcc", "test_accuracy", "epoch_s", "peak_mib")
"""Columns that an error names, of the many that there are."""

ARITHMETIC: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}

COMPARISONS: dict[type[ast.cmpop], Callable[[float, float], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}


@dataclass(frozen=True, order=True)
class Quantity:
    """A number of a backend's cells, such as `torch.epoch_s`."""

    backend: str
    column: str

    def __str__(self) -> str:
        return f"{self.backend}.{self.column}"


class NoValue(Exception):
    """A gate has no value: a number is missing, or what it computes is no number."""


@dataclass(frozen=True)
class Gate:
    """A condition on which a command fails."""

    text: str
    tree: ast.expr
    names: Mapping[str, str]
    """The backend of each name in the tree: Python's names have no hyphen."""

    @classmethod
    def parse(cls, text: str, present: Iterable[str] = ()) -> Gate:
        """Reads a gate. `present` are backends that it may name besides those of this project. Raises InputError with
        the column of what is no part of a gate."""
        for column, character in enumerate(text, start=1):
            if not " " <= character <= "~":
                raise _wrong(text, column, f"{character!a} has no place in a gate; write it in plain characters")
        if len(text) > LONGEST:
            raise InputError(f"--fail-if: a gate of {len(text):,} characters is too long; pass {LONGEST} at most")
        names = {name.replace("-", "_"): name for name in (*present, *BACKENDS)}
        gate = cls(text, _tree(text, names), names)
        _Checker(gate).truth(gate.tree)
        if not gate.quantities:
            raise _wrong(text, 1, "it names no number of a backend; pass one such as torch.epoch_s")
        return gate

    @cached_property
    def quantities(self) -> tuple[Quantity, ...]:
        """Quantities that the gate names, in the order of the text."""
        found = [one for one in ast.walk(self.tree) if isinstance(one, ast.Attribute)]
        found.sort(key=lambda one: one.col_offset)
        return tuple(dict.fromkeys(self.quantity(one) for one in found))

    @property
    def backends(self) -> tuple[str, ...]:
        """The backends that it names."""
        return tuple(dict.fromkeys(one.backend for one in self.quantities))

    def quantity(self, node: ast.Attribute) -> Quantity:
        """The quantity that a part of the tree names."""
        assert isinstance(node.value, ast.Name), "the tree was checked"
        return Quantity(self.names[node.value.id], node.attr)

    def holds(self, values: Mapping[Quantity, float]) -> bool:
        """Tells whether the condition is met. All parts are computed, so that none hides that another has no value.
        Raises NoValue if a division is by zero, or a number is none or infinite."""
        return bool(self._value(self.tree, values))

    def _value(self, node: ast.expr, values: Mapping[Quantity, float]) -> float:
        found = self._computed(node, values)
        if not math.isfinite(found):
            raise NoValue(f"{ast.get_source_segment(self.text, node)} is {found}")
        return found

    def _computed(self, node: ast.expr, values: Mapping[Quantity, float]) -> float:
        def value(part: ast.expr) -> float:
            return self._value(part, values)

        match node:
            case ast.BoolOp(op=op, values=parts):
                return (all if isinstance(op, ast.And) else any)([value(part) for part in parts])
            case ast.UnaryOp(op=ast.Not(), operand=part):
                return not value(part)
            case ast.UnaryOp(op=op, operand=part):
                return -value(part) if isinstance(op, ast.USub) else value(part)
            case ast.Compare(left=first, ops=ops, comparators=others):
                sides = [value(part) for part in (first, *others)]
                return all(COMPARISONS[type(op)](*sides[n : n + 2]) for n, op in enumerate(ops))
            case ast.BinOp(left=left, op=op, right=right):
                try:
                    return ARITHMETIC[type(op)](value(left), value(right))
                except ZeroDivisionError:
                    raise NoValue(f"{ast.get_source_segment(self.text, node)} divides by zero") from None
            case ast.Call(func=ast.Name(id=name), args=parts):
                return FUNCTIONS[name](*map(value, parts))
            case ast.Attribute():
                return values[self.quantity(node)]
            case ast.Constant(value=int() | float() as number):
                return float(number)
        raise AssertionError("the tree was checked")


TOO_DEEP = "it is nested too deeply; split it into several gates"


def _tree(text: str, names: Mapping[str, str]) -> ast.expr:
    """The tree that Python's own parser makes of the text; nothing of it is run."""
    plain = text
    for name, hyphened in names.items():
        plain = plain.replace(f"{hyphened}.", f"{name}.")  # of the same length, so that columns stay
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of numbers with a word right after them, which are refused by name
            tree = ast.parse(plain, mode="eval").body
    except SyntaxError as error:  # its offset is 0 if the text ends too early
        raise _wrong(text, error.offset or len(text) + 1, error.msg) from None
    except (RecursionError, MemoryError):
        raise _wrong(text, 1, TOO_DEEP) from None
    level: list[ast.AST] = [tree]
    for _ in range(DEEPEST):
        level = [child for node in level for child in ast.iter_child_nodes(node)]
    if level:
        raise _wrong(text, 1, TOO_DEEP)
    return tree


@dataclass(frozen=True)
class _Checker:
    """Raises InputError for each part of a tree that is no part of a gate."""

    gate: Gate

    def truth(self, node: ast.expr) -> None:
        """Checks a part that must be true or false."""
        match node:
            case ast.BoolOp(values=parts):
                for part in parts:
                    self.truth(part)
            case ast.UnaryOp(op=ast.Not(), operand=part):
                self.truth(part)
            case ast.Compare(left=first, ops=ops, comparators=others) if all(type(op) in COMPARISONS for op in ops):
                for part in (first, *others):
                    self.number(part)
            case _:
                raise self.wrong(node, "is no comparison; compare numbers by <, <=, >, >=, == or !=")

    def number(self, node: ast.expr) -> None:
        """Checks a part that must be a number."""
        for part in self.parts(node):
            self.number(part)

    def parts(self, node: ast.expr) -> Iterator[ast.expr]:
        """The numbers that a number is computed of."""
        match node:
            case ast.Constant(value=int() | float() as value) if not isinstance(value, bool) and value < 1e300:
                return
            case ast.Attribute(value=ast.Name(id=backend), attr=column):
                self.named(node, backend, column)
            case ast.UnaryOp(op=ast.UAdd() | ast.USub(), operand=part):
                yield part
            case ast.BinOp(left=left, op=op, right=right) if type(op) in ARITHMETIC:
                yield from (left, right)
            case ast.Call(func=ast.Name(id=name), args=parts, keywords=[]) if name in FUNCTIONS:
                if not (len(parts) == 1 if name == "abs" else len(parts) > 1):
                    raise self.wrong(node, f"has {len(parts)} values; {'one' if name == 'abs' else 'two or more'} fit")
                yield from parts
            case _:
                raise self.wrong(
                    node, f"is no number; use BACKEND.COLUMN, numbers, + - * /, {', '.join(FUNCTIONS)} and parentheses"
                )

    def named(self, node: ast.Attribute, backend: str, column: str) -> None:
        """Checks that a quantity has names that there are."""
        if backend not in self.gate.names:
            raise self.wrong(node, f"is of no backend; there are {', '.join(self.gate.names.values())}")
        numbers = {name for name, one in columns().items() if one.is_number}
        if column not in numbers:
            near = get_close_matches(column, sorted(numbers), n=3) or SHOWN
            raise self.wrong(node, f"is no number of a cell; there are {', '.join(near)} and others (docs/results.md)")

    def wrong(self, node: ast.expr, why: str) -> InputError:
        """The error for a part."""
        part = self.gate.text[node.col_offset : node.end_col_offset]
        shown = part if len(part) <= 40 else f"{part[:40]} …"
        return _wrong(self.gate.text, node.col_offset + 1, f"{shown!r} {why}")


def _wrong(text: str, column: int, why: str) -> InputError:
    shown = text if len(text) <= 60 else f"{text[:60]} …"
    return InputError(f"--fail-if {shown!r}, column {column}: {why}")
