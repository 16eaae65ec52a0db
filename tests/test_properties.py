"""Properties that hold for any text, name, row, record and option."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import pandas as pd
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token
from rich.console import Console

from benchmarks.cli.recipe_options import recipes
from benchmarks.reporting.numbers import as_file_name
from benchmarks.reporting.page import FORMULAS, Table, write_csv
from benchmarks.run import _parser
from benchmarks.workers.progress import Terminal
from shared.errors import UNSAFE, InputError, one_line, visible
from shared.limits import MESSAGE
from shared.recipe import CHOICES, Recipe
from shared.records import read_records, record_path, write_record
from shared.tasks import get_task
from tests.factories import record

ANY = st.text(st.characters(), max_size=60)
"""Any text, with control characters and halves of surrogate pairs."""

NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=40) | st.text(
    "<>|`*_[]()!&;#~\\$=+-@\t ab", max_size=20
)
"""Names with much that some language takes for more than text."""

T = TypeVar("T")

few = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


def tried(call: Callable[[], T]) -> tuple[T | None, str]:
    """Returns what a call returns, or the reason why it refuses."""
    try:
        return call(), ""
    except (InputError, ValueError) as error:
        return None, str(error)


@given(ANY)
def test_a_message_is_one_line_without_controls(text: str) -> None:
    line = one_line(text)
    assert len(line) <= MESSAGE
    assert not UNSAFE.search(line)
    line.encode()
    assert len(line.splitlines()) <= 1
    assert str(InputError(text)) == line


@few
@given(ANY)
def test_a_terminal_is_given_no_control(text: str) -> None:
    out = io.StringIO()
    console: Console = Terminal(file=out, width=80, force_terminal=False)
    console.print(text, soft_wrap=True)
    Table(pd.DataFrame({"a": [text], text: ["b"]})).print(console)
    assert not UNSAFE.search(out.getvalue().replace("\n", ""))


def shown(token: Token) -> str:
    """The text that a reader of Markdown sees; a token of any other kind is a failure."""
    kinds = {child.type for child in token.children or []}
    assert kinds <= {"text", "text_special"}, kinds
    return "".join(child.content for child in token.children or [])


@few
@given(NAMES)
def test_a_name_in_markdown_reads_back(name: str) -> None:
    assume(visible(name).strip() == visible(name) and "  " not in name)
    text = Table(pd.DataFrame({"name": [name, "other"]})).markdown()
    tokens = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).parse(text)
    found = [shown(token) for token in tokens if token.type == "inline"]
    assert found == ["name", visible(name), "other"]


@few
@given(NAMES)
def test_a_name_in_csv_reads_back_and_is_no_formula(tmp_path: Path, name: str) -> None:
    write_csv(tmp_path / "a.csv", pd.DataFrame({"name": [name, "x"], "number": [-1.5, 2.0]}))
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as file:
        _, (cell, number), _ = csv.reader(file)
    assert not cell.startswith(FORMULAS)
    assert visible(name, kept="\t\n") in (cell, cell.removeprefix("'"))
    assert number == "-1.5"


@given(ANY)
def test_a_name_of_a_file_stays_in_its_folder(name: str) -> None:
    file = as_file_name(name)
    assert "/" not in file
    assert not file.startswith(".")
    assert len(file.encode()) <= 255 + 200
    assert (Path("a") / file).parent in (Path("a"), Path())


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=30).filter(
    str.strip
)
ROWS = st.lists(st.tuples(TEXTS, st.sampled_from(["no", "yes", "may be"])), min_size=2, max_size=8)


@pytest.mark.parametrize("ending", ["csv", "jsonl", "json"])
@few
@given(ROWS)
def test_rows_read_back_or_are_refused_in_one_line(tmp_path: Path, ending: str, rows: list[tuple[str, str]]) -> None:
    file = tmp_path / f"rows.{ending}"
    objects = [{"text": text, "label": label} for text, label in rows]
    with file.open("w", newline="", encoding="utf-8") as out:
        if ending == "csv":
            csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows([("text", "label"), *rows])
        else:
            out.write(json.dumps(objects) if ending == "json" else "".join(f"{json.dumps(o)}\n" for o in objects))
    task, refusal = tried(partial(get_task, str(file)))
    if task is None:
        assert len({label for _, label in rows}) == 1
        assert "\n" not in refusal
        return
    train = task.load(None)["train"]
    # As in every CSV, the end of a line within quotes is one of the system's.
    texts = [text.replace("\r\n", "\n") if ending == "csv" else text for text, _ in rows]
    assert list(train.first) == texts
    assert [task.labels[label] for label in train.labels or []] == [label for _, label in rows]


@few
@given(NAMES, NAMES, st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_a_record_reads_back(tmp_path: Path, task: str, model: str, score: float, seed: int) -> None:
    one = record(Recipe(seed=seed, dropout=score / 2), task=task, model=model, test=score)
    kept = write_record(tmp_path, one, {})
    assert read_records(tmp_path) == [kept]
    record_path(tmp_path, one.id).unlink()


HINTS = get_type_hints(Recipe)
NUMERIC = [f.name for f in fields(Recipe) if HINTS[f.name] in (int, float, int | None, float | None)]
EXTREME = st.sampled_from(
    ["0", "-1", "1e400", "-1e-400", "nan", "inf", "1" + "0" * 30, "9" * 5000, "0x10", "١", "1_0", "", "none"]
)


@given(st.sampled_from(NUMERIC), EXTREME | st.floats().map(str) | st.integers().map(str) | ANY)
def test_a_number_of_an_option_is_taken_or_refused_in_one_line(name: str, value: str) -> None:
    arguments = [f"--{name.replace('_', '-')}={value}", "--task", "acceptability"]
    found, refusal = tried(lambda: recipes(_quiet(arguments)))
    if found is None:
        assert name in refusal or name.replace("_", "-") in refusal or "not UTF-8" in refusal
        assert "\n" not in refusal
        return
    (recipe,) = found
    assert Recipe.from_json(json.loads(json.dumps(recipe.to_json()))) == recipe


def _quiet(arguments: list[str]) -> Any:
    """The options; ValueError in place of the end of the process."""
    parser = _parser()

    def fail(message: str) -> Any:
        raise ValueError(one_line(message))

    parser.error = fail  # type: ignore[method-assign]
    return parser.parse_args(arguments)


@given(
    st.sampled_from([f.name for f in fields(Recipe)]),
    st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | ANY, st.lists, max_leaves=4),
)
def test_a_value_of_a_recipe_is_typed(name: str, value: Any) -> None:
    recipe, refusal = tried(partial(Recipe.from_json, {name: value}))
    if recipe is None:
        assert name in refusal
        return
    found, hint = getattr(recipe, name), HINTS[name]
    kinds = {bool: (bool,), int: (int,), int | None: (int, type(None)), str: (str,)}.get(hint)
    kinds = kinds or ((str,) if name in CHOICES else (int, float, type(None), tuple))
    assert type(found) in kinds
