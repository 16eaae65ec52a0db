"""Output in encodings that lack characters of this project's tables and of its users' data."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from benchmarks.cli.encodable import make_encodable
from benchmarks.report import main
from benchmarks.reporting.record_tables import print_tables
from benchmarks.workers.progress import terminal
from shared.recipe import Recipe
from shared.records import Record
from tests.factories import record


def output(monkeypatch: pytest.MonkeyPatch, encoding: str) -> io.BytesIO:
    """Makes standard output and error of this encoding, and gives the bytes that are written."""
    written = io.BytesIO()
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, io.TextIOWrapper(written, encoding=encoding, write_through=True))
    return written


def spread() -> list[Record]:
    """Two seeds of a model whose name is in two scripts, and a task without test."""
    seeds = [record(Recipe(seed=seed), test=test, model="modèle–中") for seed, test in ((1, 0.7), (2, 0.8))]
    return [*seeds, record(backend="gluon", test=None)]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_tables_are_printed_in_every_encoding(monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    written = output(monkeypatch, encoding)
    make_encodable()
    print_tables(terminal(), spread())
    shown = written.getvalue().decode(encoding)
    signs = {"utf-8": ("±", "× floor", "modèle–中"), "ascii": ("+/-", "x floor", r"mod\xe8le-\u4e2d")}
    for sign in signs.get(encoding, ("±", "× floor", r"\u4e2d")):
        assert sign in shown
    assert "not above the majority class" in shown


def test_commands_spell_what_they_print(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / "×–中.json").write_text("{}")
    written = output(monkeypatch, "ascii")
    with pytest.raises(SystemExit):
        main([str(tmp_path)])
    assert rb"x-\u4e2d.json is not a record of this project" in written.getvalue()


def test_every_character_comes_out_as_something(monkeypatch: pytest.MonkeyPatch) -> None:
    written = output(monkeypatch, "ascii")
    make_encodable()
    print("−1.0 × 2 ± 3 – “a” → é 中 😀 …", file=sys.stderr)
    assert written.getvalue() == rb'-1.0 x 2 +/- 3 - "a" -> \xe9 \u4e2d \U0001f600 ...' + b"\n"


def test_utf_8_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    written = output(monkeypatch, "utf-8")
    make_encodable()
    print("× – 中")
    assert written.getvalue().decode() == "× – 中\n"
    print("a\udcff")
    assert written.getvalue().decode().endswith("a\\udcff\n")
