"""Cell ids, and records as files."""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import nullcontext, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import asdict, replace

import shared.records
from shared.errors import InputError
from shared.files import to_json
from shared.recipe import Recipe
from shared.records import (
    FORMAT,
    Asked,
    PresetUse,
    Record,
    Records,
    cell_id,
    check_formats,
    read_record,
    read_records,
    record_path,
    write_record,
)
from tests import factories
from tests.arrays import NotItsArrays, read_arrays
from tests.factories import asked, epoch

ARRAYS = {"dev": np.zeros((1, 2))}


def record(seed: int = 1, model: str = "random:bert-tiny") -> Record:
    return replace(factories.record(Recipe(seed=seed)), model=model)


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
    question = asked(Recipe(learning_rate=3e-5, warm_up=0.06, decay_exempt=("bias",)), precision="bfloat16")
    assert cell_id(json.loads(to_json(question))) == cell_id(question)


def test_a_typed_question_has_the_id_of_the_json_it_stands_for() -> None:
    question = {
        "kind": "train",
        "backend": "torch",
        "revision": 1,
        "versions": {"torch": "2.0"},
        "task": "cola",
        "data": "d" * 64,
        "checkpoint": "c" * 64,
        "recipe": {"seed": 2},
        "device": "cpu",
        "threads": 2,
    }
    typed = Asked(**question)  # type: ignore[arg-type]
    assert cell_id(typed) == cell_id(question)
    assert cell_id(replace(typed, compile=True)) == cell_id(question | {"compile": True})


def test_an_option_at_its_default_leaves_the_id_alone() -> None:
    assert cell_id(asked(Recipe(max_len=128, padding="max_length", clip=1.0, seed=1))) == cell_id(asked(Recipe()))
    spelled = "_float32"[1:]  # as of a command line: equal, and another object
    assert cell_id(asked(precision=spelled, compile=False)) == cell_id(asked())


@pytest.mark.parametrize(
    "question",
    [
        asked(Recipe(seed=2)),
        asked(Recipe(max_len=64)),
        asked(Recipe(dropout=0.0)),
        replace(asked(), backend="keras"),
        replace(asked(), revision=2),
        replace(asked(), versions={"torch": "2.1"}),
        replace(asked(), versions={"torch": "2.0", "transformers": "5.1"}),
        replace(asked(), task="mrpc"),
        replace(asked(), data="e" * 64),
        replace(asked(), checkpoint="e" * 64),
        replace(asked(), device="cuda:0"),
        replace(asked(), threads=1),
        replace(asked(), precision="bfloat16"),
        replace(asked(), compile=True),
        asdict(asked()) | {"kind": "trace"},
    ],
)
def test_whatever_can_change_the_answer_changes_the_id(question: Asked | dict[str, Any]) -> None:
    assert cell_id(question) != cell_id(asked())


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    """With its arrays beside it."""
    arrays = {"dev": np.arange(6, dtype=np.float32).reshape(3, 2), "test": np.ones((1, 2), np.float32)}
    written = replace(record(model="größer"), preset=PresetUse("mccormick-cola", ["model"]))
    kept = write_record(tmp_path, written, arrays)
    assert replace(kept, arrays=None, digest=None) == written
    assert read_records(tmp_path) == [kept]
    assert sorted(path.name for path in (tmp_path / "records").iterdir()) == [f"{kept.id}.json", f"{kept.id}.npz"]
    stored = read_arrays(tmp_path, kept)
    assert stored.keys() == arrays.keys()
    for name, value in arrays.items():
        assert stored[name].dtype == value.dtype
        np.testing.assert_array_equal(stored[name], value)


