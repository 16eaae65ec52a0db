"""Predictions about texts, and how they are shown: as a table for people, as lines for programs."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from msgspec import UNSET, Struct, UnsetType
from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmarks.workers.progress import terminal
from shared.errors import visible
from shared.files import to_json
from shared.tasks import Rows

LEAST_TEXT = 5
"""Columns of a text that is cut."""

Format = Literal["table", "tsv", "json"]


@dataclass(frozen=True)
class Prediction:
    """A backend's answer to one text, or to one pair."""

    backend: str
    texts: tuple[str, ...]
    probabilities: dict[str, float]
    """Probability by label, in config.json's order."""
    id: str | None = None
    """The row's name in its source."""

    @property
    def label(self) -> str:
        """The likeliest label; of equally likely ones the first."""
        return max(self.probabilities, key=self.probabilities.__getitem__)

    @property
    def probability(self) -> float:
        """The likeliest label's probability."""
        return self.probabilities[self.label]


@dataclass(frozen=True)
class Shown:
    """The columns beside a prediction's label and that label's probability."""

    backend: bool
    every_label: bool
    id: bool = False


def predictions(rows: Rows, labels: tuple[str, ...], found: dict[str, np.ndarray]) -> Iterator[Prediction]:
    """Text by text, for each the backends in turn. `found` has each backend's probabilities, float64 [rows, labels]."""
    columns = [rows.first] if rows.second is None else [rows.first, rows.second]
    for number, texts in enumerate(zip(*columns, strict=True)):
        for backend, of_rows in found.items():
            by_label = dict(zip(labels, of_rows[number].tolist(), strict=True))
            yield Prediction(backend, texts, by_label, rows.ids[number] if rows.ids is not None else None)


def largest_difference(found: dict[str, np.ndarray]) -> float:
    """The largest difference between any two backends, over all texts and labels; `found` as in `predictions`."""
    return float(np.ptp(np.stack(list(found.values())), axis=0).max())


def print_predictions(all_of_them: Iterable[Prediction], shown: Shown, form: Format | None) -> None:
    """Prints on standard output, in UTF-8, in this form; without one, a table on a terminal and else lines."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")
    form = form or ("table" if sys.stdout.isatty() else "tsv")
    PRINT[form](all_of_them, shown)


def print_table(all_of_them: Iterable[Prediction], shown: Shown) -> None:
    """A line for each prediction; texts are cut to fit. If labels and numbers leave too little room for a text, each
    prediction has lines of its own."""
    console = terminal()
    table: Table | None = None
    for prediction in all_of_them:
        if table is None:
            table = _table(prediction, shown)
            narrow = _needed(prediction, shown) > console.width
        if narrow:
            _print_lines(console, prediction, shown)
            continue
        texts = (Text(_on_one_line(text), no_wrap=True, overflow="ellipsis") for text in prediction.texts)
        table.add_row(*texts, *map(Text, _cells(prediction, shown)))
    if table is not None and not narrow:
        console.print(table)


def _needed(prediction: Prediction, shown: Shown) -> int:
    """Columns that a table needs, with room for the longest label."""
    names = ["probability", *(prediction.probabilities if shown.every_label else ())]
    numbers = sum(max(cell_len(_on_one_line(name)), len("0.000000")) + 2 for name in names)
    label = max(len("label"), *map(cell_len, prediction.probabilities)) + 2
    backend = len("keras-jax") + 2 if shown.backend else 0
    backend += max(8, cell_len(prediction.id or "")) + 2 if shown.id else 0
    return len(prediction.texts) * (LEAST_TEXT + 2) + backend + label + numbers + 1


def _print_lines(console: Console, prediction: Prediction, shown: Shown) -> None:
    for text in prediction.texts:
        console.print(Text(_on_one_line(text), no_wrap=True, overflow="ellipsis"))
    backend = f"{prediction.backend}: " if shown.backend else ""
    backend += f"{prediction.id}: " if shown.id else ""
    lines = [f"  {backend}{_on_one_line(prediction.label)}  {prediction.probability:.6f}"]
    if shown.every_label:
        lines += [f"    {_on_one_line(name)}  {number:.6f}" for name, number in prediction.probabilities.items()]
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def print_tsv(all_of_them: Iterable[Prediction], shown: Shown) -> None:
    """Lines of `[backend] [id] label probability [every label's] text [second]`, tab-separated. Tabs and newlines in a
    text or a label become spaces; other control characters of a label are spelled."""
    spaces = str.maketrans("\t\r\n", "   ")
    for prediction in all_of_them:
        names = map(visible, (cell.translate(spaces) for cell in _cells(prediction, shown)))
        print("\t".join((*names, *(text.translate(spaces) for text in prediction.texts))))


class _Line(Struct, frozen=True):
    """A prediction in JSON."""

    backend: str | UnsetType
    id: str | UnsetType
    text: str
    second: str | UnsetType
    label: str
    probability: float
    probabilities: dict[str, float]


def print_json(all_of_them: Iterable[Prediction], shown: Shown) -> None:
    """An object a line, with every label's probability whether asked for or not."""
    for one in all_of_them:
        backend = one.backend if shown.backend else UNSET
        text, second = one.texts if len(one.texts) == 2 else (one.texts[0], UNSET)
        name = one.id if shown.id and one.id is not None else UNSET
        print(to_json(_Line(backend, name, text, second, one.label, one.probability, one.probabilities)))


PRINT: dict[Format, Callable[[Iterable[Prediction], Shown], None]] = {
    "table": print_table,
    "tsv": print_tsv,
    "json": print_json,
}
"""Printers by --format."""


def _table(first: Prediction, shown: Shown) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("text", "second")[: len(first.texts)]:
        table.add_column(name)
    if shown.backend:
        table.add_column("backend", no_wrap=True)
    if shown.id:
        table.add_column("id", no_wrap=True)
    table.add_column("label", no_wrap=True)
    for name in ("probability", *(first.probabilities if shown.every_label else ())):
        table.add_column(Text(_on_one_line(name)), justify="right", no_wrap=True)
    return table


def _cells(prediction: Prediction, shown: Shown) -> list[str]:
    """Every cell but the texts."""
    numbers = [prediction.probability, *(prediction.probabilities.values() if shown.every_label else ())]
    return [
        *([prediction.backend] if shown.backend else []),
        *([prediction.id or ""] if shown.id else []),
        prediction.label,
        *(f"{number:.6f}" for number in numbers),
    ]


def _on_one_line(text: str) -> str:
    """The text with a space for each character that would move a terminal's cursor or change its colours."""
    return "".join(c if c.isprintable() else " " for c in text)
