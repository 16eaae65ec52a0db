"""Reads a task's files: finds their layout, splits lines into fields, and names the line of a malformed row."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from shared.errors import InputError
from shared.limits import LINE, ROWS_FILE, TEXT

csv.field_size_limit(LINE)  # its own limit is 131,072 characters


@dataclass(frozen=True)
class Layout:
    """Files that hold a task together, and the folders below the data folder that may have them."""

    files: tuple[str, ...]
    folders: tuple[str, ...]


@dataclass(frozen=True)
class Row:
    """One row of a file, split into its fields."""

    file: Path
    line: int
    """Number of its first line, counted from 1."""
    fields: list[str]

    def text(self, column: int) -> str:
        """Returns the text of a column. Raises InputError if it is empty."""
        if not self.fields[column].strip():
            raise self.malformed(f"column {column + 1} is empty")
        if len(self.fields[column]) > TEXT:
            raise self.malformed(f"column {column + 1} has over {TEXT:,} characters")
        return self.fields[column]

    def label(self, column: int, labels: Sequence[str]) -> int:
        """Returns the label's index in a column. Raises InputError if it is not one of the task's."""
        return self.choice(column, [str(index) for index in range(len(labels))])

    def choice(self, column: int, allowed: Sequence[str]) -> int:
        """Returns the index in `allowed` of a column's value. Raises InputError if the value is not in it."""
        if self.fields[column] not in allowed:
            raise self.malformed(f"label {self.fields[column]!r} is not one of {', '.join(allowed)}")
        return allowed.index(self.fields[column])

    def number(self, column: int, low: float, high: float) -> float:
        """Returns the number in a column. Raises InputError if it is not a number from `low` to `high`."""
        try:
            number = float(self.fields[column])
        except ValueError:
            number = float("nan")
        if not low <= number <= high:
            raise self.malformed(f"{self.fields[column]!r} is no number from {low:g} to {high:g}")
        return number

    def malformed(self, problem: str) -> InputError:
        """The error that names this row's file and line."""
        return InputError(f"{self.file}, line {self.line}: {problem}; mend or remove the line")


def find_layout(task: str, data_dir: Path, layouts: Sequence[Layout]) -> tuple[Layout, Path]:
    """Finds the first layout whose files are all in one of its folders. Returns the layout and the folder. The data
    folder may be the layout's own folder too: `glue/CoLA` for `glue`.

    Raises InputError if there is none. If a folder has some of the files, the message names the others; else it names
    all files that were looked for.
    """
    if not data_dir.is_dir():
        raise InputError(f"{data_dir} is no folder; pass --data-dir the folder that holds {task}'s files")
    incomplete = ""
    for layout in layouts:
        for folder in _places(data_dir, layout):
            missing = [name for name in layout.files if not (folder / name).is_file()]
            if not missing:
                return layout, folder
            if len(missing) < len(layout.files) and not incomplete:
                incomplete = f"{task} is incomplete: {folder} lacks {', '.join(missing)}; add what is missing"
    wanted = [f"{' '.join(layout.files)} in {', '.join(layout.folders)}" for layout in layouts]
    raise InputError(
        incomplete or f"{data_dir} has no files of {task} (looked for {'; or '.join(wanted)}); pass another --data-dir"
    )


def _places(data_dir: Path, layout: Layout) -> list[Path]:
    """Folders in which a layout's files may lie."""
    own = data_dir.resolve().name
    inside = [name.partition("/")[2] or "." for name in layout.folders if name.partition("/")[0] == own]
    return [data_dir / name for name in (*layout.folders, *inside)]


def read_rows(
    file: Path,
    columns: int,
    header: bool | Sequence[str] = False,
    separator: str = "\t",
    first_is_free: bool = False,
) -> list[Row]:
    """Reads the rows of a file in UTF-8, one a line, with or without a byte-order mark, CRLF, or a newline at its end.
    Quotes are text, and blank lines at the end are none.

    If `header` is True, the first line is dropped; if it is a list of names, they must be the file's. With
    `first_is_free` the first column may contain the separator. Raises InputError for a line with another number of
    columns, for another header, and for a file without rows.
    """
    splits = columns - 1 if first_is_free else -1
    rows = [Row(file, number, text.rsplit(separator, splits)) for number, text in _lines(file)]
    if header:
        if rows and header is not True and rows[0].fields != list(header):
            raise InputError(f"{file}, line 1: not the header {separator.join(header)!r}; restore it")
        del rows[:1]
    for row in rows:
        if len(row.fields) != columns:
            raise row.malformed(f"{len(row.fields)} columns where {columns} are wanted")
    if not rows:
        raise InputError(f"{file} has no rows; restore the file")
    return rows


