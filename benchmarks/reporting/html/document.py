"""The parts of report.html, and how they become one file.

The data is embedded once, by column. A chart names a data set and what the reader chooses of it; `report.js` takes the
rows that are chosen and draws them.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from benchmarks.reporting.numbers import MISSING
from benchmarks.reporting.page import Block, Heading, Notes, Table, Text
from shared.errors import visible

HERE = Path(__file__).parent
SCRIPTS = ("vega", "vega-lite", "vega-embed")
"""The libraries, in the order of their loading; requirements/npm.toml has their versions."""

ROWS = 100
"""Rows of a table that are shown at first."""

DIGITS = 6
"""Significant digits of an embedded number."""

POLICY = (
    "default-src 'none'; script-src {}; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    "connect-src 'none'"
)
"""The Content-Security-Policy: no request of any kind, and no script but those that the file has."""

CODE = re.compile(r"`([^`]*)`")
KEPT = ("max_len", "batch", "backend", "difference")
"""Columns that name rows and are always shown, unless they are alike in every row."""

RANGE = re.compile(r"^(.+?)( (?:\[[^\]]*\]|\([^)]* – [^)]*\)))(.*)$")
"""A cell with an interval or with quartiles, and marks after it."""


@dataclass(frozen=True)
class Cells:
    """A column whose values are the cells of a table of the page."""

    table: str
    heading: str


@dataclass(frozen=True)
class Same:
    """A column with one value in every row."""

    same: Any


Column = Sequence[Any] | Cells | Same


@dataclass(frozen=True)
class Data:
    """A data set: columns by name, all of the same length."""

    name: str
    rows: int
    columns: Mapping[str, Column]

    @classmethod
    def of(cls, name: str, columns: Mapping[str, Column]) -> Data:
        """The data set of these columns, one of which at least is a sequence."""
        return cls(
            name, next(len(column) for column in columns.values() if not isinstance(column, Cells | Same)), columns
        )

    @classmethod
    def of_rows(cls, name: str, rows: Sequence[Mapping[str, Any]]) -> Data:
        """The data set of rows with the same names."""
        return cls(name, len(rows), {column: [row[column] for row in rows] for column in rows[0]})

    def content(self) -> dict[str, Any]:
        """The data set as the script reads it."""
        return {"rows": self.rows, "columns": {name: _column(column) for name, column in self.columns.items()}}


@dataclass(frozen=True)
class Where:
    """A choice of rows: those that have the chosen value in a column. It is shown if the page has several values."""

    label: str
    column: str
    any: bool = False
    """All rows may be chosen too, and are at first."""


@dataclass(frozen=True)
class As:
    """A choice of columns: each option says which column (or columns, whose values are joined) a field is."""

    label: str
    options: Mapping[str, Mapping[str, str | Sequence[str]]]
    varied: bool = False
    """Options are offered only if the first field differs in the chosen rows; without any, nothing is drawn."""


@dataclass(frozen=True)
class Chart:
    """A figure that is drawn of a data set."""

    name: str
    title: str
    about: str
    """The caption: what is to be seen, in a sentence or two."""
    data: Data
    fields: Mapping[str, str]
    """Columns by the names that `spec` uses."""
    choices: Sequence[Where | As] = ()
    tips: Mapping[str, str] = field(default_factory=dict)
    """Fields that a point, and the table of values, shows, by heading."""
    spec: Mapping[str, Any] = field(default_factory=dict)
    """Vega-Lite, without data; empty for other kinds."""
    kind: str = "vega"
    """`matrices` draws a confusion matrix a row, `pivot` a table of two settings a backend, of the fields `row`,
    `column`, `group`, `value` and `shown`."""
    titles: Mapping[str, str] = field(default_factory=dict)
    """Axes whose title is what is chosen, with the choice's label."""
    part: ClassVar[str] = "chart"

    def content(self) -> dict[str, Any]:
        """The chart as the script reads it."""
        return {
            "kind": self.kind,
            "data": self.data.name,
            "fields": self.fields,
            "choices": [asdict(choice) for choice in self.choices],
            "tips": self.tips,
            "spec": self.spec,
            "titles": self.titles,
        }


@dataclass(frozen=True)
class Facts:
    """Names and what is to be said of each."""

    facts: Mapping[str, str]
    part: ClassVar[str] = "facts"


@dataclass(frozen=True)
class Shown:
    """A table of the page, as the template shows it: columns alike in every row are told above it."""

    id: str
    title: str
    columns: Sequence[str]
    words: Sequence[bool]
    """Whether a column holds words, which stand to the left."""
    rows: Sequence[Sequence[str]]
    names: int
    """How many of the first columns name a row."""
    fine: Sequence[bool]
    """Whether a column names a setting that follows from task and model, and is shown if it is asked for."""
    same: Mapping[str, str]
    """Columns that are left out because they are alike in every row, with their cell."""
    styles: Mapping[str, str]
    part: ClassVar[str] = "table"

    @property
    def classes(self) -> list[str]:
        """The classes of each column's cells."""
        both = zip(self.words, self.fine, strict=True)
        return [" ".join(name for name, has in (("w", words), ("fine", fine)) if has) for words, fine in both]

    @property
    def alike(self) -> str:
        """Values that are alike in every row, in words."""
        return ", ".join(f"{name} {cell}" for name, cell in self.same.items())

    def column(self, heading: str) -> Cells | Same:
        """The cells of a column, as a column of data."""
        return Same(self.same[heading]) if heading in self.same else Cells(self.id, heading)


@dataclass(frozen=True)
class Folded:
    """Parts that are shown when their title is chosen."""

    title: str
    parts: Sequence[Part]
    printed: bool = False
    """On paper they are shown."""
    part: ClassVar[str] = "folded"


