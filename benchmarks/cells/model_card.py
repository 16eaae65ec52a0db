"""The card of a saved model: README.md in its folder, as the Hugging Face hub shows it. It holds no row of the data."""

from __future__ import annotations

import pandas as pd
from huggingface_hub import EvalResult, ModelCardData
from scipy.stats import binomtest

from benchmarks.cli.values import as_typed
from benchmarks.reporting.numbers import MISSING
from benchmarks.reporting.page import Block, Heading, Notes, Page, Table, as_markdown
from benchmarks.reporting.rows import METRICS, SHOWN, shown_versions
from benchmarks.statistics.intervals import CONFIDENCE
from shared.checkpoint.sources import HUB_ID, SHORT_NAMES
from shared.recipe import Recipe
from shared.records import SPLITS, Record, Split

CARD = "README.md"

HUB_NAMES = {"minilm": "sentence-transformers/all-MiniLM-L6-v2"}
"""The hub's ids of models that have another name here."""

INTRODUCTION = (
    "Fine-tuned on the task {task} by [Concord](#how-it-was-made), which trains the same BERT on several frameworks. "
    "transformers' `AutoModelForSequenceClassification` and `AutoTokenizer` open this folder, whichever framework "
    "trained it."
)

LEGEND = (
    "of one training with one seed: another seed scores differently, and these numbers do not say by how much",
    f"interval: Wilson's for a share of rows, {100 * CONFIDENCE:.0f} %: what other rows of the same kind would change",
    "majority: the share of the commonest label; an accuracy that is not above it says nothing",
)

TERMS = (
    "the task's data has terms of its own, which may bind a model that is trained on it; docs/tasks.md of Concord has "
    "those of the tasks that it knows",
    "the checkpoint that this model started from has terms, too",
    "this card and the folder hold no row of the data",
)


def model_card(record: Record) -> str:
    """The card's text: what the hub reads (YAML) and what people read (Markdown)."""
    name = f"{record.asked.task}-{record.asked.backend}-{record.id}"
    data = ModelCardData(
        model_name=name,
        eval_results=_results(record),
        base_model=_hub_id(record.model),
        library_name="transformers",
        pipeline_tag="text-classification",
        tags=["concord", f"trained-with-{record.asked.backend}"],
    )
    return f"---\n{data.to_yaml()}\n---\n\n{_page(record, name).markdown()}"


def _hub_id(model: str) -> str | None:
    """The hub's id of the checkpoint; None for one that is not from there."""
    if model in SHORT_NAMES:
        return f"{SHORT_NAMES[model]}/{model}"
    return HUB_NAMES.get(model) or (model if HUB_ID.fullmatch(model) else None)


def _results(record: Record) -> list[EvalResult]:
    """The scores, as the hub lists them beside those of other models."""
    task = record.asked.task
    return [
        EvalResult(
            task_type="text-classification",
            dataset_type=task,
            dataset_name=task,
            dataset_split=split,
            dataset_revision=record.commits.get("data"),
            metric_type={"mcc": "matthews_correlation", "macro_f1": "f1"}.get(metric, metric),
            metric_name=SHOWN[metric],
            metric_args={"average": "macro"} if metric == "macro_f1" else None,
            metric_value=value,
        )
        for split in SPLITS
        for metric, value in _scores(record, split).items()
    ]


def _scores(record: Record, split: Split) -> dict[str, float]:
    found = record.scores(split) or {}
    return {metric: found[metric] for metric in METRICS if metric in found}


def _page(record: Record, name: str) -> Page:
    machine = record.circumstances.machine
    start = _hub_id(record.model) or record.model
    commit = f" at commit {record.commits['model']}" if "model" in record.commits else ""
    made = [
        f"started from {as_markdown(start)}{commit}",
        f"trained with {shown_versions(record.asked)}, precision {record.asked.precision}, on {record.asked.device} "
        f"({machine.shown}), {record.circumstances.started}",
        "rows: " + ", ".join(f"{split} {count:,}" for split, count in record.rows.items()),
        *([f"published recipe: {record.preset.name}"] if record.preset else []),
        f"Concord's record of the training is `records/{record.id}.json` of its run",
    ]
    scores = _score_table(record)
    blocks: list[Block] = [
        Heading(f"# {as_markdown(name)}\n\n{INTRODUCTION.format(task=as_markdown(record.asked.task))}"),
        Heading("## Scores"),
        *([Table(scores)] if len(scores) else []),
        Notes(LEGEND if len(scores) else ["no split has labels"]),
        *([Notes([note.line for note in record.notes])] if record.notes else []),
        Heading("## How it was made"),
        Notes(made),
        Table(_recipe_table(record.recipe)),
        Heading("## Terms"),
        Notes(TERMS),
    ]
    return Page(blocks)


def _score_table(record: Record) -> pd.DataFrame:
    lines = []
    for split in SPLITS:
        for metric, value in _scores(record, split).items():
            majority = record.majority.get(split)
            lines.append(
                {
                    "split": split,
                    "rows": f"{record.rows[split]:,}",
                    "score": SHOWN[metric],
                    "value": f"{value:.3f}",
                    "interval": _interval(value, record.rows[split]) if metric == "accuracy" else MISSING,
                    "majority": MISSING if metric != "accuracy" or majority is None else f"{majority:.3f}",
                }
            )
    return pd.DataFrame(lines)


def _interval(accuracy: float, rows: int) -> str:
    """Wilson's interval (1927, J. Am. Stat. Assoc. 22:209-212) of an accuracy on so many rows."""
    found = binomtest(round(accuracy * rows), rows).proportion_ci(CONFIDENCE, method="wilson")
    return f"{found.low:.3f} – {found.high:.3f}"


def _recipe_table(recipe: Recipe) -> pd.DataFrame:
    """Every option of the recipe with its value; those that differ from the default come first."""
    asked, values = recipe.asked(), recipe.to_json()
    names = sorted(values, key=lambda name: name not in asked)
    return pd.DataFrame(
        {"option": name, "value": str(as_typed(values[name])), "default": "" if name in asked else "yes"}
        for name in names
    )
