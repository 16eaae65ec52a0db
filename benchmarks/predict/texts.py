"""Texts to predict: from the command line, a file or standard input."""

from __future__ import annotations

import sys
from pathlib import Path

from shared.errors import InputError
from shared.tasks import Rows
from shared.tasks.reading import Row, numbered_lines, read_whole

STANDARD_INPUT = Path("standard input")
"""Its name in messages."""


def read_texts(texts: list[str], file: str | None) -> Rows:
    """The texts given, one or a pair. Else those of the file (`-` is standard input), or of standard input if it is no
    terminal: a text a line, or two with a tab between. Raises InputError naming file and line."""
    if texts and file is not None:
        raise InputError("texts and --file: pass one of the two")
    if len(texts) > 2:
        raise InputError(f"{len(texts)} texts: pass one, or two as a pair; more go into a --file, one a line")
    for text in texts:
        if not text.strip():
            raise InputError("a text is empty; pass one with words")
    if texts:
        return Rows(texts[:1], texts[1:] or None, None)
    if file is None and sys.stdin.isatty():
        raise InputError("no texts; pass one or two, or --file, or pipe them in")
    if file is None or file == "-":
        return rows_of(read_whole(sys.stdin.buffer, STANDARD_INPUT), STANDARD_INPUT)
    try:
        with open(file, "rb") as opened:
            return rows_of(read_whole(opened, Path(file)), Path(file))
    except OSError as error:
        raise InputError(f"--file {file} cannot be read ({error.strerror}); pass another") from None


def rows_of(content: bytes, file: Path) -> Rows:
    """The texts or pairs that a file holds. Raises InputError naming file and line if a line is empty, is not UTF-8, or
    has more or fewer columns than the first."""
    rows = [Row(file, number, line.split("\t")) for number, line in numbered_lines(content, file)]
    if not rows:
        raise InputError(f"{file} has no texts; give it one a line")
    columns = len(rows[0].fields)
    if columns > 2:
        raise rows[0].malformed(f"{columns} columns where a text, or two with a tab between, are wanted")
    for row in rows:
        if row.fields == [""]:
            raise row.malformed("the line is empty")
        if len(row.fields) != columns:
            raise row.malformed(f"{len(row.fields)} columns where line 1 has {columns}")
    first = [row.text(0) for row in rows]
    return Rows(first, [row.text(1) for row in rows] if columns == 2 else None, None)
