"""Tables of strings on the terminal."""

from __future__ import annotations

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text


def print_table(
    console: Console, title: str, table: pd.DataFrame, styles: dict[str, str] | None = None, names: int | None = None
) -> None:
    """Shows a table whose cells are strings: words to the left, numbers to the right. A cell that is a key of `styles`
    is shown in that style. A narrow terminal cuts words short; with `names`, the first so many columns stay whole and
    the others wrap."""
    shown = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for n, name in enumerate(table.columns):
        word = bool(table[name].map(_is_word).all())
        whole = word if names is None else n < names
        least = table[name].map(len).max() if whole and names else None
        shown.add_column(
            name,
            justify="left" if word else "right",
            no_wrap=whole,
            min_width=least,
            overflow="ellipsis" if names is None else "fold",
        )
    for values in table.itertuples(index=False):
        shown.add_row(*(Text(value, style=(styles or {}).get(value, "")) for value in values))
    console.print(shown)


def _is_word(text: str) -> bool:
    return not text[:1].isdigit() and text[:1] not in ("+", "-", "–", "<")
