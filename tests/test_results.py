"""The committed results: each record is one by the committed schema, and the committed tables are made of them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from benchmarks.parity.equivalence_report import EQUIVALENCE, rewrite_report
from benchmarks.reporting.published import write_published
from benchmarks.reporting.record_tables import write_tables
from benchmarks.reporting.schema import SCHEMA, schema_text
from benchmarks.workers.environments import CHECKOUT
from shared.files import to_json
from shared.records import PresetUse, cell_id, read_records
from tests.factories import record

FOLDERS = sorted(path.parent for path in (CHECKOUT / "results").rglob("records"))


@pytest.fixture(scope="module")
def schema() -> Draft202012Validator:
    return Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))


def test_the_committed_schema_is_what_the_code_generates() -> None:
    """If not: python -m benchmarks.reporting.schema"""
    assert SCHEMA.read_text(encoding="utf-8") == schema_text()


def test_a_record_that_is_written_is_valid(schema: Draft202012Validator) -> None:
    for one in (record(), record(test=None), record(preset=PresetUse("mccormick-cola", [])), record(compile=True)):
        assert list(schema.iter_errors(json.loads(to_json(one)))) == []


def test_what_is_no_record_is_invalid(schema: Draft202012Validator) -> None:
    content = json.loads(to_json(record()))
    spoilt = [
        {name: value for name, value in content.items() if name != "format"},
        content | {"format": 2},
        content | {"surprise": 1},
        content | {"rows": {"train": "many"}},
        content | {"recipe": {"momentum": 0.9}},
        content | {"answer": content["answer"] | {"step_loss": 0.5}},
    ]
    assert [schema.is_valid(each) for each in spoilt] == [False] * len(spoilt)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_committed_records_are_valid_and_read(folder: Path, schema: Draft202012Validator) -> None:
    files = sorted((folder / "records").glob("*.json"))
    found = read_records(folder)
    assert [f"{cell_id(one.asked)}.json" for one in found] == [file.name for file in files]
    assert [one.id for one in found] == [file.stem for file in files]
    for file in files:
        content = shortened(json.loads(file.read_text()))
        assert [error.message for error in schema.iter_errors(content)] == []


def shortened(value: Any) -> Any:
    """The value, its lists of plain values cut to one of each type. The schema asks no more of an item than its type,
    and to validate thousands takes long."""
    if isinstance(value, dict):
        return {name: shortened(each) for name, each in value.items()}
    if isinstance(value, list) and not any(isinstance(each, dict | list) for each in value):
        return list({type(each): each for each in value}.values())
    return [shortened(each) for each in value] if isinstance(value, list) else value


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_committed_tables_are_made_of_the_records(folder: Path, tmp_path: Path) -> None:
    """If not: python -m benchmarks.report FOLDER"""
    (tmp_path / "pictures").mkdir()
    for picture in folder.glob("pictures/*.png"):
        (tmp_path / "pictures" / picture.name).touch()
    write_tables(tmp_path, read_records(folder))
    write_published(tmp_path, read_records(folder))
    _assert_committed(tmp_path, folder)


COMPARISONS = sorted(path.parent for path in (CHECKOUT / "results").rglob("equivalence.json"))


@pytest.mark.parametrize("folder", COMPARISONS, ids=lambda folder: folder.name)
def test_committed_comparisons_are_made_of_the_records(folder: Path, tmp_path: Path) -> None:
    """If not: python -m benchmarks.report FOLDER"""
    shutil.copy(folder / EQUIVALENCE, tmp_path)
    rewrite_report(tmp_path, read_records(folder))
    _assert_committed(tmp_path, folder)


def _assert_committed(made: Path, folder: Path) -> None:
    for file in sorted(made.glob("*.[!p]*")):
        assert file.read_text() == (folder / file.name).read_text()
