"""Labels of own data: words or whole numbers, coded as indices in the order of the words or numbers."""

from __future__ import annotations

import re
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from shared.errors import InputError
from shared.limits import LABELS, TEXT
from shared.tasks.table_files import Piece, TableFile

WHOLE = re.compile(r"[+-]?\d{1,18}(?:\.0*)?")
FRACTION = re.compile(r"[+-]?\d*\.\d+")
HIDDEN = -1
"""Code of a row without a label. The hub writes a -1 there too."""

Value = int | str
"""A label as it is compared: whole numbers by their value, words as they are."""


@dataclass
class Coder:
    """Codes a split's labels in the order in which they first occur."""

    column: str
    declared: tuple[str, ...] = ()
    """Names that task.toml gives to the labels, or the file itself."""
    codes: array[int] = field(default_factory=lambda: array("i"))
    values: dict[Value, tuple[TableFile, int]] = field(default_factory=dict)
    """Each label, with file and number of its first row, in the order of the codes."""
    hidden: tuple[TableFile, int] | None = None
    """The first row without a label."""
    known: dict[tuple[type, Any], int] = field(default_factory=dict)
    """Codes of values as they stand in the file."""

    def add(self, table: TableFile, numbers: Sequence[int], column: Sequence[Any]) -> None:
        """Codes some rows. Raises InputError for a label that is neither word nor whole number, and for too many."""
        known = self.known
        for at, value in enumerate(column):
            if isinstance(value, list | dict):
                raise table.malformed(numbers[at], f"label {value!r} in {self.column!r} is no single label")
            code = known.get((type(value), value))
            if code is None:
                code = known[type(value), value] = self._code(table, numbers[at], value)
            if code == HIDDEN and self.hidden is None:
                self.hidden = table, numbers[at]
            self.codes.append(code)

    def _code(self, table: TableFile, number: int, value: Any) -> int:
        found = self._value(table, number, value)
        if found is None:
            return HIDDEN
        self.values.setdefault(found, (table, number))
        if len(self.values) > LABELS:
            raise InputError(
                f"{table.path}: column {self.column!r} has more than {LABELS:,} labels; pass --label-column another"
            )
        return list(self.values).index(found)

    def _value(self, table: TableFile, number: int, value: Any) -> Value | None:
        """The label; None if there is none."""
        if isinstance(value, bool):
            return str(value)
        if isinstance(value, float) and value.is_integer():
            return int(value)
        if value is None or (isinstance(value, str) and not value.strip()) or value != value:
            return None
        if isinstance(value, int):
            return value
        word = value.strip() if isinstance(value, str) else None
        if word in self.declared:
            return word
        if word is None or (FRACTION.fullmatch(word) and not WHOLE.fullmatch(word)):
            raise table.malformed(number, f"label {value!r} in {self.column!r} is neither a word nor a whole number")
        return int(word.partition(".")[0]) if WHOLE.fullmatch(word) else word


def label_names(train: Coder) -> tuple[str, ...]:
    """Names of the labels, by index: those declared; else the numbers or words of the training rows, sorted. Raises
    InputError if a training row has no label, if words and numbers are mixed, if there is one label alone, and if a
    label is none of those declared."""
    if train.hidden is not None:
        raise train.hidden[0].malformed(train.hidden[1], f"no label in {train.column!r}")
    if train.declared:
        indices(train, train.declared)
        return train.declared
    numbers = [value for value in train.values if isinstance(value, int)]
    words = [value for value in train.values if isinstance(value, str)]
    (table, _), *_ = train.values.values()
    if numbers and words:
        raise InputError(
            f"{table.path}: labels in {train.column!r} mix numbers and words, such as {numbers[0]} "
            f"({table.unit} {train.values[numbers[0]][1]}) and {words[0]!r} ({table.unit} "
            f"{train.values[words[0]][1]}); write them alike, or list all as labels = [...] in a task.toml"
        )
    if len(train.values) == 1:
        (only,) = train.values
        raise InputError(
            f"{table.path}: every row has the label {str(only)!r} in {train.column!r}; add rows of another, or list "
            "all as labels = [...] in a task.toml"
        )
    return tuple(map(str, sorted(numbers))) or tuple(sorted(words))


def indices(coder: Coder, names: tuple[str, ...], train: bool = True) -> np.ndarray | None:
    """The index of each row's label, int32 [n]; None if no row has a label. A label is one of the names; or, if the
    names are words and all labels are whole numbers, an index. In a split other than train, -1 stands for no label,
    unless it is a name. Raises InputError if a label is not in the names, or if some rows have none."""
    by_number = all(isinstance(value, int) for value in coder.values) and not any(map(WHOLE.fullmatch, names))
    index_of = {name: index for index, name in enumerate(names)}
    table = np.full(len(coder.values) + 1, HIDDEN, np.int32)  # the last is that of HIDDEN
    hidden = coder.hidden
    for code, (value, (file, number)) in enumerate(coder.values.items()):
        index = index_of.get(str(value), -1)
        if by_number and isinstance(value, int) and 0 <= value < len(names):
            index = value
        if index < 0 and value == HIDDEN and not train:
            hidden = hidden or (file, number)
        elif index < 0:
            listed = ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
            raise file.malformed(
                number,
                f"label {str(value)!r} in {coder.column!r} is not one of {listed}; or list all labels as "
                "labels = [...] in a task.toml",
            )
        table[code] = index
    found: np.ndarray = table[np.frombuffer(coder.codes, np.int32)]
    if (found == HIDDEN).all():
        return None
    if hidden is not None:
        raise hidden[0].malformed(hidden[1], f"no label in {coder.column!r}, which other rows have")
    return found


def check_texts(table: TableFile, piece: Piece, place: int, name: str) -> list[str]:
    """A piece's texts in one of its columns. Raises InputError naming the first that is none, or is empty."""
    texts: list[str] = piece.columns[place]
    for number, text in zip(piece.numbers, texts, strict=True):
        if not isinstance(text, str):
            what = "null" if text is None else f"{type(text).__name__}, no text"
            raise table.malformed(number, f"{name!r} is {what}")
        if not text or text.isspace():
            raise table.malformed(number, f"{name!r} is empty")
        if len(text) > TEXT:
            raise table.malformed(number, f"{name!r} has {len(text):,} characters, and {TEXT:,} are read at most")
    return texts
