"""Cards of saved models, as the hub's own library reads them."""

from __future__ import annotations

import math

import pytest
from huggingface_hub import ModelCard
from msgspec.structs import replace

from benchmarks.cells.model_card import model_card
from shared.notes import Note
from shared.recipe import Recipe
from shared.records import PresetUse, Record
from tests.factories import record


def card_of(made: Record) -> ModelCard:
    """The card as the hub's own library reads it."""
    return ModelCard(model_card(made))


def test_the_hub_reads_results_from_the_card() -> None:
    made = record(Recipe(max_len=64), test=0.7, model="google-bert/bert-base-uncased")
    data = card_of(made).data
    found = {(one.dataset_split, one.metric_type): one.metric_value for one in data.eval_results}
    assert found == {
        (split, metric): (made.scores(split) or {})[name]
        for split in ("dev", "test")
        for name, metric in {"accuracy": "accuracy", "mcc": "matthews_correlation", "f1": "f1"}.items()
    }
    assert {one.dataset_name for one in data.eval_results} == {"cola"}
    assert (data.base_model, data.pipeline_tag) == ("google-bert/bert-base-uncased", "text-classification")
    assert data.library_name == "transformers"


@pytest.mark.parametrize(
    ("model", "base"),
    [
        ("minilm", "sentence-transformers/all-MiniLM-L6-v2"),
        ("bert-base-uncased", "google-bert/bert-base-uncased"),
        ("my-folder", None),
        ("random:bert-tiny", None),
    ],
)
def test_a_base_model_is_named_if_the_hub_has_it(model: str, base: str | None) -> None:
    assert card_of(record(model=model)).data.base_model == base


def test_an_accuracy_has_wilsons_interval_over_rows() -> None:
    share, rows, z = 0.7, 40, 1.959964
    middle = (share + z**2 / (2 * rows)) / (1 + z**2 / rows)
    half = z * math.sqrt(share * (1 - share) / rows + z**2 / (4 * rows**2)) / (1 + z**2 / rows)
    low, high = middle - half, middle + half
    text = card_of(record(test=0.7)).text
    assert f"| test | 40 | accuracy | 0.700 | {low:.3f} – {high:.3f} | 0.680 |" in " ".join(text.split())
    assert "of one training with one seed" in text


def test_the_card_says_how_the_model_was_made() -> None:
    made = record(Recipe(learning_rate=3e-5, seed=7), preset=PresetUse("devlin-cola", ["seed"]), precision="bfloat16")
    noted = replace(
        made, model="someone/bert", commits={"model": "a" * 40}, notes=[Note(kind="cut", split="dev", share=0.5)]
    )
    text = " ".join(card_of(noted).text.split())
    for part in (
        "| learning_rate | 3e-05 | |",
        "| seed | 7 | |",
        "| batch_size | 32 | yes |",
        "torch 2.0, precision bfloat16",
        "published recipe: devlin-cola",
        f"started from someone/bert at commit {'a' * 40}",
        "50.0 % of the rows are longer than max_len",
        f"records/{made.id}.json",
        "## Terms",
    ):
        assert part in text, part
    assert text.index("| learning_rate |") < text.index("| batch_size |")


def test_without_labels_the_card_has_no_scores() -> None:
    unscored = record(test=None, epochs=[replace(record().answer.epochs[0], dev=None)])
    card = card_of(unscored)
    assert card.data.eval_results in (None, [])
    assert "no split has labels" in card.text


def test_a_task_of_odd_characters_stays_text() -> None:
    card = card_of(record(task="a: [b]\n<img src=x>"))
    assert card.data.eval_results[0].dataset_name == "a: [b]\n<img src=x>"
    assert "<img" not in card.text.replace("\\<img", "")
