"""Tables of strings on the terminal. No score is cut: a table that is too wide wraps words, drops columns that are the
same in every row, and is shown in parts, each with the columns that name a row; or, if that is too wide, row by row."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from shared.errors import visible

LONGEST_WORD = 12
"""A longer word may be broken, unless it is a number."""

NUMBER = re.compile(r"[-+<≤±×(\[]*\d[\d.,:e+\-%×*)\]/]*")


def print_table(
    console: Console, title: str, table: pd.DataFrame, styles: Mapping[str, str] | None = None, names: int | None = None
) -> None:
    """Shows a table whose cells are strings: words to the left, numbers to the right. A cell that is a key of `styles`
    is shown in that style. The first `names` columns (one if None) name a row, and stand in every part."""
    table = table.map(visible).rename(columns=visible)
    keys = list(table.columns[: names or 1])
    numbers = [name for name in table.columns if not table[name].map(_is_word).all()]
    least = _least_widths(table, keys if names else numbers)
    same: list[str] = []
    if _needed(least.values()) > console.width and len(table) > 1:
        same = [name for name in table.columns if table[name].nunique() == 1][: len(table.columns) - 1]
    rest = [name for name in table.columns if name not in same]
    keys = [name for name in keys if name in rest] or rest[:1]
    parts = _parts(rest, keys, least, console.width)
    if parts is None:
        least = _least_widths(table, ())
        parts = _parts(rest, keys, least, console.width)
    if parts is None:
        _print_rows(console, title, table[rest], styles or {})
    else:
        for number, columns in enumerate(parts, start=1):
            heading = f"{title} ({number} of {len(parts)})" if title and len(parts) > 1 else title
            widths = _widths(table[columns], [least[name] for name in columns], console.width)
            console.print(_table(heading, table[columns], widths, styles or {}))
    if same:
        alike = ", ".join(f"{name} {table[name].iloc[0]}" for name in same)
        console.print(f"in every row: {alike}\n", highlight=False, markup=False)


def _least_widths(table: pd.DataFrame, whole: Iterable[str]) -> dict[str, int]:
    """The width that each column needs. Cells of the columns `whole` stay on one line; others wrap at spaces."""
    found = {}
    for name in table.columns:
        cells = [str(cell) for cell in table[name]]
        lengths = map(cell_len if name in whole else _longest_word, cells)
        found[name] = max(_longest_word(name), *lengths, 1)
    return found


def _longest_word(text: str) -> int:
    words = [(cell_len(word), NUMBER.fullmatch(word)) for word in text.split()]
    return max((length if number else min(length, LONGEST_WORD) for length, number in words), default=0)


def _needed(widths: Iterable[int]) -> int:
    """The width of a table whose columns have these widths: a space after each, one between two, one at each end."""
    each = list(widths)
    return sum(each) + 2 * len(each) + 1


def _parts(columns: Sequence[str], keys: Sequence[str], least: Mapping[str, int], width: int) -> list[list[str]] | None:
    """Groups of columns that fit the width, the keys in each. None if a column does not fit beside the keys."""
    parts: list[list[str]] = [list(keys)]
    for name in columns:
        if name in keys:
            continue
        if _needed(least[one] for one in (*parts[-1], name)) > width and len(parts[-1]) > len(keys):
            parts.append(list(keys))
        parts[-1].append(name)
    fits = all(_needed(least[name] for name in part) <= width for part in parts)
    return parts if fits else None


def _widths(table: pd.DataFrame, least: Sequence[int], width: int) -> list[int]:
    """The columns' widths: what their cells and headings ask for, the widest made narrower until all fit."""
    widths = [max(cell_len(name), *map(cell_len, table[name])) for name in table.columns]
    while _needed(widths) > width:
        n = max((n for n in range(len(widths)) if widths[n] > least[n]), key=widths.__getitem__)
        widths[n] -= 1
    return widths


def _table(title: str, table: pd.DataFrame, widths: Sequence[int], styles: Mapping[str, str]) -> Table:
    shown = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name, width in zip(table.columns, widths, strict=True):
        word = bool(table[name].map(_is_word).all())
        shown.add_column(name, justify="left" if word else "right", width=width, overflow="fold")
    for values in table.itertuples(index=False):
        shown.add_row(*(Text(value, style=styles.get(value, "")) for value in values))
    return shown


def _print_rows(console: Console, title: str, table: pd.DataFrame, styles: Mapping[str, str]) -> None:
    """Shows each row as lines of a column's name and the row's cell."""
    console.print(Text(title, style="bold"))
    for values in table.itertuples(index=False):
        lines = Table(box=None, show_header=False, padding=(0, 1, 0, 1))
        for name, value in zip(table.columns, values, strict=True):
            lines.add_row(Text(name, style="dim", overflow="fold"), Text(value, styles.get(value, ""), overflow="fold"))
        console.print(lines)
        console.print()


def _is_word(text: str) -> bool:
    return not text[:1].isdigit() and text[:1] not in ("+", "-", "–", "<")
