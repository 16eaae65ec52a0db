"""Reading a task's files: which layout is there, their lines, fields and labels, and where a row is malformed."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from shared.errors import InputError


@dataclass(frozen=True)
class Layout:
    """Files that together hold a task, and the folders under the data folder where they may lie."""

    files: tuple[str, ...]
    folders: tuple[str, ...]


@dataclass(frozen=True)
class Row:
    """One row of a file, split into its fields."""

    file: Path
    line: int
    """Counted from 1; the first, where a row has several."""
    fields: list[str]

    def text(self, column: int) -> str:
        """The text of a column. Raises InputError where it is empty."""
        if not self.fields[column].strip():
            raise self.malformed(f"column {column + 1} is empty")
        return self.fields[column]

    def label(self, column: int, labels: Sequence[str]) -> int:
        """The index that a column holds. Raises InputError where it is none of the task's."""
        return self.choice(column, [str(index) for index in range(len(labels))])

    def choice(self, column: int, allowed: Sequence[str]) -> int:
        """Which of `allowed` a column holds. Raises InputError where it holds none of them."""
        if self.fields[column] not in allowed:
            raise self.malformed(f"label {self.fields[column]!r} is not one of {', '.join(allowed)}")
        return allowed.index(self.fields[column])

    def number(self, column: int, low: float, high: float) -> float:
        """The number that a column holds. Raises InputError where it holds none from `low` to `high`."""
        try:
            number = float(self.fields[column])
        except ValueError:
            number = float("nan")
        if not low <= number <= high:
            raise self.malformed(f"{self.fields[column]!r} is no number from {low:g} to {high:g}")
        return number

    def malformed(self, problem: str) -> InputError:
        return InputError(f"{self.file}, line {self.line}: {problem}; mend or remove the line")


def find_layout(task: str, data_dir: Path, layouts: Sequence[Layout]) -> tuple[Layout, Path]:
    """The first layout whose files are all in one of its folders, and that folder. Raises InputError naming the files
    that were looked for: those that are missing beside others that are there, else all."""
    if not data_dir.is_dir():
        raise InputError(f"{data_dir} is no folder; pass --data-dir the folder that holds {task}'s files")
    incomplete = ""
    for layout in layouts:
        for folder in (data_dir / name for name in layout.folders):
            missing = [name for name in layout.files if not (folder / name).is_file()]
            if not missing:
                return layout, folder
            if len(missing) < len(layout.files) and not incomplete:
                incomplete = f"{task} is incomplete: {folder} lacks {', '.join(missing)}; add what is missing"
    wanted = [f"{' '.join(layout.files)} in {', '.join(layout.folders)}" for layout in layouts]
    raise InputError(
        incomplete or f"{data_dir} has no files of {task} (looked for {'; or '.join(wanted)}); pass another --data-dir"
    )


def read_rows(
    file: Path,
    columns: int,
    header: bool | Sequence[str] = False,
    separator: str = "\t",
    first_is_free: bool = False,
) -> list[Row]:
    """The rows of a file in UTF-8, one a line, with or without a byte-order mark, CRLF, or a newline at its end. Quotes
    are text. Where the names in a `header` are given, they are compared with the file's. Where `first_is_free`, the
    first column may hold the separator too.

    Raises InputError at a line with another number of columns, for another header, and for a file without rows.
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


def read_csv(file: Path, names: Sequence[str]) -> tuple[list[Row], list[int]]:
    """The rows of a comma-separated file in UTF-8 whose first line is a header, and the places of the columns `names`
    in them. Quotes are quoting, and a quoted field may hold newlines; CRLF within becomes a newline.

    Raises InputError for a header without these names, at a row that is not CSV or has another number of columns than
    the header, and for a file without rows.
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
    return numbered_lines(file.read_bytes(), file)


def numbered_lines(content: bytes, file: Path) -> Iterator[tuple[int, str]]:
    """The lines of a file's content, from 1, without their ends. Raises InputError at a line that is not UTF-8."""
    # Not str.splitlines(): it also cuts at characters such as U+2028, which are text here.
    content = content.removeprefix(b"\xef\xbb\xbf").removesuffix(b"\n")
    for number, line in enumerate(content.split(b"\n") if content else [], start=1):
        try:
            yield number, line.removesuffix(b"\r").decode("utf-8")
        except UnicodeDecodeError:
            raise InputError(f"{file}, line {number}: not UTF-8; convert the file") from None