@dataclass(frozen=True)
class Lines:
    """Paragraphs, or with `listed` the points of a list."""

    lines: Sequence[str]
    listed: bool = False
    part: ClassVar[str] = "lines"


Part = Chart | Facts | Shown | Folded | Lines


@dataclass(frozen=True)
class Section:
    """A part of the page with a heading, and a link at its top."""

    title: str
    parts: Sequence[Part]

    @property
    def id(self) -> str:
        """The section's name in links."""
        return as_id(self.title)

    @property
    def charts(self) -> bool:
        """Tells whether there are charts alone, which may stand beside each other."""
        return all(isinstance(part, Chart) for part in self.parts)


@dataclass(frozen=True)
class Document:
    """The whole page."""

    title: str
    lead: str
    summary: Sequence[str]
    """Facts to know first, a sentence each."""
    sections: Sequence[Section]

    def html(self) -> str:
        """The file's text."""
        charts = [part for section in self.sections for part in _flat(section.parts) if isinstance(part, Chart)]
        data = {chart.data.name: chart.data for chart in charts}
        content = {
            "data": {name: each.content() for name, each in data.items()},
            "charts": {chart.name: chart.content() for chart in charts},
        }
        scripts = [*_libraries(), (HERE / "templates" / "report.js").read_text(encoding="utf-8")]
        return (
            _environment()
            .get_template("report.html")
            .render(
                page=self,
                style=Markup((HERE / "templates" / "report.css").read_text(encoding="utf-8")),
                scripts=[Markup(script) for script in scripts],
                policy=Markup(POLICY.format(" ".join(map(_digest, scripts)))),
                data=embedded(content),
                most=ROWS,
            )
        )


def shown_table(table: Table, id: str = "") -> Shown:
    """A table for the page. Of several rows, columns that are alike in all are left out and told, if they name rows,
    hold words, or are the majority's share."""
    frame = table.frame.map(visible).rename(columns=visible)
    names = list(frame.columns[: table.names or 1])
    alike = [
        name
        for name in frame.columns
        if len(frame) > 1
        and frame[name].nunique() == 1
        and (name in names or name.endswith("majority") or is_words(frame[name]))
    ]
    left = [name for name in frame.columns if name not in alike] or names[:1]
    return Shown(
        id=id or as_id(table.title),
        title=table.title,
        columns=left,
        words=[is_words(frame[name]) for name in left],
        rows=frame[left].to_numpy().tolist(),
        names=max(1, len([name for name in names if name in left])),
        fine=_following(frame[left], names),
        same={name: frame[name].iloc[0] for name in alike if name not in left},
        styles=table.styles,
    )


def _following(frame: pd.DataFrame, names: Sequence[str]) -> list[bool]:
    """Whether each column is one of `names` and follows from task and model."""
    keys = [name for name in ("task", "model") if name in frame.columns]
    if not keys:
        return [False] * len(frame.columns)
    each = frame.groupby(keys).nunique().max()
    return [name in names and name not in (*keys, *KEPT) and each[name] == 1 for name in frame.columns]


def parts_of(blocks: Sequence[Block], id: str = "") -> list[Part]:
    """Blocks of another page as parts of this one. Pictures and headings are left out."""
    parts: list[Part] = []
    for block in blocks:
        if isinstance(block, Table):
            parts.append(shown_table(block, f"{id}-{as_id(block.title)}" if id else ""))
        elif isinstance(block, Notes):
            parts.append(Folded("How to read this", [Lines(block.lines, listed=True)], printed=True))
        elif isinstance(block, Text):
            parts.append(Lines(block.paragraphs))
        else:
            assert not isinstance(block, Heading) or block.text.startswith("#")
    return parts


def is_words(cells: pd.Series) -> bool:
    """Tells whether a column holds words and no numbers."""
    there = cells[cells != MISSING]
    return bool(len(there) and there.map(lambda text: not text[:1].isdigit() and text[:1] not in ("+", "-", "<")).all())


def as_id(text: str) -> str:
    """The text as the name of an element."""
    return re.sub(r"\W+", "-", text.lower()).strip("-")


def embedded(content: Any) -> Markup:
    """JSON in an element `script`. Nothing in it ends the element, and every line break is spelled."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def number_or_none(value: Any) -> float | int | None:
    """The number with DIGITS digits; None if it is none, or not finite."""
    if value is None or not math.isfinite(value):
        return None
    if isinstance(value, int):
        return value
    short = float(f"{value:.{DIGITS}g}")
    return int(short) if short.is_integer() and abs(short) < 1e15 else short


def _column(column: Column) -> Any:
    if isinstance(column, Cells | Same):
        return asdict(column)
    return [number_or_none(value) if isinstance(value, float) else value for value in column]


def _flat(parts: Sequence[Part]) -> list[Part]:
    """The parts, and those that are folded."""
    return list(itertools.chain.from_iterable([p, *_flat(p.parts)] if isinstance(p, Folded) else [p] for p in parts))


@cache
def _libraries() -> tuple[str, ...]:
    return tuple((HERE / "vendor" / f"{name}.min.js").read_text(encoding="utf-8") for name in SCRIPTS)


def _digest(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def _as_code(text: str) -> Markup:
    """The text with its Markdown code as elements."""
    return Markup(CODE.sub(r"<code>\1</code>", str(escape(visible(text)))))


def _in_two(cell: str) -> Markup:
    """The cell, an interval or quartiles on a line of their own."""
    found = RANGE.match(cell)
    return escape(cell) if found is None else Markup("{}<small>{}<b>{}</b></small>").format(*found.groups())


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("benchmarks.reporting.html"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"code": _as_code, "in_two": _in_two, "any": any}
    return environment
