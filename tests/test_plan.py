"""A grid of cells costs what its data costs once: cells share what is read, chosen, hashed and encoded."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

import benchmarks.cells.plan
import shared.encoding
from benchmarks.cells.plan import Cell, Request, plan_cells
from benchmarks.workers.environments import Environment
from shared.checkpoint.config import OF_RECIPE, read_architecture
from shared.checkpoint.saved import write_folder
from shared.checkpoint.sources import Found, resolve_model
from shared.checkpoint.start import Head, Start
from shared.checkpoint.weights import first_weights
from shared.encoding import read_encoded
from shared.job import Every
from shared.recipe import Recipe
from shared.splits import CHOOSING, choose_splits
from shared.tasks import Rows, Task

ROWS = 40
PADDINGS: list[Any] = ["max_length", "longest", "bucket"]
BACKENDS = ["torch", "gluon", "keras"]

counted: Counter[str] = Counter()


class Text(str):
    """Counts how often it is written out, which hashing does."""

    def __repr__(self) -> str:
        counted["texts hashed"] += 1
        return super().__repr__()


def load(data_dir: Path | None) -> dict[str, Rows]:
    counted["tasks read"] += 1
    texts: list[str] = [Text(f"the cat sat {n} times") for n in range(ROWS)]
    labels = [n % 2 for n in range(ROWS)]
    return {name: Rows(texts, None, labels) for name in ("train", "dev")}


@pytest.fixture(autouse=True)
def _counting(monkeypatch: pytest.MonkeyPatch) -> None:
    def count(module: Any, name: str, what: str) -> None:
        original: Callable[..., Any] = getattr(module, name)

        def counting(*arguments: Any, **named: Any) -> Any:
            counted[what] += 1
            return original(*arguments, **named)

        monkeypatch.setattr(module, name, counting)

    counted.clear()
    toy = Task("toy", ("no", "yes"), pair=False, metrics=("accuracy",), load=load)
    monkeypatch.setattr(benchmarks.cells.plan, "get_task", lambda name, reading: toy)
    here = Environment(Path(sys.executable), packages={}, versions={}, python_version="")
    monkeypatch.setattr(benchmarks.cells.engine, "find_environments", lambda names, pythons: dict.fromkeys(names, here))
    count(benchmarks.cells.plan, "choose_splits", "splits chosen")
    count(benchmarks.cells.plan, "checkpoint_hash", "checkpoints hashed")
    count(benchmarks.cells.plan, "read_encoded", "encoded splits looked through")
    count(benchmarks.cells.plan, "check_weights", "weights checked")
    count(benchmarks.cells.plan, "choose_start", "starts chosen")
    count(benchmarks.cells.plan, "tokens_version", "versions of tokens told")
    count(shared.encoding, "read_tokenizer", "tokenizers made")
    count(shared.encoding, "_encode_split", "splits encoded")


def plan(
    recipes: list[Recipe],
    limit: int | None = None,
    models: tuple[str, ...] = ("random:bert-tiny",),
    head: Head = "new",
    every: Every | None = None,
) -> list[Cell]:
    return plan_cells(
        Request(
            backends=BACKENDS,
            tasks=["toy"],
            models=list(models),
            recipes=recipes,
            device="cpu",
            threads=1,
            limit=limit,
            data_dir=None,
            pythons=dict.fromkeys(BACKENDS, Path(sys.executable)),
            head=head,
            checkpoint_every=every,
            embedding_updates=("dense",),
        )
    )


@pytest.mark.parametrize("limit", [None, 25])
def test_recipes_of_the_same_rows_share_what_is_made_of_them(limit: int | None) -> None:
    recipes = [Recipe(max_len=8, seed=s, batch_size=b, padding=p) for s in (1, 2) for b in (4, 8) for p in PADDINGS]
    cells = plan(recipes, limit)
    assert len(cells) == 12 * len(BACKENDS)
    assert counted == {
        "tasks read": 1,
        "splits chosen": 1,
        "texts hashed": 2 * (limit or ROWS),
        "tokenizers made": 1,
        "splits encoded": 2,
        "encoded splits looked through": 1,
        "checkpoints hashed": 1,
        "weights checked": 1,
        "starts chosen": 1,
        "versions of tokens told": 1,
    }
    assert len({cell.question.data for cell in cells}) == 1
    assert len({id(cell.question.splits["train"]) for cell in cells}) == 1


def test_a_later_command_encodes_nothing() -> None:
    first = plan([Recipe(max_len=9)])
    assert counted["splits encoded"] == 2
    counted.clear()
    again = plan([Recipe(max_len=9, seed=2)])
    assert [cell.question.data for cell in again] == [cell.question.data for cell in first]
    assert counted["splits encoded"] == counted["tokenizers made"] == 0


def test_an_ordinary_checkpoint_is_asked_for_as_before() -> None:
    """Neither its head nor its tokens are part of the question, so that the cell keeps its id."""
    known = {"kind", "backend", "revision", "versions", "task", "data", "checkpoint", "recipe", "device", "threads"}
    for cell in plan([Recipe(max_len=8)]):
        assert set(msgspec.to_builtins(cell.asked)) == known
        assert cell.question.start == Start(head="new", pooler="stored")


def test_a_head_that_is_kept_and_other_tokens_are_asked_for(tmp_path: Path) -> None:
    source, recipe = resolve_model("random:bert-tiny"), Recipe(max_len=8)
    architecture, folder = read_architecture(source, recipe, 2), tmp_path / "saved"
    write_folder(folder, first_weights(source, architecture, recipe), architecture, source, "toy", ("yes", "no"), 8)
    (plain, *_) = plan([recipe], models=(str(folder),))
    (kept, *_) = plan([recipe], models=(str(folder),), head="auto")
    (folder / "added_tokens.json").write_text('{"[E1]": 1632}')
    (both, *_) = plan([recipe], models=(str(folder),), head="keep")
    assert [(c.asked.head, c.asked.tokens) for c in (plain, kept, both)] == [("new", 1), ("kept", 1), ("kept", 2)]
    assert len({plain.id, kept.id, both.id}) == 3
    assert [c.job(None).head for c in (plain, kept, both)] == [(), (1, 0), (1, 0)]


def test_another_length_or_other_rows_are_encoded_apart() -> None:
    """Nothing is read, chosen or hashed more often than that needs."""
    recipes = [Recipe(max_len=m, held_out=h, epochs=e) for m in (10, 11) for h in (0.0, 0.25) for e in (1, 2)]
    cells = plan(recipes)
    assert counted["tasks read"] == counted["checkpoints hashed"] == 1
    assert counted["splits chosen"] == 2
    assert counted["texts hashed"] == 2 * ROWS + ROWS  # train and dev; train in two parts
    assert counted["tokenizers made"] == 4
    for cell in cells:
        held_out = int(cell.recipe.held_out * ROWS)
        data = read_encoded(cell.question.data)
        assert len(data["train"]) == ROWS - held_out
        assert len(data["dev"]) == (held_out or ROWS)


def test_every_cell_has_the_data_that_it_has_alone() -> None:
    recipes = [
        *(Recipe(max_len=m, seed=s) for m in (8, 12) for s in (1, 2)),
        *(Recipe(max_len=8, held_out=0.5, held_out_seed=s) for s in (0, 1)),
        *(Recipe(max_len=8, train_rows=10, rows_seed=s) for s in (None, 3)),
        Recipe(max_len=8, dev_split="train"),
    ]
    together = plan(recipes)
    alone = [cell for recipe in recipes for cell in plan([recipe])]
    found, expected = ([(cell.id, cell.question.data.name) for cell in cells] for cells in (together, alone))
    assert found == expected
    assert len({cell.question.data for cell in together}) == 6


class Watched:
    """A recipe that notes which of its fields are read."""

    def __init__(self, recipe: Recipe, read: set[str]) -> None:
        self.recipe, self.read = recipe, read

    def __getattr__(self, name: str) -> Any:
        self.read.add(name)
        return getattr(self.recipe, name)


def test_no_field_but_those_named_chooses_rows() -> None:
    read: set[str] = set()
    source = {name: Rows([f"{name} {n}" for n in range(20)], None, [0, 1] * 10) for name in ("train", "dev", "test")}
    for recipe in (Recipe(), Recipe(held_out=0.5, held_out_test=0.5), Recipe(train_rows=4, dev_rows=3, rows_seed=1)):
        watched: Any = Watched(recipe, read)
        choose_splits("toy", source, watched, None)
    assert read == set(CHOOSING)


def test_no_field_but_those_named_makes_a_network() -> None:
    read: set[str] = set()
    for kind in ("bert-tiny", "distilbert"):
        watched: Any = Watched(Recipe(dropout=0.2, head_dropout=0.3), read)
        read_architecture(resolve_model(f"random:{kind}"), watched, 2)
    assert read == set(OF_RECIPE)


def test_a_part_of_a_recipe_has_other_fields_at_their_defaults() -> None:
    recipe = replace(Recipe(), held_out=0.25, dev_split="train", seed=9, max_len=99)
    assert recipe.only(CHOOSING) == Recipe(held_out=0.25, dev_split="train")
    assert recipe.only(OF_RECIPE) == Recipe(max_len=99)
    assert {f.name for f in fields(Recipe)} >= {*CHOOSING, *OF_RECIPE}


def test_checkpoints_are_asked_for_where_they_change_the_stream() -> None:
    """The other cells keep their ids. Every worker is told."""
    ways: list[Every | None] = [None, "epoch", 7]
    plans = {every: plan([Recipe(max_len=8)], every=every) for every in ways}
    for number, backend in enumerate(BACKENDS):
        cells = {every: cells[number] for every, cells in plans.items()}
        hidden = backend == "gluon"
        assert [cell.asked.reseeded for cell in cells.values()] == (ways if hidden else [None] * 3)
        assert len({cell.id for cell in cells.values()}) == (3 if hidden else 1)
        assert [cell.job(None).checkpoint_every for cell in cells.values()] == ways


def test_commits_of_the_hub_are_told_and_change_no_id(monkeypatch: pytest.MonkeyPatch) -> None:
    before = plan([Recipe(max_len=8)])[0]
    assert before.question.commits == {}
    found = Found(before.question.checkpoint, "a" * 40)
    monkeypatch.setattr(benchmarks.cells.plan, "find_model", lambda *_: found)
    rows = {name: replace(split, commit="b" * 40) for name, split in load(None).items()}
    toy = Task("toy", ("no", "yes"), pair=False, metrics=("accuracy",), load=lambda _: rows)
    monkeypatch.setattr(benchmarks.cells.plan, "get_task", lambda name, reading: toy)
    after = plan([Recipe(max_len=8)])[0]
    assert after.question.commits == {"model": "a" * 40, "data": "b" * 40}
    assert after.id == before.id
