"""Sizes beyond reason are refused in one line, before memory is taken for them."""

from __future__ import annotations

import io
import json
import shutil
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

import shared.tasks.reading
from benchmarks.cells.plan import Request, plan_questions
from benchmarks.statistics.over_rows import joint_counts
from shared.answer import Details
from shared.batching import check_steps
from shared.checkpoint.config import read_architecture
from shared.checkpoint.saved import label_names
from shared.checkpoint.sources import resolve_model
from shared.checkpoint.tokenizer import read_tokenizer
from shared.checkpoint.weights import stored_shapes
from shared.errors import InputError
from shared.limits import HEADER, LABELS, LINE, SMALL_FILE, STEPS, TEXT
from shared.recipe import Recipe
from shared.tasks import get_task
from shared.tasks.reading import read_whole
from tests.factories import answer, record

MOST_BYTES = 200 * 2**20
"""Python may take as much before it refuses: a few copies of a line as long as LINE."""

Spoil = Callable[[Path], object]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(resolve_model("random:bert-tiny"), tmp_path_factory.mktemp("whole") / "folder"))


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    """A checkpoint, to be spoilt."""
    return Path(shutil.copytree(whole, tmp_path / "folder"))


def with_fields(file: Path, **fields: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))


def refused(call: Callable[[], object]) -> str:
    tracemalloc.start()
    with pytest.raises(InputError) as error:
        call()
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < MOST_BYTES
    return str(error.value)


@pytest.mark.parametrize("value", [3_000_000, 10**9, 10**30, -1, 1e9, True])
@pytest.mark.parametrize("field", ["num_hidden_layers", "hidden_size", "vocab_size", "max_position_embeddings"])
def test_a_config_beyond_reason_is_refused(folder: Path, field: str, value: Any) -> None:
    if (field, value) == ("vocab_size", 3_000_000):
        value = 2**24
    with_fields(folder / "config.json", **{field: value})
    assert f"{field} is {value!r}" in refused(lambda: read_architecture(folder, Recipe(), 2))


def test_a_network_of_too_many_parameters_is_refused(folder: Path) -> None:
    with_fields(folder / "config.json", hidden_size=2**16, intermediate_size=2**16, num_hidden_layers=900)
    assert "parameters" in refused(lambda: read_architecture(folder, Recipe(), 2))


@pytest.mark.parametrize(
    "field", ["max_len", "batch_size", "epochs", "num_labels", "train_rows", "dev_rows", "seed", "rows_seed"]
)
def test_a_recipe_beyond_reason_is_refused(field: str) -> None:
    for value in (10**9 + 2**33, 10**30):
        assert f"{field} is {value}" in refused(partial(Recipe.from_json, {field: value}))


def test_a_classifier_of_a_billion_labels_is_refused(folder: Path) -> None:
    said = refused(lambda: label_names(folder / "config.json", {"num_labels": 10**9}))
    assert said.endswith(f"num_labels is 1000000000; pass a whole number from 1 to {LABELS:,}")


@pytest.mark.parametrize("part", ["normalizer", "pre_tokenizer"])
def test_a_tokenizer_of_100_000_parts_is_refused(folder: Path, part: str) -> None:
    content = json.loads(read_tokenizer(folder).to_str())
    content[part] = {"type": "Sequence", "normalizers": [{"type": "Lowercase"}] * 100_000}
    (folder / "tokenizer.json").write_text(json.dumps(content))
    assert "parts, and 1,000 are run at most" in refused(lambda: read_tokenizer(folder))


def test_100_000_added_tokens_are_refused(folder: Path) -> None:
    names = [f"<{n}>" for n in range(100_000)]
    with_fields(folder / "tokenizer_config.json", extra_special_tokens=names)
    assert "has more than 20,000 special tokens" in refused(lambda: read_tokenizer(folder))


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json", "tokenizer.json"])
def test_a_file_beyond_reason_is_not_read(folder: Path, name: str) -> None:
    with (folder / name).open("wb") as file:
        file.truncate(SMALL_FILE + 1)
    assert f"{name} has " in refused(lambda: (read_tokenizer(folder), read_architecture(folder, Recipe(), 2)))