def test_an_interruption_before_the_record_leaves_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(target: Path, content: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(shared.records, "write_whole", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_record(tmp_path, record(), ARRAYS)
    assert (record_path(tmp_path, record().id).with_suffix(".npz")).is_file()
    assert read_records(tmp_path) == []


def test_an_interruption_while_arrays_are_written_is_harmless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = write_record(tmp_path, record(), ARRAYS)

    def interrupted(file: BinaryIO, **arrays: np.ndarray) -> None:
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez_compressed", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_record(tmp_path, record(model="another"), {"dev": np.ones((1, 2))})
    assert read_records(tmp_path) == [kept]
    np.testing.assert_array_equal(read_arrays(tmp_path, kept)["dev"], np.zeros((1, 2)))


def test_a_second_answer_replaces_the_first(tmp_path: Path) -> None:
    write_record(tmp_path, record(), ARRAYS)
    write_record(tmp_path, record(model="another"), ARRAYS)
    assert [found.model for found in read_records(tmp_path)] == ["another"]


def test_records_of_two_machines_merge_by_copying(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    write_record(here, record(2), ARRAYS)
    write_record(there, record(3), ARRAYS)
    for path in (there / "records").iterdir():
        path.rename(here / "records" / path.name)
    assert {found.id for found in read_records(here)} == {record(2).id, record(3).id}


def test_a_folder_without_records_has_none(tmp_path: Path) -> None:
    assert read_records(tmp_path / "nothing here") == []


def changed(**values: Any) -> bytes:
    """A record's text with other values."""
    return json.dumps(json.loads(to_json(record())) | values).encode()


def without(*names: str) -> bytes:
    """A record's text without the field at the end of this path."""
    content = json.loads(to_json(record()))
    part = content
    for name in names[:-1]:
        part = part[name]
    del part[names[-1]]
    return json.dumps(content).encode()


NEEDED = ("format", "id", "asked", "model", "recipe", "rows", "majority", "answer", "circumstances")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        json.dumps({"format": FORMAT}).encode(),
        to_json(record()).encode()[:-20],
        b"[" * 100_000,
        b'{"format": 1, "id": "\\ud800"}',
        *(without(name) for name in NEEDED),
        without("asked", "threads"),
        without("answer", "epochs"),
        changed(format=0),
        changed(format="1"),
        changed(rows={"train": "many"}),
        changed(rows={"train": -1}),
        changed(answer=json.loads(to_json(record().answer)) | {"kept_epoch": 9}),
        changed(majority=[0.5]),
        changed(surprise=1),
        changed(recipe={"epochs": 0}),
        changed(recipe={"epochs": "three"}),
        changed(recipe={"momentum": 0.9}),
        changed(recipe={"padding": "left"}),
    ],
)
def test_a_bad_file_is_named_left_aside_and_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    kept = write_record(tmp_path, record(2), ARRAYS)
    bad = record_path(tmp_path, record(3).id)
    bad.write_bytes(content)
    for _ in range(2):
        assert read_records(tmp_path) == [kept]
    named = f"{bad} is not a record of this project and is left aside; run its cell again\n"
    assert capsys.readouterr().err == named  # once
    assert bad.read_bytes() == content

    write_record(tmp_path, record(3), ARRAYS)
    assert {found.id for found in read_records(tmp_path)} == {record(2).id, record(3).id}
    assert bad.with_name(f"{bad.name}.bad").read_bytes() == content


def test_a_bad_file_that_was_kept_is_not_overwritten(tmp_path: Path) -> None:
    path = record_path(tmp_path, record(3).id)
    path.parent.mkdir()
    for content in ("first", "second", "third"):
        path.write_text(content)
        write_record(tmp_path, record(3), ARRAYS)
    kept = {file.name.removeprefix(path.name): file.read_text() for file in path.parent.glob("*.bad")}
    assert kept == {".bad": "first", ".2.bad": "second", ".3.bad": "third"}


def test_a_record_of_a_newer_format_is_refused_and_kept(tmp_path: Path) -> None:
    newer = record_path(tmp_path, record(3).id)
    newer.parent.mkdir()
    newer.write_bytes(changed(format=FORMAT + 1, surprise=1))
    before = newer.read_bytes()
    for touch in (lambda: read_records(tmp_path), lambda: write_record(tmp_path, record(3), ARRAYS)):
        with pytest.raises(InputError) as error:
            touch()
        assert str(error.value) == (
            f"{newer} is a record of format {FORMAT + 1}, and this code reads formats up to {FORMAT}; update this "
            "project, or move the file away"
        )
    assert [(file.name, file.read_bytes()) for file in newer.parent.iterdir()] == [(newer.name, before)]


NAN, INF = float("nan"), float("inf")


def bad(**changed: Any) -> dict[str, Any]:
    return {"loss": 0.5, "accuracy": 0.75, "mcc": 0.0, "f1": 0.0} | changed


@pytest.mark.parametrize(
    ("changed", "step", "epochs"),
    [
        ({"step_loss": [0.7, 0.6, NAN, NAN] + [NAN] * 16, "epochs": [], "kept_epoch": 0}, 3, 0),
        ({"step_loss": [0.7] * 15 + [INF] * 5, "epochs": [epoch(9.0), replace(epoch(9.0), train_loss=INF)]}, 16, 1),
        ({"epochs": [epoch(9.0), replace(epoch(9.0), dev=bad(loss=NAN))]}, 20, 1),
        ({"test": bad(loss=NAN)}, 20, 2),
        ({"dev_before": bad(mcc=NAN)}, 0, 2),
    ],
)
def test_a_record_that_holds_nan_is_of_a_run_that_diverged(
    tmp_path: Path, changed: dict[str, Any], step: int, epochs: int
) -> None:
    """Records of before hold NaN as it is; now none is written."""
    plain = factories.record(epochs=[epoch(9.0), epoch(9.0)])
    old = replace(plain, answer=replace(plain.answer, predictions={"dev": [0, 0]}, **changed))
    path = record_path(tmp_path, old.id)
    for write in (lambda: path.write_text(to_json(old)), lambda: write_record(tmp_path, old, ARRAYS)):
        path.parent.mkdir(exist_ok=True)
        write()
        (found,) = read_records(tmp_path)
        assert (found.answer.diverged, len(found.answer.epochs), found.work) == (step, epochs, None)
        assert (found.scores("dev"), found.scores("test"), found.answer.kept) == (None, None, None)
        assert (found.answer.predictions, found.answer.details) == ({}, {})
        assert np.isfinite(found.answer.step_loss).all()
        assert len(found.answer.step_accuracy) == len(found.answer.step_loss)
    assert "NaN" not in path.read_text()
    assert "Infinity" not in path.read_text()


def test_a_record_without_what_came_later_is_read(tmp_path: Path) -> None:
    content = json.loads(to_json(record()))
    for name in ("preset", "work"):
        del content[name]
    for name in ("settings", "memory_bandwidth_before", "memory_bandwidth_after"):
        del content["circumstances"][name]
    assert not {"details", "programs", "diverged", "interruptions"} & set(content["answer"])
    record_path(tmp_path, record().id).parent.mkdir()
    record_path(tmp_path, record().id).write_text(json.dumps(content))
    assert read_records(tmp_path) == [record()]


# --- a record belongs to its name, and to what it was


def misfit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """The line about the one file that does not fit; its cell counts as unanswered, and it is kept."""
    capsys.readouterr()
    (spoilt,) = (path for path in (tmp_path / "records").glob("*.json") if path.stem != record(1).id)
    before = spoilt.read_bytes()
    assert [found.id for found in read_records(tmp_path)] == [record(1).id]
    (line,) = capsys.readouterr().err.splitlines()
    if spoilt.stem == record(2).id:
        write_record(tmp_path, record(2), ARRAYS)
        assert len(read_records(tmp_path)) == 2
        assert spoilt.with_name(f"{spoilt.name}.bad").read_bytes() == before
    return line.removeprefix(f"{spoilt} ")


def edited(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize("old", [False, True])
def test_what_was_edited_is_left_aside(tmp_path: Path, capsys: pytest.CaptureFixture[str], old: bool) -> None:
    """In records of before, which have no digest, that is the question."""
    aside = "and is left aside; run its cell again"
    scored = factories.answer(test=0.99)
    changes = {
        "asked": json.loads(to_json(asked(Recipe(seed=3)))),
        "recipe": json.loads(to_json(Recipe(seed=3))),
        "answer": json.loads(to_json(scored)),
        "majority": {"train": 0.1},
        "arrays": "0" * 64,
    }
    for field, value in changes.items():
        out = tmp_path / field
        write_record(out, record(1), ARRAYS)
        write_record(out, record(2), ARRAYS)
        path = record_path(out, record(2).id)
        edited(path, **{field: value} | ({"digest": None} if old else {}))
        if field in ("asked", "recipe"):
            assert misfit(out, capsys) == f"does not answer the question of its id {aside}"
        elif old:
            assert len(read_records(out)) == 2
        else:
            assert misfit(out, capsys) == f"is not as it was written {aside}"


def test_a_copy_under_another_name_is_no_second_record(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_record(tmp_path, record(1), ARRAYS)
    content = record_path(tmp_path, record(1).id).read_bytes()
    for name in ("copy", record(2).id):
        path = record_path(tmp_path, name)
        path.write_bytes(content)
        said = f"is the record of {record(1).id} under another name and is left aside; "
        assert misfit(tmp_path, capsys) == said + "give it its own name, or remove it"
        path.unlink()


def test_swapped_names_are_seen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = (record_path(tmp_path, write_record(tmp_path, record(seed), ARRAYS).id) for seed in (1, 2))
    swapped = one.read_bytes(), two.read_bytes()
    two.write_bytes(swapped[0])
    one.write_bytes(swapped[1])
    assert read_records(tmp_path) == []
    assert capsys.readouterr().err.count("under another name and is left aside") == 2


def test_files_that_are_hidden_are_no_records(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = write_record(tmp_path, record(), ARRAYS)
    record_path(tmp_path, f"._{kept.id}").write_bytes(b"\0\5\26\7\0\2\0\0Mac OS X")
    assert read_records(tmp_path) == [kept]
    assert capsys.readouterr().err == ""


def test_what_is_no_file_is_no_record(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "records").mkdir()
    record_path(tmp_path, record().id).mkdir()
    os.mkfifo(record_path(tmp_path, "0" * 16))
    record_path(tmp_path, "1" * 16).symlink_to(tmp_path / "nowhere")
    assert read_records(tmp_path) == []
    assert capsys.readouterr().err.count("is not a record of this project") == 2
    kept = write_record(tmp_path, record(), ARRAYS)
    assert read_records(tmp_path) == [kept]
    assert record_path(tmp_path, record().id).with_suffix(".json.bad").is_dir()


def test_a_reformatted_record_is_the_same(tmp_path: Path) -> None:
    kept = write_record(tmp_path, record(model="größer"), ARRAYS)
    path = record_path(tmp_path, kept.id)
    path.write_text(json.dumps(json.loads(path.read_text()), indent=3, sort_keys=True))
    assert read_records(tmp_path) == [kept]


def test_arrays_belong_to_their_record_by_hash(tmp_path: Path) -> None:
    kept, other = (write_record(tmp_path / str(seed), record(seed), {"dev": np.full((1, 2), seed)}) for seed in (1, 2))
    mine = record_path(tmp_path / "1", kept.id).with_suffix(".npz")
    record_path(tmp_path / "2", other.id).with_suffix(".npz").replace(mine)
    with pytest.raises(NotItsArrays):
        read_arrays(tmp_path / "1", kept)


def test_a_record_is_verified_without_parsing_it_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its digest is of the text as it lies there; of thousands, parsing would take most of the time."""
    kept = write_record(tmp_path, record(model="größer"), ARRAYS)
    content = record_path(tmp_path, kept.id).read_bytes()
    text = content.removesuffix(f',"digest":"{kept.digest}"}}'.encode()) + b"}"
    assert hashlib.sha256(text).hexdigest() == kept.digest
    assert text == json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    monkeypatch.setattr(shared.records, "parse_json", lambda content: pytest.fail("it was parsed"))
    assert read_records(tmp_path) == [kept]


def test_a_record_written_in_another_order_is_verified(tmp_path: Path) -> None:
    """As by a former version, whose digest stood at the field's place."""
    kept = write_record(tmp_path, record(model="größer"), ARRAYS)
    path = record_path(tmp_path, kept.id)
    path.write_text(to_json(kept))
    assert read_records(tmp_path) == [kept]
    path.write_text(path.read_text().replace('"accuracy": 0.7', '"accuracy": 0.9'))
    assert read_records(tmp_path) == []


# --- many records


def test_one_record_is_read_and_named_as_all_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = write_record(tmp_path, record(1), ARRAYS)
    bad = record_path(tmp_path, record(2).id)
    bad.write_text("{}")
    assert [read_record(tmp_path, record(seed).id) for seed in (1, 2, 3)] == [kept, None, None]
    assert capsys.readouterr().err == f"{bad} is not a record of this project and is left aside; run its cell again\n"


def test_records_are_read_one_at_a_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in (1, 2, 3):
        write_record(tmp_path, record(seed), ARRAYS)
    record_path(tmp_path, "bad").write_text("{}")
    found, whole = Records(tmp_path), read_records(tmp_path)
    assert (list(found), found[0], found[-2:], len(found)) == (whole, whole[0], whole[1:], 3)
    assert capsys.readouterr().err.count("\n") == 1
    gone = record_path(tmp_path, whole[1].id)
    gone.unlink()
    with pytest.raises(InputError) as error:
        list(found)
    assert str(error.value) == f"{gone} was changed or removed while it was read; give the command again"


@pytest.mark.parametrize("indent", [None, 2])
def test_a_newer_format_is_seen_without_reading_the_record(tmp_path: Path, indent: int | None) -> None:
    kept = write_record(tmp_path, record(1), ARRAYS)
    newer = record_path(tmp_path, record(3).id)
    for content, named in (
        (changed(format=FORMAT), False),
        (changed(format=FORMAT + 1), True),
        (changed(format=FORMAT + 1, more={"format": 0}), True),
        (changed(notes=[{"format": FORMAT + 1}]), False),  # no format of a record
        (b'{"format": 9', False),
    ):
        text = (
            content
            if indent is None or content.endswith(b"9")
            else json.dumps(json.loads(content), indent=indent).encode()
        )
        newer.write_bytes(text)
        with pytest.raises(InputError, match=f"^{newer} is a record of format ") if named else nullcontext():
            check_formats(tmp_path, but={kept.id})
        check_formats(tmp_path, but={newer.stem})


@settings(max_examples=60)
@given(st.data())
def test_a_spoilt_record_is_never_believed(data: st.DataObject) -> None:
    with TemporaryDirectory() as folder:
        out = Path(folder)
        kept = write_record(out, factories.record(Recipe(decay_exempt=("bias",), learning_rate=3e-5)), ARRAYS)
        assert read_records(out) == [kept]
        path = record_path(out, kept.id)
        content = bytearray(path.read_bytes())
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
        path.write_bytes(content)
        with suppress(InputError):  # another format
            assert read_records(out) in ([], [kept])


def test_labels_of_own_data_are_part_of_the_id_and_of_no_others() -> None:
    plain = asked()
    assert "labels" not in msgspec.to_builtins(plain)
    ids = {cell_id(one) for one in (plain, asked(labels=["bad", "good"]), asked(labels=["good", "bad"]))}
    assert len(ids) == 3
