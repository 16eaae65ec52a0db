"""Reads the CSV files that `check` takes in place of a recording."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path

from shared.errors import InputError

DELIMITERS = ",;\t"


@dataclass(frozen=True)
class Table:
    """Rows of text under named columns."""

    file: str
    """The file's name, for messages."""
    columns: dict[str, list[str]]
    """Cells by column, whose name is in lower case."""
    lines: list[int]
    """The number of each row's line, from 1."""

    def column(self, name: str) -> list[str]:
        """The cells of a column. Raises InputError if there is none of this name."""
        if name not in self.columns:
            there = ", ".join(self.columns) or "none"
            raise InputError(f"{self.file} has no column {name}; its columns are {there}: name it in the first line")
        return self.columns[name]

    def numbers(self, name: str) -> list[float]:
        """The numbers of a column. Raises InputError for a cell that is none, or is not finite."""
        return [self._number(name, cell, line) for cell, line in zip(self.column(name), self.lines, strict=True)]

    def counts(self, name: str) -> list[int]:
        """The whole numbers of a column. Raises InputError for a cell that is none."""
        found = self.numbers(name)
        for number, line in zip(found, self.lines, strict=True):
            if number != int(number):
                raise InputError(f"{self.file}, line {line}: {name} is {number:g}; pass whole numbers")
        return [int(number) for number in found]

    def _number(self, name: str, cell: str, line: int) -> float:
        try:
            number = float(cell)
        except ValueError:
            raise InputError(f"{self.file}, line {line}: {name} is {cell!r}, which is no number; correct it") from None
        if not math.isfinite(number):
            raise InputError(f"{self.file}, line {line}: {name} is {cell}, with which nothing can be compared")
        return number


def read_table(file: Path, unnamed: tuple[str, ...]) -> Table:
    """Reads a table, its cells separated by commas, semicolons or tabs. A first line without any number names the
    columns; without such a line they are `unnamed`. Raises InputError."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{file} is missing; pass a CSV file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file} cannot be read ({error}); pass a CSV file in UTF-8") from None
    first = text.lstrip().partition("\n")[0]
    delimiter = max(DELIMITERS, key=first.count)
    read = [(n, row) for n, row in enumerate(csv.reader(text.splitlines(), delimiter=delimiter), 1) if any(row)]
    rows = [(line, [cell.strip() for cell in row]) for line, row in read]
    if not rows:
        raise InputError(f"{file.name} is empty; pass a line for each value")
    names = unnamed[-len(rows[0][1]) :]
    if not any(map(_is_number, rows[0][1])):
        names = tuple(name.lower() for name in rows.pop(0)[1])
    elif len(rows[0][1]) > len(unnamed):
        raise InputError(f"{file.name} has {len(rows[0][1])} columns and no names; name them in the first line")
    for line, row in rows:
        if len(row) != len(names):
            raise InputError(f"{file.name}, line {line}: {len(row)} cells, not {len(names)}; correct the line")
    if not rows:
        raise InputError(f"{file.name} has no values below its columns' names")
    return Table(file.name, {name: [row[n] for _, row in rows] for n, name in enumerate(names)}, [n for n, _ in rows])


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def half_digits(cells: list[str]) -> list[float]:
    """Half a unit of the last digit that each number was written with.

    Programs write so many decimals or so many digits, and may leave out zeros at the end. So the most decimals and the
    most digits of the column count, whichever is coarser.
    """
    numbers = [_decimal(cell) for cell in cells]
    decimals = max(-int(number.as_tuple().exponent) for number in numbers)
    digits = max(len(number.normalize().as_tuple().digits) for number in numbers)
    places = [max(-decimals, number.adjusted() - digits + 1) if number else -decimals for number in numbers]
    return [0.5 * 10.0**place for place in places]


def _decimal(cell: str) -> Decimal:
    try:
        return Decimal(cell)
    except InvalidOperation:
        return Decimal(repr(float(cell)))
