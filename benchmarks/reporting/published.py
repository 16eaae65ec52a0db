"""Published recipes: what each reports, beside what its preset scored here (`published.md`)."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from benchmarks.cli.values import as_typed
from benchmarks.reporting.numbers import MISSING, number, place_of
from benchmarks.reporting.page import Block, Heading, Notes, Page, Table
from benchmarks.reporting.rows import SHOWN
from shared.diverging import shown
from shared.errors import InputError
from shared.presets import get_preset
from shared.records import SPLITS, PresetUse, Record

ENDS = 4
"""Steps whose mean loss is shown at a run's start and end: a single batch's is mostly noise."""

INTRODUCTION = """# Published recipes

What was reported is of the model, the data and the machine that each text names; what was measured here is of those
named under it. They show whether a recipe does here what it is said to do, and whether the backends agree; one is no
target for the other.

Values with commas between them are of one epoch after the other. `loss at the ends`: mean of the first and of the last
4 steps. `by batch`: the plain mean over batches, as some of the texts print. `majority`: the score of always guessing
the commonest class. `epoch s`: median training time of an epoch, without tracing and compilation;
`all s`: of the whole run, start, evaluation and saving with it."""


@dataclass(frozen=True)
class Run:
    """A record of a published recipe."""

    record: Record
    preset: PresetUse

    @property
    def part(self) -> tuple[str, str, str]:
        """Preset, model and overridden values, which the runs of one part of the page share."""
        return self.preset.name, self.record.model, self.overridden

    @property
    def order(self) -> tuple[tuple[str, str, str], int, int]:
        """The place on the page."""
        return self.part, place_of(self.record.asked.backend), self.record.recipe.seed

    @property
    def overridden(self) -> str:
        """The names of what was overridden, with their values here. The number of rows shows a limit."""
        values = {"task": self.record.asked.task, "model": self.record.model} | self.record.recipe.to_json()
        return ", ".join(
            f"{name} {as_typed(values[name])}" if name in values else name for name in self.preset.overridden
        )


def write_published(out: Path, records: Sequence[Record]) -> bool:
    """Writes `published.md` under `out`, a part for each preset and each way in which it was overridden. Returns
    whether there was any."""
    runs = [Run(record, record.preset) for record in records if record.preset]
    if not runs:
        return False
    runs.sort(key=lambda run: run.order)
    blocks: list[Block] = [Heading(INTRODUCTION)]
    for _, group in itertools.groupby(runs, key=lambda run: run.part):
        blocks += _part(list(group))
    Page(blocks).write(out / "published.md")
    return True


def _part(runs: Sequence[Run]) -> list[Block]:
    first = runs[0].record
    rows = ", ".join(f"{split} {first.rows[split]:,}" for split in ("train", *SPLITS) if split in first.rows)
    majority = ", ".join(f"{split} {first.majority[split]:.3f}" for split in SPLITS if split in first.majority)
    machine = first.circumstances.machine
    overridden = f"overridden: {runs[0].overridden}" if runs[0].overridden else "nothing overridden"
    notes = [
        *_reported(runs[0].preset.name),
        f"here: {first.model}; {overridden}; {rows} rows; {machine.cpu}, {machine.cores} cores, {first.asked.threads} "
        "threads",
        f"majority class here: {majority}",
    ]
    table = pd.DataFrame(_row(run.record) for run in runs)
    return [
        Heading(f"## {runs[0].preset.name}"),
        Notes(notes),
        Table(table.loc[:, (table != MISSING).any()]),
    ]


def _reported(name: str) -> list[str]:
    """Lines on what was published, or that the preset is no longer there."""
    try:
        preset = get_preset(name)
    except InputError:
        return ["reported: this recipe is no longer one of the project's"]
    title = f"[{preset.title}]({preset.source})" if preset.source else preset.title
    if preset.fixes:
        return [title, f"nothing was published: it corrects {preset.fixes}"]
    return [title, f"reported, with {preset.model}: {preset.reported}"]


def _row(record: Record) -> dict[str, str]:
    answer = record.answer
    epochs, steps, before = answer.epochs, answer.step_loss, answer.dev_before
    dev = [epoch.dev for epoch in epochs if epoch.dev]
    row = {
        "backend": record.asked.backend,
        "seed": str(record.recipe.seed),
        "steps": str(len(steps)),
        "note": MISSING if answer.diverged is None else shown(answer.diverged),
        "loss at the ends": _at_the_ends(steps),
        "training loss": _by_epoch([epoch.train_loss for epoch in epochs]),
        "training accuracy": _by_epoch([epoch.train_accuracy for epoch in epochs]),
        "dev accuracy before": f"{before['accuracy']:.3f}" if before else MISSING,
        "dev loss": _by_epoch([scores["loss"] for scores in dev]),
        "dev accuracy": _by_epoch([scores["accuracy"] for scores in dev]),
        "by batch": _by_epoch([e.dev_batch_accuracy for e in epochs if e.dev_batch_accuracy is not None]),
    }
    for split in SPLITS:
        found = record.scores(split) or {}
        for metric, heading in SHOWN.items():
            if (split, metric) != ("dev", "accuracy"):
                row[f"{split} {heading}"] = f"{found[metric]:.3f}" if metric in found else MISSING
    test = answer.details.get("test")
    row["test MCC by batch"] = number(statistics.fmean(test.batch_mcc) if test else None, ".3f")
    seconds = answer.steady_epoch_seconds()
    row["epoch s"] = number(statistics.median(seconds) if seconds else None, ".0f")
    row["all s"] = number(record.circumstances.worker_seconds, ".0f")
    return row


def _at_the_ends(losses: Sequence[float]) -> str:
    if not losses:
        return MISSING
    return f"{statistics.fmean(losses[:ENDS]):.4f}, {statistics.fmean(losses[-ENDS:]):.4f}"


def _by_epoch(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.3f}" for value in values) or MISSING
