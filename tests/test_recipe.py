"""Recipes: validation, identity, decay of parameters, and the learning rate of each step."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import InputError
from shared.recipe import CHOICES, Recipe, learning_rate_at

BAD_VALUES: list[tuple[str, Any]] = [
    ("max_len", 3),
    ("batch_size", 0),
    ("epochs", 0),
    ("learning_rate", 0.0),
    ("learning_rate", float("nan")),
    ("learning_rate", float("inf")),
    ("eps", 0.0),
    ("warm_up", 1.1),
    ("warm_up", -0.1),
    ("beta1", 1.0),
    ("beta2", -0.1),
    ("decay", -0.01),
    ("decay", float("nan")),
    ("clip", 0.0),
    ("clip", -1.0),
    ("dropout", 1.0),
    ("head_dropout", -0.1),
    ("held_out", 1.0),
    ("seed", -1),
    ("seed", 2**32),
    ("held_out_seed", 2**32),
    ("held_out_test", 1.0),
    ("train_rows", 0),
    ("dev_rows", 0),
    ("rows_seed", -1),
    ("num_labels", 1),
    *((name, "other") for name in CHOICES),
]


@pytest.mark.parametrize(("name", "value"), BAD_VALUES)
def test_a_value_out_of_range_is_refused_by_name_in_one_line(name: str, value: Any) -> None:
    with pytest.raises(InputError) as refusal:
        Recipe(**{name: value})
    assert str(refusal.value).startswith(f"{name} is {value!r}; pass ")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [("warm_up", 0), ("warm_up", 1), ("clip", None), ("dropout", 0.0), ("head_dropout", None), ("seed", 2**32 - 1)],
)
def test_values_at_the_edge_of_their_range_are_taken(name: str, value: Any) -> None:
    assert getattr(Recipe(**{name: value}), name) == value


def test_a_recipe_asks_only_for_what_differs_from_the_default() -> None:
    assert Recipe().asked() == {}
    assert Recipe(batch_size=32, epochs=3).asked() == {}
    assert Recipe(seed=7, clip=None, decay_exempt=("bias",)).asked() == {
        "seed": 7,
        "clip": None,
        "decay_exempt": ["bias"],
    }


def test_equal_recipes_ask_with_the_same_json() -> None:
    """However they were made."""
    made = Recipe(epochs=2, learning_rate=5e-5, padding="bucket")
    replaced = replace(Recipe(padding="bucket"), learning_rate=5e-5, epochs=2)
    read = Recipe.from_json(json.loads(json.dumps(made.to_json())))
    assert json.dumps(made.asked()) == json.dumps(replaced.asked()) == json.dumps(read.asked())


def test_every_field_is_part_of_what_a_recipe_asks() -> None:
    other: dict[str, Any] = {"decay_exempt": ("bias",), "clip": 0.5, "dropout": 0.5, "head_dropout": 0.5}
    other |= {
        name: values[-1] if values[-1] != getattr(Recipe(), name) else values[0] for name, values in CHOICES.items()
    }
    other |= dict.fromkeys(("train_split", "dev_split", "test_split"), "other")
    other |= dict.fromkeys(("train_rows", "dev_rows", "rows_seed", "num_labels"), 3)
    for field in fields(Recipe):
        default = getattr(Recipe(), field.name)
        if field.name in other:
            value = other[field.name]
        elif isinstance(default, bool):
            value = not default
        else:
            value = default * 2 + 1 if isinstance(default, int) else default / 2 + 1e-9
        assert list(Recipe(**{field.name: value}).asked()) == [field.name]


def test_a_recipe_survives_json() -> None:
    recipe = Recipe(decay_exempt=("bias", "gamma"), clip=None, head_dropout=0.25, shuffle=False)
    assert Recipe.from_json(json.loads(json.dumps(recipe.to_json()))) == recipe


def test_an_unknown_field_is_named() -> None:
    with pytest.raises(InputError, match="unknown recipe field 'learning_rte'"):
        Recipe.from_json({"learning_rte": 1e-5})


@pytest.mark.parametrize(
    ("parameter", "decays"),
    [
        ("bert.embeddings.word_embeddings.weight", True),
        ("bert.embeddings.LayerNorm.weight", False),
        ("bert.embeddings.LayerNorm.bias", False),
        ("bert.encoder.layer.3.attention.self.query.weight", True),
        ("bert.encoder.layer.3.attention.self.query.bias", False),
        ("bert.encoder.layer.3.attention.output.LayerNorm.weight", False),
        ("distilbert.transformer.layer.0.sa_layer_norm.weight", False),
        ("distilbert.transformer.layer.0.output_layer_norm.weight", False),
        ("distilbert.transformer.layer.0.ffn.lin1.weight", True),
        ("pre_classifier.weight", True),
        ("classifier.weight", True),
        ("classifier.bias", False),
    ],
)
def test_decay_spares_biases_and_layer_norms(parameter: str, decays: bool) -> None:
    assert Recipe().decays(parameter) is decays


def test_decay_zero_spares_all_and_no_exemption_spares_none() -> None:
    assert not Recipe(decay=0.0).decays("classifier.weight")
    assert Recipe(decay_exempt=()).decays("classifier.bias")


@given(total=st.integers(1, 400), share=st.floats(0, 1), peak=st.floats(1e-6, 1e-2))
def test_the_linear_schedule_rises_and_then_falls(total: int, share: float, peak: float) -> None:
    # transformers' get_linear_schedule_with_warmup as two straight lines: from 0 at step 0 to the peak at the end of
    # warm-up, and from there to 0 at the end of the last step.
    recipe = Recipe(learning_rate=peak, warm_up=share)
    top = int(share * total)
    corners = ([0.0] if top else []) + [peak] + ([0.0] if top < total else [])
    at = ([0] if top else []) + [top] + ([total] if top < total else [])
    rates = [learning_rate_at(recipe, step, total) for step in range(total)]
    assert rates == pytest.approx(np.interp(np.arange(total), at, corners).tolist(), rel=1e-12, abs=1e-18)


@given(total=st.integers(1, 400), share=st.floats(0, 1))
def test_the_constant_schedule_stays_at_the_peak_after_warm_up(total: int, share: float) -> None:
    recipe = Recipe(schedule="constant", warm_up=share)
    top = int(share * total)
    rates = [learning_rate_at(recipe, step, total) for step in range(total)]
    assert rates == pytest.approx([recipe.learning_rate * min(1.0, s / top if top else 1.0) for s in range(total)])


def test_the_schedule_of_ten_steps_by_hand() -> None:
    recipe = Recipe(learning_rate=8.0, warm_up=0.2)
    assert [learning_rate_at(recipe, step, 10) for step in range(10)] == [0, 4, 8, 7, 6, 5, 4, 3, 2, 1]


def test_without_warm_up_the_first_step_has_the_peak_rate() -> None:
    assert learning_rate_at(Recipe(warm_up=0.0), 0, 10) == 2e-5


def test_a_head_may_have_labels_that_the_task_lacks() -> None:
    assert Recipe(num_labels=4).label_names(("no", "yes")) == ("no", "yes", "unused 2", "unused 3")
    assert Recipe(num_labels=2).label_names(("no", "yes")) == ("no", "yes")
    assert Recipe().label_names(("no", "yes")) == ("no", "yes")


def test_a_head_with_fewer_labels_than_the_task_is_refused() -> None:
    with pytest.raises(InputError, match="num_labels is 2; the task has 3 labels: pass that or more"):
        Recipe(num_labels=2).label_names(("negative", "neutral", "positive"))
