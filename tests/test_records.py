"""Cell ids and the files that records are."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import shared.records
from shared.errors import InputError
from shared.recipe import Recipe
from shared.records import FORMAT, cell_id, read_records, record_path, write_record


def asked(recipe: Recipe | None = None, **changed: Any) -> dict[str, Any]:
    return {
        "kind": "train",
        "backend": "torch",
        "revision": 1,
        "versions": {"torch": "2.0", "transformers": "5.0"},
        "task": "cola",
        "data": "d" * 64,
        "checkpoint": "c" * 64,
        "recipe": (recipe or Recipe()).asked(),
        "device": "cpu",
        "threads": 2,
    } | changed


def record(cell: str = "0123456789abcdef", **changed: Any) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "id": cell,
        "asked": asked(),
        "model": "random:bert-tiny",
        "recipe": Recipe().to_json(),
        "rows": {"train": 8},
        "majority": {"train": 0.5},
        "answer": {"test": {"accuracy": 0.75}},
        "circumstances": {"started": "2026-01-01T00:00:00+00:00"},
    } | changed


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), json_values, min_size=2, max_size=5))
def test_an_id_does_not_depend_on_the_order_of_keys(question: dict[str, Any]) -> None:
    def backwards(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: backwards(inner) for key, inner in reversed(value.items())}
        return [backwards(inner) for inner in value] if isinstance(value, list) else value

    assert cell_id(backwards(question)) == cell_id(question)


def test_an_id_is_the_hash_of_canonical_json() -> None:
    canonical = '{"a":[1,2.5,null],"b":{"x":true,"y":"é"}}'
    assert (
        cell_id({"b": {"y": "é", "x": True}, "a": [1, 2.5, None]})
        == (hashlib.sha256(canonical.encode()).hexdigest()[:16])
    )


def test_an_id_survives_the_way_through_json() -> None:
    question = asked(Recipe(learning_rate=3e-5, warm_up=0.06, decay_exempt=("bias",)))
    assert cell_id(json.loads(json.dumps(question))) == cell_id(question)


def test_naming_an_option_at_its_default_leaves_the_id_alone() -> None:
    assert cell_id(asked(Recipe(max_len=128, padding="max_length", clip=1.0, seed=1))) == cell_id(asked(Recipe()))


@pytest.mark.parametrize(
    "question",
    [
        asked(Recipe(seed=2)),
        asked(Recipe(max_len=64)),
        asked(Recipe(dropout=0.0)),
        asked(backend="keras"),
        asked(revision=2),
        asked(versions={"torch": "2.1", "transformers": "5.0"}),
        asked(versions={"torch": "2.0", "transformers": "5.1"}),
        asked(task="mrpc"),
        asked(data="e" * 64),
        asked(checkpoint="e" * 64),
        asked(device="cuda:0"),
        asked(threads=1),
        asked(kind="trace"),
    ],
)
def test_whatever_can_change_the_answer_changes_the_id(question: dict[str, Any]) -> None:
    assert cell_id(question) != cell_id(asked())


def test_a_record_is_read_as_it_was_written_with_its_arrays_beside_it(tmp_path: Path) -> None:
    arrays = {"dev": np.arange(6, dtype=np.float32).reshape(3, 2), "test": np.ones((1, 2), np.float32)}
    write_record(tmp_path, record(model="größer"), arrays)
    assert read_records(tmp_path) == [record(model="größer")]
    assert sorted(path.name for path in (tmp_path / "records").iterdir()) == [
        "0123456789abcdef.json",
        "0123456789abcdef.npz",
    ]
    with np.load(tmp_path / "records" / "0123456789abcdef.npz") as stored:
        assert stored.keys() == arrays.keys()
        for name, value in arrays.items():
            assert stored[name].dtype == value.dtype
            np.testing.assert_array_equal(stored[name], value)


def test_an_interruption_between_arrays_and_record_leaves_no_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(target: Path, content: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(shared.records, "write_whole", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_record(tmp_path, record(), {"dev": np.zeros((1, 2))})
    assert (tmp_path / "records" / "0123456789abcdef.npz").is_file()
    assert read_records(tmp_path) == []


def test_an_interruption_while_arrays_are_written_leaves_nothing_that_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_record(tmp_path, record(), {"dev": np.zeros((1, 2))})

    def interrupted(file: Path, **arrays: np.ndarray) -> None:
        Path(file).write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez_compressed", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_record(tmp_path, record(model="another"), {"dev": np.ones((1, 2))})
    assert read_records(tmp_path) == [record()]
    with np.load(tmp_path / "records" / "0123456789abcdef.npz") as stored:
        np.testing.assert_array_equal(stored["dev"], np.zeros((1, 2)))


def test_a_second_answer_replaces_the_first(tmp_path: Path) -> None:
    write_record(tmp_path, record(), {"dev": np.zeros((1, 2))})
    write_record(tmp_path, record(model="another"), {"dev": np.zeros((1, 2))})
    assert [r["model"] for r in read_records(tmp_path)] == ["another"]


def test_records_of_two_machines_merge_by_copying(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    write_record(here, record("a" * 16), {"dev": np.zeros((1, 2))})
    write_record(there, record("b" * 16), {"dev": np.zeros((1, 2))})
    for path in (there / "records").iterdir():
        path.rename(here / "records" / path.name)
    assert [r["id"] for r in read_records(here)] == ["a" * 16, "b" * 16]


def test_a_folder_without_records_has_none(tmp_path: Path) -> None:
    assert read_records(tmp_path / "nothing here") == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        json.dumps({"format": FORMAT}).encode(),
        json.dumps(record() | {"format": FORMAT + 1}).encode(),
        *(json.dumps({k: v for k, v in record().items() if k != gone}).encode() for gone in record()),
        json.dumps(record()).encode()[:-20],
    ],
)
def test_a_file_that_is_no_record_is_named_with_the_remedy(tmp_path: Path, content: bytes) -> None:
    write_record(tmp_path, record("a" * 16), {"dev": np.zeros((1, 2))})
    broken = record_path(tmp_path, "b" * 16)
    broken.write_bytes(content)
    with pytest.raises(InputError) as error:
        read_records(tmp_path)
    assert str(error.value) == f"{broken} is not a record of this project; delete it and run its cell again"