def test_a_file_nested_100_000_deep_is_refused(folder: Path) -> None:
    (folder / "config.json").write_text('{"a":' * 100_000)
    assert "nested too deeply" in refused(lambda: read_architecture(folder, Recipe(), 2))


def test_a_weights_header_is_measured_before_it_is_read(folder: Path) -> None:
    file = folder / "model.safetensors"
    with file.open("wb") as stream:
        stream.write((HEADER * 2).to_bytes(8, "little"))
        stream.truncate(HEADER * 3)
    assert "has a header of" in refused(lambda: stored_shapes(folder))


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [2**62, 2**62], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [1] * 10_000, "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [1], "data_offsets": [-4, 0]},
        {"dtype": "F32", "shape": ["1"], "data_offsets": [0, 4]},
        {"dtype": 4, "shape": [1], "data_offsets": [0, 4]},
    ],
)
def test_a_weights_header_is_typed(folder: Path, entry: dict[str, Any]) -> None:
    header = json.dumps({"a": entry}).encode()
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(64))
    assert "has a broken header" in refused(lambda: stored_shapes(folder))


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl"])
def test_a_text_of_a_book_or_more_is_refused(tmp_path: Path, ending: str) -> None:
    rows = ["text,label", "a,0", f"{'x ' * TEXT},1"]
    if ending == "tsv":
        rows = [row.replace(",", "\t") for row in rows]
    if ending == "jsonl":
        rows = [json.dumps(dict(zip(("text", "label"), row.split(","), strict=True))) for row in rows[1:]]
    file = tmp_path / f"a.{ending}"
    file.write_text("\n".join(rows))
    said = refused(lambda: get_task(str(file)))
    assert said.startswith(f"{file}, line {2 if ending == 'jsonl' else 3}: 'text' has 2,097,152 characters")


def test_a_line_without_end_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.tsv"
    with file.open("wb") as stream:
        stream.write(b"text\tlabel\n")
        for _ in range(LINE // 2**20 + 2):
            stream.write(b"x" * 2**20)
    with pytest.raises(InputError, match="line 2: over 67,108,864 characters"):
        get_task(str(file))


@pytest.mark.parametrize("predictions", [[0, 999], [0, 10**9], [0, -1], [0], []])
def test_what_predictions_cannot_be_counted_is_left_out(predictions: list[int]) -> None:
    kept = Details(confusion=[], report={}, batch_mcc=[], batch_accuracy=1.0, labels=[0, 1])
    one = replace(record(), answer=answer(details={"dev": kept}, predictions={"dev": predictions}))
    assert joint_counts(one, one, "dev") is None


def test_training_that_makes_no_step_is_refused_as_it_is_planned() -> None:
    def request(**recipe: Any) -> Request:
        recipes = [Recipe(max_len=16, **recipe)]
        return Request(["torch"], ["acceptability"], ["random:bert-tiny"], recipes, "cpu", 1, 4, None, {})

    for last_batch in ("drop", "rollover"):
        said = refused(partial(plan_questions, request(batch_size=8, last_batch=last_batch)))
        assert said.startswith("4 training rows make no batch of 8")
    said = refused(lambda: plan_questions(request(batch_size=4, epochs=STEPS + 1)))
    assert said == "10,000,001 epochs of 4 rows are 10,000,001 steps, and 10,000,000 are run at most; pass fewer epochs"
    check_steps(Recipe(batch_size=8), 4)


def test_a_pipe_of_rows_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared.tasks.reading, "ROWS_FILE", 1000)
    monkeypatch.setattr(shared.tasks.reading, "LINE", 100)
    for length in (0, 99, 1000):
        assert read_whole(io.BytesIO(b"x" * length), Path("a pipe")) == b"x" * length
    endless = io.BytesIO(b"x" * 10_000)
    assert refused(lambda: read_whole(endless, Path("a pipe"))) == "a pipe has more than 1,000 bytes; pass it in parts"
    assert endless.tell() <= 1100
