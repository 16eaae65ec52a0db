"""The choice of rows for training, evaluation and test."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from datasets import Dataset
from sklearn.model_selection import train_test_split

from shared.batching import total_steps, training_order
from shared.errors import InputError
from shared.recipe import Recipe
from shared.splits import choose_splits, rows_of_steps, splits_hash
from shared.tasks import Rows


def rows(name: str, count: int, labelled: bool = True, pair: bool = False) -> Rows:
    return Rows(
        [f"{name} row {i}" for i in range(count)],
        [f"beside {name} row {i}" for i in range(count)] if pair else None,
        [i % 2 for i in range(count)] if labelled else None,
    )


SOURCE = {"train": rows("train", 40), "dev": rows("dev", 12), "test": rows("test", 8)}


def test_splits_are_the_tasks_own_by_default() -> None:
    assert choose_splits("toy", SOURCE, Recipe(), None) == SOURCE


def test_any_split_can_serve_for_any_role() -> None:
    chosen = choose_splits("toy", SOURCE, Recipe(train_split="dev", dev_split="train", test_split="dev"), None)
    assert chosen == {"train": SOURCE["dev"], "dev": SOURCE["train"], "test": SOURCE["dev"]}


def test_a_limit_takes_the_first_rows_of_each_split() -> None:
    chosen = choose_splits("toy", SOURCE, Recipe(), 10)
    assert {name: len(part) for name, part in chosen.items()} == {"train": 10, "dev": 10, "test": 8}
    assert chosen["train"].first == SOURCE["train"].first[:10]
    assert chosen["train"].labels == [0, 1] * 5


def test_a_held_out_share_is_the_one_that_scikit_learn_draws() -> None:
    source = SOURCE | {"train": rows("train", 40, pair=True)}
    chosen = choose_splits("toy", source, Recipe(held_out=0.25, held_out_seed=7), None)
    texts, beside, labels = source["train"].first, source["train"].second, source["train"].labels
    drawn = train_test_split(texts, beside, labels, test_size=0.25, random_state=7)
    for role, part in (("train", drawn[0::2]), ("dev", drawn[1::2])):
        assert [chosen[role].first, chosen[role].second, chosen[role].labels] == part
    assert len(chosen["dev"]) == 10
    assert chosen["test"] == source["test"]


def test_another_seed_holds_out_other_rows() -> None:
    one, other = (choose_splits("toy", SOURCE, Recipe(held_out=0.25, held_out_seed=s), None)["dev"] for s in (0, 1))
    assert set(one.first) != set(other.first)


def test_the_rows_held_out_are_drawn_before_the_limit_cuts() -> None:
    whole = choose_splits("toy", SOURCE, Recipe(held_out=0.25), None)
    cut = choose_splits("toy", SOURCE, Recipe(held_out=0.25), 5)
    assert cut["train"].first == whole["train"].first[:5]
    assert cut["dev"].first == whole["dev"].first[:5]


def test_a_share_that_leaves_nothing_to_train_on_is_refused() -> None:
    with pytest.raises(InputError, match=r"a share of 0.99 held out of 40 rows leaves none; pass a smaller one"):
        choose_splits("toy", SOURCE, Recipe(held_out=0.99), None)


@pytest.mark.parametrize("share", [0.01, 0.5, 0.9, 0.974])
def test_every_row_is_trained_on_or_held_out(share: float) -> None:
    chosen = choose_splits("toy", SOURCE, Recipe(held_out=share), None)
    assert sorted([*chosen["train"].first, *chosen["dev"].first]) == sorted(SOURCE["train"].first)
    assert len(chosen["dev"]) == int(np.ceil(share * 40))


def test_with_a_held_out_share_no_dev_split_is_needed() -> None:
    source = {name: part for name, part in SOURCE.items() if name != "dev"}
    assert len(choose_splits("toy", source, Recipe(held_out=0.25), None)["dev"]) == 10
    with pytest.raises(InputError) as error:
        choose_splits("toy", source, Recipe(), None)
    line = "toy has no split 'dev' for dev; it has train, test; pass --dev-split one of them, or --held-out a share of "
    assert str(error.value) == line + "train"


def test_a_training_split_alone_gives_train_and_dev_and_no_test() -> None:
    chosen = choose_splits("toy", {"train": SOURCE["train"]}, Recipe(held_out=0.1), None)
    assert {name: len(part) for name, part in chosen.items()} == {"train": 36, "dev": 4}


def test_a_task_without_a_test_split_is_not_tested() -> None:
    source = {name: part for name, part in SOURCE.items() if name != "test"}
    assert choose_splits("toy", source, Recipe(), None).keys() == {"train", "dev"}


def test_a_test_split_that_was_asked_for_must_be_there() -> None:
    with pytest.raises(InputError) as error:
        choose_splits("toy", SOURCE, Recipe(test_split="final"), None)
    expected = "toy has no split 'final' for test; it has train, dev, test; pass --test-split one of them"
    assert str(error.value) == expected


def test_training_rows_need_labels() -> None:
    source = SOURCE | {"test": rows("test", 8, labelled=False)}
    with pytest.raises(InputError, match="toy's split 'test' has no labels to train on; pass another train_split"):
        choose_splits("toy", source, Recipe(train_split="test"), None)


def test_choosing_the_best_epoch_needs_labels_on_dev() -> None:
    source = SOURCE | {"dev": rows("dev", 12, labelled=False)}
    with pytest.raises(InputError, match="keep best needs labels, and toy's split 'dev' has none; pass keep last"):
        choose_splits("toy", source, Recipe(keep="best"), None)
    choose_splits("toy", source, Recipe(keep="best", held_out=0.25), None)


def test_the_hash_depends_on_texts_labels_and_roles() -> None:
    """It does not depend on the order of the splits."""

    def with_train(changed: Rows) -> dict[str, Rows]:
        return SOURCE | {"train": changed}

    train = SOURCE["train"]
    assert train.labels is not None
    hashes = [
        splits_hash(SOURCE),
        splits_hash(with_train(replace(train, first=["another row", *train.first[1:]]))),
        splits_hash(with_train(replace(train, labels=[1 - train.labels[0], *train.labels[1:]]))),
        splits_hash(with_train(replace(train, labels=None))),
        splits_hash(with_train(replace(train, second=train.first))),
        splits_hash(with_train(train.head(39))),
        splits_hash(with_train(train.take(np.arange(40)[::-1]))),
        splits_hash(SOURCE | {"dev": SOURCE["test"], "test": SOURCE["dev"]}),
    ]
    assert len(set(hashes)) == len(hashes)
    assert splits_hash(dict(reversed(SOURCE.items()))) == hashes[0]
    assert all(len(h) == 64 for h in hashes)


@pytest.mark.parametrize("last_batch", ["keep", "drop", "rollover"])
@pytest.mark.parametrize("padding", ["max_length", "bucket"])
@pytest.mark.parametrize(("batch_size", "steps"), [(1, 2), (2, 5), (7, 3), (32, 20)])
def test_rows_of_steps_make_one_epoch_of_these_steps(
    batch_size: int, steps: int, padding: Any, last_batch: Any
) -> None:
    """A part of a batch comes with them."""
    recipe = Recipe(batch_size=batch_size, epochs=1, padding=padding, last_batch=last_batch)
    rows = rows_of_steps(recipe, steps)
    (batches,) = training_order(recipe, np.arange(1, rows + 1))
    assert len(batches) == total_steps(recipe, rows) == steps
    if batch_size > 1:
        assert rows % batch_size > 0


def test_a_second_share_of_the_held_out_rows_becomes_test() -> None:
    """The published recipe calls train_test_split twice, with the same random_state."""
    recipe = Recipe(held_out=0.25, held_out_test=0.5, held_out_seed=42)
    chosen = choose_splits("toy", {"train": SOURCE["train"]}, recipe, None)
    kept, held = train_test_split(SOURCE["train"].first, test_size=0.25, random_state=42)
    dev, test = train_test_split(held, test_size=0.5, random_state=42)
    assert [chosen[role].first for role in ("train", "dev", "test")] == [kept, dev, test]


def test_what_is_tested_on_may_not_be_said_twice() -> None:
    recipe = Recipe(held_out=0.25, held_out_test=0.5, test_split="dev")
    with pytest.raises(InputError, match="test_split 'dev' and held_out_test both say what to test on; pass one"):
        choose_splits("toy", SOURCE, recipe, None)


def test_nothing_held_out_leaves_no_share_for_test() -> None:
    with pytest.raises(InputError, match=r"held_out_test 0.5 is a share of the held-out rows; pass held_out too"):
        choose_splits("toy", SOURCE, Recipe(held_out_test=0.5), None)


def test_rows_are_drawn_as_datasets_shuffles() -> None:
    recipe = Recipe(train_rows=7, dev_rows=3, rows_seed=42)
    chosen = choose_splits("toy", SOURCE, recipe, None)
    for role, count in (("train", 7), ("dev", 3)):
        shuffled = Dataset.from_dict({"text": SOURCE[role].first}).shuffle(seed=42)
        assert chosen[role].first == list(shuffled["text"])[:count]
    assert chosen["test"] == SOURCE["test"]


def test_without_a_seed_the_first_rows_are_taken() -> None:
    chosen = choose_splits("toy", SOURCE, Recipe(train_rows=7), None)
    assert chosen["train"] == SOURCE["train"].head(7)


def test_more_rows_than_there_are_cannot_be_drawn() -> None:
    with pytest.raises(InputError, match="dev_rows is 13; dev has 12 rows: pass that or fewer"):
        choose_splits("toy", SOURCE, Recipe(dev_rows=13), None)
