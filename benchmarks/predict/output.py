"""What backends predict of texts, and how it is shown: as a table for people, as lines for programs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from benchmarks.workers.progress import terminal
from shared.tasks import Rows


@dataclass(frozen=True)
class Prediction:
    """A backend's answer to one text, or to one pair."""

    backend: str
    texts: tuple[str, ...]
    probabilities: dict[str, float]
    """Of every label, in config.json's order."""

    @property
    def label(self) -> str:
        """The likeliest; the first of them where some are equal."""
        return max(self.probabilities, key=self.probabilities.__getitem__)

    @property
    def probability(self) -> float:
        return self.probabilities[self.label]


@dataclass(frozen=True)
class Shown:
    """What is shown of each prediction, beside its label and the label's own probability."""

    backend: bool
    every_label: bool


def predictions(rows: Rows, labels: tuple[str, ...], found: dict[str, np.ndarray]) -> Iterator[Prediction]:
    """Text by text, the backends' beside one another. `found` has each backend's probabilities, float64 [rows,
    labels]."""
    columns = [rows.first] if rows.second is None else [rows.first, rows.second]
    for number, texts in enumerate(zip(*columns, strict=True)):
        for backend, of_rows in found.items():
            yield Prediction(backend, texts, dict(zip(labels, of_rows[number].tolist(), strict=True)))


def largest_difference(found: dict[str, np.ndarray]) -> float:
    """Between any two backends, over all texts and labels; `found` as above."""
    return float(np.ptp(np.stack(list(found.values())), axis=0).max())


def print_table(all_of_them: Iterable[Prediction], shown: Shown) -> None:
    """One line each; texts are cut to fit."""
    table: Table | None = None
    for prediction in all_of_them:
        if table is None:
            table = _table(prediction, shown)
        texts = (Text(_on_one_line(text), no_wrap=True, overflow="ellipsis") for text in prediction.texts)
        table.add_row(*texts, *map(Text, _cells(prediction, shown)))
    if table is not None:
        terminal().print(table)


def print_tsv(all_of_them: Iterable[Prediction], shown: Shown) -> None:
    """`[backend] label probability [every label's] text [second]`, tab-separated; tabs and newlines in a text or a
    label become spaces."""
    spaces = str.maketrans("\t\r\n", "   ")
    for prediction in all_of_them:
        print("\t".join(cell.translate(spaces) for cell in (*_cells(prediction, shown), *prediction.texts)))


def print_json(all_of_them: Iterable[Prediction], shown: Shown) -> None:
    """One object a line, with all probabilities whether asked for or not."""
    for prediction in all_of_them:
        values = {
            **({"backend": prediction.backend} if shown.backend else {}),
            **dict(zip(("text", "second"), prediction.texts, strict=False)),
            "label": prediction.label,
            "probability": prediction.probability,
            "probabilities": prediction.probabilities,
        }
        print(json.dumps(values, ensure_ascii=False))


PRINT: dict[str, Callable[[Iterable[Prediction], Shown], None]] = {
    "table": print_table,
    "tsv": print_tsv,
    "json": print_json,
}
"""By --format."""


def _table(first: Prediction, shown: Shown) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("text", "second")[: len(first.texts)]:
        table.add_column(name)
    if shown.backend:
        table.add_column("backend", no_wrap=True)
    table.add_column("label", no_wrap=True)
    for name in ("probability", *(first.probabilities if shown.every_label else ())):
        table.add_column(Text(_on_one_line(name)), justify="right", no_wrap=True)
    return table


def _cells(prediction: Prediction, shown: Shown) -> list[str]:
    """All but the texts, as strings."""
    numbers = [prediction.probability, *(prediction.probabilities.values() if shown.every_label else ())]
    return [
        *([prediction.backend] if shown.backend else []),
        prediction.label,
        *(f"{number:.6f}" for number in numbers),
    ]


def _on_one_line(text: str) -> str:
    """With a space for each character that would move a terminal's cursor or change its colours."""
    return "".join(c if c.isprintable() else " " for c in text)
