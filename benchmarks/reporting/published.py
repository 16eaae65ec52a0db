"""What published recipes report beside what their presets scored here: `published.md`."""

from __future__ import annotations

import itertools
import statistics
from pathlib import Path

import pandas as pd

from backends import BACKENDS
from benchmarks.reporting.record_tables import SHOWN
from benchmarks.reporting.tables import as_typed
from shared.errors import InputError
from shared.files import write_whole
from shared.presets import Preset, get_preset
from shared.records import SPLITS, Record, scores, steady_epoch_seconds

ENDS = 4
"""Steps whose mean loss is shown at a run's start and end: a single batch's is mostly noise."""

INTRODUCTION = """# Published recipes

What was reported is of the model, the data and the machine that each text names; what was measured here is of those
named under it. They show whether a recipe does here what it is said to do, and whether the backends agree; one is no
target for the other.

Values with commas between them are of one epoch after the other. `loss at the ends`: mean of the first and of the last
4 steps. `by batch`: the plain mean over batches, as some of the texts print. `majority`: the score of always guessing
the commonest class. `epoch s`: median training time of an epoch, without the first step's tracing or compilation;
`all s`: of the whole run, start, evaluation and saving with it.
"""


def write_published(out: Path, records: list[Record]) -> bool:
    """`published.md` under `out`, a part for each preset and each way in which it was overridden. Returns whether there
    was any."""
    made = [record for record in records if record.get("preset")]
    if not made:
        return False
    made.sort(key=_order)
    parts = [_part(list(group)) for _, group in itertools.groupby(made, key=_run)]
    write_whole(out / "published.md", INTRODUCTION + "\n" + "\n".join(parts))
    return True


def _run(record: Record) -> tuple[str, str, str]:
    """What records of one part share: the preset, the model, and what was overridden with its values."""
    return record["preset"]["name"], record["model"], ", ".join(_overridden(record))


def _order(record: Record) -> tuple[tuple[str, str, str], int, int]:
    return _run(record), list(BACKENDS).index(record["asked"]["backend"]), record["recipe"]["seed"]


def _overridden(record: Record) -> list[str]:
    """Each override with its value; a limit is told by the rows."""
    values = {"task": record["asked"]["task"], "model": record["model"]} | record["recipe"]
    return [f"{name} {as_typed(values[name])}" if name in values else name for name in record["preset"]["overridden"]]


def _part(records: list[Record]) -> str:
    first = records[0]
    name, model, _ = _run(first)
    rows = ", ".join(f"{split} {first['rows'][split]:,}" for split in ("train", *SPLITS) if split in first["rows"])
    majority = ", ".join(f"{s} {first['majority'][s]:.3f}" for s in SPLITS if s in first["majority"])
    machine = first["circumstances"]["machine"]
    here = f"{model}; {_overridden_text(first)}; {rows} rows; {machine['cpu']}, {machine['cores']} cores"
    table = pd.DataFrame(_row(record) for record in records)
    table = table.loc[:, (table != "–").any()]
    return "\n".join(
        [
            f"## {name}\n",
            *_reported(name),
            f"- here: {here}, {first['asked']['threads']} threads",
            f"- majority class here: {majority}\n",
            table.to_markdown(index=False, disable_numparse=True),
            "",
        ]
    )


def _reported(name: str) -> list[str]:
    """Lines on what was published; of a preset that is no longer there, that it is not."""
    try:
        preset: Preset = get_preset(name)
    except InputError:
        return ["- reported: this recipe is no longer one of the project's"]
    title = f"[{preset.title}]({preset.source})" if preset.source else preset.title
    lines = [f"- {title}"]
    if preset.fixes:
        lines += [f"- nothing was published: it corrects {preset.fixes}"]
    else:
        lines += [f"- reported, with {preset.model}: {preset.reported}"]
    return lines


def _overridden_text(record: Record) -> str:
    overridden = _overridden(record)
    return "overridden: " + ", ".join(overridden) if overridden else "nothing overridden"


def _row(record: Record) -> dict[str, str]:
    answer = record["answer"]
    epochs, steps = answer["epochs"], answer["step_loss"]
    dev = [epoch["dev"] for epoch in epochs if epoch["dev"]]
    before = answer.get("dev_before")
    row = {
        "backend": record["asked"]["backend"],
        "seed": str(record["recipe"]["seed"]),
        "steps": str(len(steps)),
        "loss at the ends": f"{statistics.fmean(steps[:ENDS]):.4f}, {statistics.fmean(steps[-ENDS:]):.4f}",
        "training loss": _by_epoch([epoch["train_loss"] for epoch in epochs]),
        "training accuracy": _by_epoch([epoch["train_accuracy"] for epoch in epochs]),
        "dev accuracy before": f"{before['accuracy']:.3f}" if before else "–",
        "dev loss": _by_epoch([one["loss"] for one in dev]),
        "dev accuracy": _by_epoch([one["accuracy"] for one in dev]),
        "by batch": _by_epoch([e["dev_batch_accuracy"] for e in epochs if e.get("dev_batch_accuracy") is not None]),
    }
    for split in SPLITS:
        found = scores(record, split) or {}
        for metric, shown in SHOWN.items():
            if (split, metric) != ("dev", "accuracy"):
                row[f"{split} {shown}"] = f"{found[metric]:.3f}" if metric in found else "–"
    batches = answer.get("details", {}).get("test", {}).get("batch_mcc")
    row["test MCC by batch"] = f"{statistics.fmean(batches):.3f}" if batches else "–"
    row["epoch s"] = f"{statistics.median(steady_epoch_seconds(answer)):.0f}"
    row["all s"] = f"{record['circumstances']['worker_seconds']:.0f}"
    return row


def _by_epoch(values: list[float]) -> str:
    return ", ".join(f"{value:.3f}" for value in values) or "–"
