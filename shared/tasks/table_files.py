"""Files of own data, read column by column in pieces: CSV, TSV, JSON lines and Parquet, by the file's ending."""

from __future__ import annotations

import codecs
import csv
import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from shared.errors import InputError
from shared.limits import LINE
from shared.parsing import parse_json

csv.field_size_limit(LINE)  # its own limit is 131,072 characters

AT_ONCE = 8192
"""Rows of a piece."""

BLOCK = 2**20
"""Bytes that are decoded at once."""

T = TypeVar("T")

UTF_16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass(frozen=True)
class Piece:
    """Some rows of a file, one after another."""

    numbers: Sequence[int]
    """Each row's number: of the line where it starts, or of the row, counted from 1."""
    columns: list[list[Any]]
    """Values of the columns asked for, in that order."""


@dataclass(frozen=True)
class TableFile:
    """A file whose header is read."""

    path: Path
    columns: tuple[str, ...]
    unit: str
    """The unit of a row's number: lines or rows."""
    pieces: Callable[[Sequence[str]], Iterator[Piece]]
    """Reads these columns. Raises InputError naming file and line of a malformed row."""
    label_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Names of labels that the file itself gives to a column's numbers, as `datasets` writes them."""

    def malformed(self, number: int, problem: str) -> InputError:
        """The error that names a row's file and number."""
        return InputError(f"{self.path}, {self.unit} {number}: {problem}; mend or remove it")


@dataclass(frozen=True)
class Format:
    """A kind of file."""

    endings: tuple[str, ...]
    about: str
    """A line for docs/tasks.md about files of this kind."""
    open: Callable[[Path, str], TableFile]
    """Reads the header of a file in this encoding."""


def open_table(file: Path, encoding: str) -> TableFile:
    """Opens a file by its ending. Raises InputError for another ending, an unknown encoding, and as its format does."""
    for known in FORMATS:
        if file.suffix.lower() in known.endings:
            try:
                if not codecs.lookup(encoding)._is_text_encoding:
                    raise LookupError
            except LookupError:
                raise InputError(f"unknown encoding {encoding!r}; pass one such as utf-8, utf-16 or latin-1") from None
            return known.open(file, encoding)
    raise InputError(f"{file} is none of {', '.join(endings())}; convert it to one of them")


def endings() -> list[str]:
    """Endings of all files that are read."""
    return [ending for known in FORMATS for ending in known.endings]


def decoded_lines(file: Path, encoding: str) -> Iterator[tuple[int, str]]:
    """Yields number (from 1) and text of each line, without its end and without blank lines at the file's end. Raises
    InputError for a line that is not in the encoding, or has a NUL."""
    blank: list[int] = []
    for number, line in enumerate(_all_lines(file, encoding), start=1):
        if "\0" in line:
            raise InputError(f"{file}, line {number}: a NUL byte; pass --encoding the file's own, such as utf-16")
        if not line or line.isspace():
            blank.append(number)
            continue
        yield from ((empty, "") for empty in blank)
        blank.clear()
        yield number, line


def _all_lines(file: Path, encoding: str) -> Iterator[str]:
    utf_8 = codecs.lookup(encoding).name == "utf-8"
    decoder = codecs.getincrementaldecoder("utf-8-sig" if utf_8 else encoding)()
    pieces: list[str] = []  # of the line that has no end yet
    done = 0
    with file.open("rb") as opened:
        if utf_8 and opened.read(2) in UTF_16_MARKS:
            raise InputError(f"{file} begins as UTF-16 does; pass --encoding utf-16")
        opened.seek(0)
        while True:
            block = opened.read(BLOCK)
            try:
                pieces.append(decoder.decode(block, final=not block))
            except UnicodeError as error:
                raise _undecodable(file, encoding, done + 1, error) from None
            if sum(map(len, pieces)) > LINE + BLOCK:
                raise InputError(f"{file}, line {done + 1}: over {LINE:,} characters; write shorter lines")
            if "\n" in pieces[-1] or not block:
                *lines, rest = "".join(pieces).split("\n")
                pieces = [rest]
                done += len(lines)
                yield from (line.removesuffix("\r") for line in lines)
            if not block:
                break
    if rest:
        yield rest


def _undecodable(file: Path, encoding: str, first: int, error: UnicodeError) -> InputError:
    """Names the line of the byte that cannot be decoded. `first` is the line in which its block starts."""
    if isinstance(error, UnicodeDecodeError):
        first += error.object[: error.start].decode(encoding, "replace").count("\n")
    return InputError(
        f"{file}, line {first}: not {encoding}; pass --encoding the file's own, such as latin-1, or convert the file"
    )


# --- CSV and TSV


def _open_csv(file: Path, encoding: str) -> TableFile:
    """Finds the separator in the header: a comma, or a semicolon or a tab if there is no comma."""
    header = next(_csv_rows(file, encoding, ","), (1, []))[1]
    separator = ","
    if len(header) == 1:
        separator = next((mark for mark in ";\t" if mark in header[0]), ",")
        header = next(_csv_rows(file, encoding, separator))[1]
    return _with_header(file, header, lambda: _csv_rows(file, encoding, separator))


def _open_tsv(file: Path, encoding: str) -> TableFile:
    def rows() -> Iterator[tuple[int, list[str]]]:
        return ((number, line.split("\t")) for number, line in decoded_lines(file, encoding))

    return _with_header(file, next(rows(), (1, []))[1], rows)


