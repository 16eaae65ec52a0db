"""The head and the pooler that a fine-tuning starts from, and stored tensors outside the network."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from benchmarks.cells.plan import PLAIN, Question
from shared.architecture import Weights
from shared.checkpoint.config import read_architecture
from shared.checkpoint.saved import label_names, read_saved, write_folder
from shared.checkpoint.start import Head, Start, choose_start
from shared.checkpoint.weights import check_weights, first_weights, saved_weights
from shared.errors import InputError
from shared.recipe import Recipe
from shared.records import Asked, cell_id
from shared.tasks import get_task
from tests.checkpoint_kinds import LOSS_WEIGHTS, wrapped
from tests.checkpoints import BERT, DISTILBERT, RECIPE, encoder, write_checkpoint
from tests.data import CASES, needs_cases
from tests.factories import asked

LABELS = ("negative", "positive")
NAMES = {"0": "negative", "1": "positive"}
CLASSIFIER = {"architectures": ["BertForSequenceClassification"]}


def classifier(model_type: str, labels: int) -> Weights:
    """Random weights of a head."""
    random, prefix = np.random.RandomState(1), ["pre_classifier"] if model_type == "distilbert" else []
    sizes = dict.fromkeys(prefix, 6) | {"classifier": labels}
    return {
        f"{name}.{part}": random.normal(size=(out, 6) if part == "weight" else out).astype(np.float32)
        for name, out in sizes.items()
        for part in ("weight", "bias")
    }


def write(folder: Path, labels: int | None = 2, base: dict[str, Any] = BERT, **config: Any) -> Path:
    """Writes an encoder, with a head of so many labels."""
    kind = base["model_type"]
    tensors = encoder(kind, f"{kind}.") | (classifier(kind, labels) if labels else {})
    named = {"architectures": [f"{'Bert' if kind == 'bert' else 'DistilBert'}ForSequenceClassification"]}
    return write_checkpoint(folder, base | named | config, tensors)


def start_of(folder: Path, labels: tuple[str, ...] = LABELS, choice: Head = "auto") -> Start:
    return choose_start(folder, read_architecture(folder, RECIPE, len(labels)), labels, choice)


# --- the head


@pytest.mark.parametrize("base", [BERT, DISTILBERT])
@pytest.mark.parametrize(
    ("names", "labels", "fits", "rows"),
    [
        (NAMES, LABELS, "name", (0, 1)),
        (NAMES, ("positive", "negative"), "name", (1, 0)),
        ({"0": "POSITIVE", "1": "Negative"}, LABELS, "name", (1, 0)),
        ({"0": "LABEL_0", "1": "LABEL_1"}, LABELS, "number", (0, 1)),
        (None, LABELS, "number", (0, 1)),
        (NAMES, ("unacceptable", "acceptable"), "number", (0, 1)),
        ({"0": "a", "1": "b", "2": "c"}, ("c", "a", "b"), "name", (2, 0, 1)),
    ],
)
def test_a_stored_head_is_kept_if_its_labels_fit(
    base: dict[str, Any], names: Any, labels: tuple[str, ...], fits: str, rows: tuple[int, ...], tmp_path: Path
) -> None:
    folder = write(tmp_path / "ck", len(labels), base, **({"id2label": names} if names else {}))
    for choice in ("auto", "keep"):
        start = start_of(folder, labels, choice)
        assert (start.head, start.fits, start.rows) == ("kept", fits, rows)
        assert start.remarks() == [f"the stored head is kept: its labels fit the task's by {fits}"]
    weights = first_weights(folder, read_architecture(folder, RECIPE, len(labels)), RECIPE, rows)
    stored = classifier(base["model_type"], len(labels))
    for name, array in stored.items():
        np.testing.assert_array_equal(weights[name], array[list(rows)] if name.startswith("classifier") else array)


@pytest.mark.parametrize(
    ("labels", "config", "reason"),
    [
        (3, {}, "the stored head has 3 labels, and 2 are wanted"),
        (1, {"id2label": {"0": "LABEL_0"}}, "the stored head has 1 labels, and 2 are wanted"),
        (2, {"architectures": ["BertForTokenClassification"]}, "the stored head is of BertForTokenClassification"),
        (2, {"problem_type": "multi_label_classification"}, "the stored head is of problem_type multi_label_class"),
        (2, {"problem_type": "regression"}, "the stored head is of problem_type regression"),
    ],
)
def test_a_head_that_does_not_fit_is_drawn_and_said(
    labels: int, config: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    folder = write(tmp_path / "ck", labels, **config)
    start = start_of(folder)
    assert (start.head, start.rows) == ("new", ())
    assert start.remarks()[0].startswith(f"a new head is drawn: {reason}")
    with pytest.raises(InputError, match=f"--head keep: .*{reason}.*; pass --head new") as error:
        start_of(folder, choice="keep")
    assert "\n" not in str(error.value)


def test_a_new_head_is_drawn_if_asked_for(tmp_path: Path) -> None:
    folder = write(tmp_path / "ck", 2, id2label=NAMES)
    assert start_of(folder, choice="new").remarks() == ["a new head is drawn: --head new says so"]
    weights = first_weights(folder, read_architecture(folder, RECIPE, 2), RECIPE)
    assert (weights["classifier.weight"] != classifier("bert", 2)["classifier.weight"]).all()


@pytest.mark.parametrize("missing", [None, "classifier.bias"])
def test_an_encoder_has_no_head_to_keep(missing: str | None, tmp_path: Path) -> None:
    tensors = encoder("bert", "bert.") | (classifier("bert", 2) if missing else {})
    folder = write_checkpoint(tmp_path / "ck", BERT, {name: a for name, a in tensors.items() if name != missing})
    assert start_of(folder).remarks() == []
    with pytest.raises(InputError, match=r"--head keep: .* stores no head of a classifier; pass --head new"):
        start_of(folder, choice="keep")


def test_a_saved_folder_goes_on_from_its_own_head(tmp_path: Path) -> None:
    """All weights are those of the saved model, spare labels included."""
    source, recipe = write(tmp_path / "ck", None), replace(RECIPE, num_labels=3)
    labels = recipe.label_names(LABELS)
    architecture = read_architecture(source, recipe, len(labels))
    weights = first_weights(source, architecture, recipe)
    write_folder(tmp_path / "saved", weights, architecture, source, "toy", labels, 8)
    start = start_of(tmp_path / "saved", labels)
    assert start == Start(head="kept", fits="name", rows=(0, 1, 2), pooler="stored")
    for seed in (1, 2):
        again = first_weights(tmp_path / "saved", architecture, replace(recipe, seed=seed), start.rows)
        for name, array in saved_weights(tmp_path / "saved", architecture).items():
            np.testing.assert_array_equal(again[name], array)


# --- the pooler


def without_pooler(folder: Path, labels: int | None = None, base: dict[str, Any] = BERT) -> Path:
    tensors = {n: a for n, a in encoder("bert", "bert.").items() if "pooler" not in n}
    return write_checkpoint(folder, base, tensors | (classifier("bert", labels) if labels else {}))


def test_a_pooler_that_is_not_stored_is_drawn_and_said(tmp_path: Path) -> None:
    config = BERT | {"hidden_size": 300, "initializer_range": 0.05}
    (tmp_path / "ck").mkdir()
    (tmp_path / "ck" / "config.json").write_text(json.dumps(config))
    architecture = read_architecture(tmp_path / "ck", RECIPE, 2)
    stored = {n: np.zeros(s, np.float32) for n, s in architecture.shapes().items() if n.startswith("bert.")}
    whole = write_checkpoint(tmp_path / "whole", config, stored)
    bare = write_checkpoint(tmp_path / "bare", config, {n: a for n, a in stored.items() if "pooler" not in n})
    assert start_of(bare).remarks() == ["a pooler is drawn, as none is stored"]
    first, other = (first_weights(bare, architecture, replace(RECIPE, seed=seed)) for seed in (1, 2))
    pooler = first["bert.pooler.dense.weight"]
    assert pooler.std() == pytest.approx(0.05, rel=0.02)
    assert np.abs(pooler.mean()) < 0.001
    assert not first["bert.pooler.dense.bias"].any()
    assert (pooler != other["bert.pooler.dense.weight"]).mean() > 0.99
    assert list(first) == list(architecture.shapes())
    head = first_weights(whole, architecture, RECIPE)["classifier.weight"]
    np.testing.assert_array_equal(first["classifier.weight"], head)


def test_a_classifier_without_its_pooler_predicts_nothing(tmp_path: Path) -> None:
    """transformers would draw one, and answer at random."""
    folder = without_pooler(tmp_path / "ck", 2)
    architecture = read_architecture(folder, RECIPE, 2)
    check_weights(folder, architecture)
    for ask in (lambda: saved_weights(folder, architecture), lambda: check_weights(folder, architecture, head=True)):
        with pytest.raises(InputError, match=r"lacks the weights bert\.pooler\.dense\.weight"):
            ask()


def test_a_kept_head_may_stand_on_a_pooler_that_is_drawn(tmp_path: Path) -> None:
    folder = without_pooler(tmp_path / "ck", 2, BERT | CLASSIFIER)
    start = start_of(folder)
    assert (start.head, start.pooler) == ("kept", "drawn")
    weights = first_weights(folder, read_architecture(folder, RECIPE, 2), RECIPE, start.rows)
    np.testing.assert_array_equal(weights["classifier.weight"], classifier("bert", 2)["classifier.weight"])


def test_distilbert_has_no_pooler_to_tell_of(tmp_path: Path) -> None:
    assert start_of(write(tmp_path / "ck", None, DISTILBERT)) == Start(head="new")


# --- tensors outside the network


def test_tensors_outside_the_network_are_ignored_and_said(tmp_path: Path) -> None:
    tensors = encoder("bert", "bert.") | LOSS_WEIGHTS
    start = start_of(write_checkpoint(tmp_path / "ck", BERT, tensors))
    assert set(start.ignored) == set(LOSS_WEIGHTS)
    (remark,) = start.remarks()
    assert remark.startswith("stored weights outside the network are ignored: ")
    assert remark.endswith(" and 1 more")


@pytest.mark.parametrize("base", [BERT, DISTILBERT])
def test_the_prefix_of_a_wrapper_is_taken_off(base: dict[str, Any], tmp_path: Path) -> None:
    kind = base["model_type"]
    tensors = wrapped(encoder(kind, f"{kind}.") | classifier(kind, 2))
    folder = write_checkpoint(tmp_path / "ck", base, tensors)
    for name, array in saved_weights(folder, read_architecture(folder, RECIPE, 2)).items():
        np.testing.assert_array_equal(array, tensors[f"module.{name}"])


# --- labels of config.json


@pytest.mark.parametrize(
    ("config", "labels"),
    [
        ({}, ("LABEL_0", "LABEL_1")),
        ({"num_labels": 3}, ("LABEL_0", "LABEL_1", "LABEL_2")),
        ({"num_labels": 1}, ("LABEL_0",)),
        ({"num_labels": 3, "id2label": NAMES}, LABELS),  # as transformers 5 has it
        ({"id2label": {"1": "positive", "0": "negative"}}, LABELS),
    ],
)
def test_labels_are_named_as_in_transformers(config: dict[str, Any], labels: tuple[str, ...]) -> None:
    assert label_names(Path("config.json"), config) == labels


@pytest.mark.parametrize("number", ["three", 0, -1, True, 2.5])
def test_a_number_of_labels_that_is_none_is_refused(number: Any) -> None:
    with pytest.raises(InputError, match=r"config\.json: num_labels is .*; pass a whole number from 1"):
        label_names(Path("config.json"), {"num_labels": number})


@pytest.mark.parametrize(
    ("config", "each_by_itself"),
    [
        ({"id2label": NAMES}, False),
        ({"id2label": {"0": "LABEL_0"}}, True),
        ({"num_labels": 1}, True),
        ({"id2label": NAMES, "problem_type": "single_label_classification"}, False),
        ({"id2label": NAMES, "problem_type": "multi_label_classification"}, True),
    ],
)
def test_one_label_or_several_together_are_told(config: dict[str, Any], each_by_itself: bool, tmp_path: Path) -> None:
    assert read_saved(write_checkpoint(tmp_path / "ck", BERT | CLASSIFIER | config)).each_by_itself == each_by_itself


def test_one_label_of_a_single_choice_is_refused(tmp_path: Path) -> None:
    """transformers refuses it too."""
    config = {"id2label": {"0": "LABEL_0"}, "problem_type": "single_label_classification"}
    with pytest.raises(InputError, match="with one label; correct one of the two"):
        read_saved(write_checkpoint(tmp_path / "ck", BERT | CLASSIFIER | config))


# --- folders that users reported


@needs_cases
@pytest.mark.parametrize(
    ("case", "labels", "remark"),
    [
        ("head-discarded", get_task("cola").labels, "the stored head is kept: its labels fit the task's by name"),
        ("no-pooler", LABELS, "a pooler is drawn, as none is stored"),
        ("class-weights", ("bad", "good"), "stored weights outside the network are ignored: loss_fct.weight"),
        ("num-labels-config", ("a", "b", "c"), "the stored head is kept: its labels fit the task's by number"),
        ("one-logit", LABELS, "a new head is drawn: the stored head has 1 labels, and 2 are wanted"),
    ],
)
def test_a_case_starts_as_it_says(case: str, labels: tuple[str, ...], remark: str) -> None:
    folder = CASES / case / "ck"
    architecture = read_architecture(folder, RECIPE, len(labels))
    start = choose_start(folder, architecture, labels, "auto")
    assert remark in start.remarks()
    assert set(first_weights(folder, architecture, RECIPE, start.rows)) == set(architecture.shapes())


# --- ids of cells


def test_a_cell_is_known_by_head_and_tokens_only_if_unusual() -> None:
    usual = asked()
    assert {"head", "tokens"}.isdisjoint(msgspec.to_builtins(usual))
    same = asked(head="new", tokens=1)
    assert cell_id(same) == cell_id(usual)
    others = [asked(head="kept"), asked(tokens=2), asked(head="kept", tokens=2)]
    assert len({cell_id(one) for one in (usual, *others)}) == 4
    assert [msgspec.convert(msgspec.to_builtins(one), Asked) for one in others] == others


def test_a_plain_question_asks_for_a_new_head(tmp_path: Path) -> None:
    question = Question(get_task("acceptability"), "toy", tmp_path, Recipe(), LABELS, {}, tmp_path)
    assert question.start == PLAIN
    assert question.job("torch", "cpu", 1).head == ()
    kept = replace(question, start=Start(head="kept", fits="name", rows=(1, 0)))
    assert kept.job("torch", "cpu", 1).head == (1, 0)
