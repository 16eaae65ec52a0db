"""Reading a task's files: which layout is there, their lines, fields and labels, and where a row is malformed."""

from __future__ import annotations

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
    """One line of a file, split at tabs."""

    file: Path
    line: int
    """Counted from 1."""
    fields: list[str]

    def text(self, column: int) -> str:
        """The text of a column. Raises InputError where it is empty."""
        if not self.fields[column].strip():
            raise self.malformed(f"column {column + 1} is empty")
        return self.fields[column]

    def label(self, column: int, labels: Sequence[str]) -> int:
        """The index that a column holds. Raises InputError where it is none of the task's."""
        allowed = [str(index) for index in range(len(labels))]
        if self.fields[column] not in allowed:
            raise self.malformed(f"label {self.fields[column]!r} is not one of {', '.join(allowed)}")
        return int(self.fields[column])

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


def read_rows(file: Path, columns: int, header: bool) -> list[Row]:
    """The rows of a tab-separated file in UTF-8, with or without a byte-order mark, CRLF, or a newline at its end.
    Quotes are text. Raises InputError at a line with another number of columns, and for a file without rows."""
    rows = [Row(file, number, text.split("\t")) for number, text in _lines(file)][1 if header else 0 :]
    for row in rows:
        if len(row.fields) != columns:
            raise row.malformed(f"{len(row.fields)} columns where {columns} are wanted")
    if not rows:
        raise InputError(f"{file} has no rows; restore the file")
    return rows


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    # Not str.splitlines(): it also cuts at characters such as U+2028, which are text here.
    content = file.read_bytes().removeprefix(b"\xef\xbb\xbf").removesuffix(b"\n")
    for number, line in enumerate(content.split(b"\n") if content else [], start=1):
        try:
            yield number, line.removesuffix(b"\r").decode("utf-8")
        except UnicodeDecodeError:
            raise InputError(f"{file}, line {number}: not UTF-8; convert the file") from None
