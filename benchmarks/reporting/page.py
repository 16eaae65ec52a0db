"""Pages: tables, notes, text and pictures, described once and shown in Markdown and on the terminal."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console

from benchmarks.reporting.tables import print_table
from shared.errors import visible
from shared.files import write_whole

MARKS = re.compile(
    r"""\\(?=[!-/:-@\[-`{-~])|[`|]|[*~](?=\S)|(?<![^\W_])_|_(?![^\W_])|<(?=[A-Za-z/!?])|&(?=\#?\w+;)|\](?=[(\[])"""
)
"""Characters that Markdown takes for more than text: escapes, code, columns, stress, HTML, entities, links."""

TAG = re.compile(r"<(?=[A-Za-z/!?])")
"""The beginning of an HTML tag."""

FORMULAS = ("=", "+", "-", "@", "\t")
"""Beginnings of a cell that a spreadsheet takes for a formula."""


def as_markdown(text: str) -> str:
    """The text as a cell of a table shows it: control characters are spelled, and nothing is marked up."""
    return MARKS.sub(lambda found: f"\\{found[0]}", visible(text))


def as_cell(value: Any) -> Any:
    """The value as a spreadsheet may have it: control characters of a text are spelled, and what would be a formula has
    an apostrophe before it."""
    if not isinstance(value, str):
        return value
    text = visible(value, kept="\t\n")
    return f"'{text}" if text.startswith(FORMULAS) else text


@dataclass(frozen=True)
class Table:
    """A table whose cells are strings."""

    frame: pd.DataFrame
    title: str = ""
    heading: bool = True
    """Markdown shows the title, as a heading of the second level."""
    styles: Mapping[str, str] = field(default_factory=dict)
    """The terminal shows a cell that is a key in this style."""
    marked: bool = False
    """The cells are Markdown. Else what would be taken for it is escaped."""
    names: int | None = None
    """How many of the first columns name a row: they stand in every part of a table that a narrow terminal splits."""
    most: int | None = None
    """The most rows that the terminal shows; None for all."""

    def markdown(self) -> str:
        frame = self.frame if self.marked else self.frame.map(as_markdown).rename(columns=as_markdown)
        text = frame.to_markdown(index=False, disable_numparse=True)
        return f"## {self.title}\n\n{text}" if self.title and self.heading else text

    def print(self, console: Console) -> None:
        shown = self.frame.head(len(self.frame) if self.most is None else self.most)
        print_table(console, self.title, shown, dict(self.styles), self.names)
        if len(shown) < len(self.frame):
            line = f"the first {len(shown)} of {len(self.frame):,} rows; the file has all\n"
            console.print(line, style="dim", highlight=False, markup=False)


@dataclass(frozen=True)
class Notes:
    """Lines that explain a table."""

    lines: Sequence[str]

    def markdown(self) -> str:
        return "\n".join(f"- {TAG.sub('&lt;', visible(line))}" for line in self.lines)

    def print(self, console: Console) -> None:
        for line in self.lines:
            console.print(f"- {line}", style="dim", highlight=False, markup=False, soft_wrap=True)


@dataclass(frozen=True)
class Text:
    """Paragraphs."""

    paragraphs: Sequence[str]

    def markdown(self) -> str:
        return "\n\n".join(self.paragraphs)

    def print(self, console: Console) -> None:
        console.print()
        for paragraph in self.paragraphs:
            console.print(paragraph, highlight=False, markup=False, soft_wrap=True)


@dataclass(frozen=True)
class Picture:
    """A picture beside the page. The terminal shows none."""

    name: str
    path: str
    """Relative to the page."""

    def markdown(self) -> str:
        return f"![{self.name}]({self.path})"

    def print(self, console: Console) -> None:
        pass


@dataclass(frozen=True)
class Heading:
    """Markdown of a file, such as its beginning. The terminal shows none of it."""

    text: str

    def markdown(self) -> str:
        return self.text

    def print(self, console: Console) -> None:
        pass


Block = Table | Notes | Text | Picture | Heading


@dataclass(frozen=True)
class Page:
    """Blocks from top to bottom."""

    blocks: Sequence[Block]

    def markdown(self) -> str:
        """The page in Markdown, a blank line between two blocks."""
        return "\n\n".join(block.markdown() for block in self.blocks) + "\n"

    def write(self, path: Path) -> None:
        """Writes the page in Markdown."""
        write_whole(path, self.markdown())

    def print(self, console: Console) -> None:
        """Shows the page on the terminal."""
        for block in self.blocks:
            block.print(console)


def write_csv(path: Path, table: pd.DataFrame, form: str | None = "%.6g") -> None:
    """Writes a table of raw values. `form` is the format of its numbers; None writes every digit."""
    write_whole(path, table.map(as_cell).rename(columns=as_cell).to_csv(index=False, float_format=form))