def _csv_rows(file: Path, encoding: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Yields each row's first line and fields. Quotes enclose a field, which may hold separators and newlines."""
    lines = csv.reader((f"{line}\n" for _, line in decoded_lines(file, encoding)), delimiter=separator, strict=True)
    while True:
        start = lines.line_num + 1
        try:
            yield start, next(lines)
        except StopIteration:
            return
        except csv.Error as error:
            raise InputError(f"{file}, line {start}: not CSV ({error}); mend or remove the line") from None


def _with_header(file: Path, header: list[str], rows: Callable[[], Iterator[tuple[int, list[str]]]]) -> TableFile:
    if not header:
        raise InputError(f"{file} is empty; give it a header and rows")
    columns = tuple(name.strip() for name in header)

    def pieces(names: Sequence[str]) -> Iterator[Piece]:
        places = [columns.index(name) for name in names]
        for some in _groups(itertools.islice(rows(), 1, None)):
            for number, fields in some:
                if len(fields) != len(columns):
                    raise table.malformed(number, f"{len(fields)} columns where the header has {len(columns)}")
            yield Piece([number for number, _ in some], [[fields[place] for _, fields in some] for place in places])

    table = TableFile(file, columns, "line", pieces)
    return table


def _groups(rows: Iterator[T]) -> Iterator[list[T]]:
    """Groups of AT_ONCE rows, the last one shorter."""
    while some := list(itertools.islice(rows, AT_ONCE)):
        yield some


# --- JSON


def _open_json(file: Path, encoding: str) -> TableFile:
    """JSON lines, or one array of objects."""
    first = next(decoded_lines(file, encoding), None)
    if first is None:
        raise InputError(f"{file} is empty; give it an object a line")
    if first[1].lstrip().startswith("["):
        return _of_objects(file, "row", lambda: _array(file, encoding))
    return _of_objects(file, "line", lambda: _json_lines(file, encoding))


def _array(file: Path, encoding: str) -> Iterator[tuple[int, Any]]:
    text = "\n".join(line for _, line in decoded_lines(file, encoding))
    try:
        values = parse_json(text)
    except ValueError as error:
        raise InputError(f"{file} is not valid JSON ({error}); mend it") from None
    return enumerate(values, start=1)


def _json_lines(file: Path, encoding: str) -> Iterator[tuple[int, Any]]:
    for number, line in decoded_lines(file, encoding):
        try:
            yield number, msgspec.json.decode(line.encode())
        except (ValueError, RecursionError) as error:
            raise InputError(f"{file}, line {number}: not JSON ({error}); mend or remove the line") from None


def _of_objects(file: Path, unit: str, rows: Callable[[], Iterator[tuple[int, Any]]]) -> TableFile:
    number, first = next(rows(), (1, None))
    if not isinstance(first, dict):
        raise InputError(f'{file}, {unit} {number}: no object such as {{"text": ..., "label": ...}}; mend the file')

    def pieces(names: Sequence[str]) -> Iterator[Piece]:
        for some in _groups(rows()):
            for number, row in some:
                if not isinstance(row, dict):
                    raise table.malformed(number, "no JSON object")
                if missing := [name for name in names if name not in row]:
                    raise table.malformed(number, f"it has no {', '.join(missing)}")
            yield Piece([number for number, _ in some], [[row[name] for _, row in some] for name in names])

    table = TableFile(file, tuple(first), unit, pieces)
    return table


# --- Parquet


def _open_parquet(file: Path, _: str) -> TableFile:
    import pyarrow
    from pyarrow import parquet

    try:
        opened = parquet.ParquetFile(file, buffer_size=BLOCK, pre_buffer=False)
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError(f"{file} is no Parquet file ({str(error).splitlines()[0]}); write it again") from None
    schema = opened.schema_arrow

    def pieces(names: Sequence[str]) -> Iterator[Piece]:
        start = 1
        try:
            for batch in opened.iter_batches(AT_ONCE, columns=list(names), use_threads=False):
                yield Piece(range(start, start + len(batch)), [batch.column(name).to_pylist() for name in names])
                start += len(batch)
        except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
            raise InputError(f"{file}, row {start} or later: {str(error).splitlines()[0]}; write it again") from None

    return TableFile(file, tuple(schema.names), "row", pieces, _names_of_datasets(schema.metadata or {}))


def _names_of_datasets(metadata: Mapping[bytes, bytes]) -> dict[str, tuple[str, ...]]:
    """The names of labels that the library `datasets` keeps in a file's metadata."""
    try:
        features = json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"]
        kept = {name: about["names"] for name, about in features.items() if about.get("_type") == "ClassLabel"}
        return {name: tuple(map(str, names)) for name, names in kept.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


FORMATS = (
    Format(
        (".csv",),
        "a header, then rows; quotes enclose a field, which may hold newlines; the separator is the header's comma, "
        "else its semicolon, else its tab",
        _open_csv,
    ),
    Format((".tsv", ".txt"), "a header, then rows, with tabs between columns; quotes are text", _open_tsv),
    Format((".jsonl", ".ndjson", ".json"), "an object a line, or one array of objects", _open_json),
    Format((".parquet",), "columns of text, whole numbers, booleans or categories; no null", _open_parquet),
)
"""Every kind of file that own data may have."""