def read_named(file: Path, names: Sequence[str]) -> tuple[list[Row], list[int]]:
    """Reads the rows of a tab-separated file whose first line is a header, as `read_rows` does. Returns the rows, and
    the positions of the columns `names`. Raises InputError as `read_rows` does, and for a header without these
    names."""
    with file.open("rb") as opened:
        header = next(_fields(opened.readline(LINE), file), [])
    if header and (missing := [name for name in names if name not in header]):
        raise InputError(f"{file}, line 1: the header has no {', '.join(missing)}; restore it")
    return read_rows(file, columns=len(header), header=True), [header.index(name) for name in names if header]


def _fields(content: bytes, file: Path) -> Iterator[list[str]]:
    return (text.split("\t") for _, text in numbered_lines(content, file))


def read_csv(file: Path, names: Sequence[str]) -> tuple[list[Row], list[int]]:
    """Reads the rows of a comma-separated file in UTF-8 whose first line is a header. Returns the rows, and the
    positions of the columns `names`.

    Quotes enclose a field, which may contain newlines; CRLF in it becomes a newline. Raises InputError for a header
    without these names, for a row that is not CSV or has another number of columns than the header, and for a file
    without rows.
    """
    lines = csv.reader((text + "\n" for _, text in _lines(file)), strict=True)
    rows: list[Row] = []
    while True:
        start = lines.line_num + 1
        try:
            rows.append(Row(file, start, next(lines)))
        except StopIteration:
            break
        except csv.Error as error:
            raise Row(file, start, []).malformed(f"not CSV ({error})") from None
    header = rows.pop(0).fields if rows else []
    if rows and (missing := [name for name in names if name not in header]):
        raise InputError(f"{file}, line 1: the header has no {', '.join(missing)}; restore it")
    for row in rows:
        if len(row.fields) != len(header):
            raise row.malformed(f"{len(row.fields)} columns where {len(header)} are wanted")
    if not rows:
        raise InputError(f"{file} has no rows; restore the file")
    return rows, [header.index(name) for name in names]


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    with file.open("rb") as opened:
        return numbered_lines(read_whole(opened, file), file)


def read_whole(opened: BinaryIO, file: Path) -> bytes:
    """The content of a file or a pipe, which `file` names. Raises InputError if it has more bytes than ROWS_FILE;
    before memory is taken, if its size can be told."""
    try:
        size = os.fstat(opened.fileno()).st_size  # 0 of a pipe
    except OSError:  # not a file of the system
        size = 0
    if 0 < size <= ROWS_FILE:
        return opened.read()
    pieces: list[bytes] = []
    while size <= ROWS_FILE:
        piece = opened.read(LINE)
        if not piece:
            return b"".join(pieces)
        pieces.append(piece)
        size += len(piece)
    raise InputError(f"{file} has more than {ROWS_FILE:,} bytes; pass it in parts")


def numbered_lines(content: bytes, file: Path) -> Iterator[tuple[int, str]]:
    """Yields number (from 1) and text of each line of a file's content, without the end of line and without blank lines
    at the file's end. Raises InputError for a line that is not UTF-8."""
    # str.splitlines() would also cut at characters such as U+2028, which are text here.
    content = without_blank_end(content.removeprefix(b"\xef\xbb\xbf"))
    for number, line in enumerate(content.split(b"\n") if content else [], start=1):
        try:
            yield number, line.removesuffix(b"\r").decode("utf-8")
        except UnicodeDecodeError:
            raise InputError(f"{file}, line {number}: not UTF-8; convert the file") from None


def without_blank_end(content: bytes) -> bytes:
    """A file's content without the last newline, and without blank lines before it."""
    words = content.rstrip(b" \t\r\n")
    return words + content[len(words) :].partition(b"\n")[0]
