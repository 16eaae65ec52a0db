"""From records to tables: one CSV with everything, and for people a table of quality and one of speed."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from scipy.stats import t as student

from backends import BACKENDS
from benchmarks.reporting.tables import as_typed, number, print_table
from shared.files import write_whole
from shared.recipe import Recipe
from shared.records import SPLITS, Record, scores, steady_epoch_seconds

METRICS = ("accuracy", "mcc", "f1", "macro_f1")
ALWAYS = ("max_len", "batch_size")
"""Recipe fields with a column of their own; others, and the modes, get one where records differ in them."""

APART = ("train_rows", "device", "threads", "versions", "revision")
"""What the quality table for people shows only where it tells rows apart."""

SHOWN = {"accuracy": "accuracy", "mcc": "MCC", "f1": "F1", "macro_f1": "macro F1"}

SHORT = {"batch_size": "batch"}

MARK = "*"

PICTURES = "pictures"
"""The folder of those that benchmarks.report draws."""

QUALITY_LEGEND = (
    f"`{MARK}`: not above the majority class, whose share `majority` is",
    "`–`: not scored: the split has no labels, or the task has no such split or metric",
    "several seeds: mean ± sample standard deviation [95 % interval of the mean, by Student's t]",
)


def frame(records: list[Record]) -> pd.DataFrame:
    """One row for the records that differ in nothing but their seed. Scores are means over the seeds, with the sample
    standard deviation in a column `..._sd` and the ends of the mean's interval in `..._low` and `..._high`; epoch
    seconds are the median over all epochs of all seeds."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(_group(record), []).append(record)
    settings = [_settings(record) for record in records]
    fields = [*ALWAYS, *(name for name in settings[0] if name not in (*ALWAYS, "seed") and _varies(name, settings))]
    rows = pd.DataFrame([_row(group, fields) for group in groups.values()])
    order = ["task", "model", *fields, "backend"]
    return rows.sort_values(order, key=lambda column: column.map(_sortable)).reset_index(drop=True)


def write_tables(out: Path, records: list[Record]) -> None:
    """`table.csv` and `table.md` under `out`. The latter shows the pictures that are there."""
    table = frame(records)
    write_whole(out / "table.csv", table.to_csv(index=False, float_format="%.6g"))
    parts = [f"## {title}\n\n{part.to_markdown(index=False, disable_numparse=True)}\n" for title, part in _shown(table)]
    parts.append("\n".join(f"- {line}" for line in _legend(records)) + "\n")
    parts += [f"![{path.stem}]({path.relative_to(out)})\n" for path in sorted((out / PICTURES).glob("*.png"))]
    write_whole(out / "table.md", "\n".join(parts))


def print_tables(console: Console, records: list[Record]) -> None:
    """The same two tables on the terminal."""
    for title, part in _shown(frame(records)):
        print_table(console, title, part)
    for line in _legend(records):
        console.print(f"- {line}", style="dim", highlight=False, markup=False)


def quality(records: list[Record]) -> pd.DataFrame:
    """The table of scores for people, every cell a string; QUALITY_LEGEND explains it."""
    return dict(_shown(frame(records)))["Quality"]


def _group(record: Record) -> str:
    asked = json.loads(json.dumps(record["asked"]))
    asked["recipe"].pop("seed", None)
    return json.dumps(asked, sort_keys=True)


def _settings(record: Record) -> dict[str, Any]:
    """The recipe and the modes. A record older than some field was made with what is that field's default now."""
    asked = record["asked"]
    modes = {"precision": asked.get("precision", "float32"), "compile": asked.get("compile", False)}
    return Recipe().to_json() | record["recipe"] | modes


def _varies(name: str, settings: list[dict[str, Any]]) -> bool:
    return any(each[name] != settings[0][name] for each in settings)


def _row(group: list[Record], fields: list[str]) -> dict[str, Any]:
    first = group[0]
    row: dict[str, Any] = {
        "task": first["asked"]["task"],
        "model": first["model"],
        "backend": first["asked"]["backend"],
    }
    settings = _settings(first)
    row |= {name: as_typed(settings[name]) for name in fields}
    row["seeds"] = len(group)
    row |= {f"{split}_rows": first["rows"].get(split, 0) for split in ("train", *SPLITS)}
    for split in SPLITS:
        found = [scores(record, split) for record in group]
        for metric in METRICS:
            values = [s[metric] for s in found if s is not None and metric in s]
            mean = statistics.fmean(values) if values else None
            deviation = _deviation(values)
            half = None if deviation is None else _half_interval(deviation, len(values))
            row[f"{split}_{metric}"] = mean
            row[f"{split}_{metric}_sd"] = deviation
            row[f"{split}_{metric}_low"] = None if mean is None or half is None else mean - half
            row[f"{split}_{metric}_high"] = None if mean is None or half is None else mean + half
        row[f"{split}_majority"] = first["majority"].get(split)
    row |= _speed(group)
    row["device"] = _device(first)
    row["threads"] = first["asked"]["threads"]
    row["versions"] = ", ".join(f"{module} {version}" for module, version in first["asked"]["versions"].items())
    row["revision"] = first["asked"]["revision"]
    row["note"] = _note(row)
    return row


def _deviation(values: list[float]) -> float | None:
    if len(values) < 2:
        return None
    return statistics.stdev(values) if all(map(math.isfinite, values)) else math.nan


def _half_interval(deviation: float, seeds: int) -> float:
    """Of the mean, at 95 %."""
    return float(student.ppf(0.975, seeds - 1)) * deviation / seeds**0.5


def _median(values: Iterable[float | None]) -> float | None:
    """Of those that are there: older records lack some."""
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def _speed(group: list[Record]) -> dict[str, float | None]:
    answers = [record["answer"] for record in group]
    seconds = [s for answer in answers for s in steady_epoch_seconds(answer)]
    epochs = [epoch for answer in answers for epoch in answer["epochs"]]
    return {
        "epoch_seconds": statistics.median(seconds),
        "examples_per_second": sum(e["rows"] for e in epochs) / sum(seconds),
        "tokens_per_second": sum(e["tokens"] for e in epochs) / sum(seconds),
        "floor_seconds": _median(record.get("work", {}).get("floor_seconds") for record in group),
        "times_floor": _median(record.get("work", {}).get("times_floor") for record in group),
        "padding_share": 1 - sum(e["tokens"] for e in epochs) / sum(e["padded_tokens"] for e in epochs),
        "first_step_seconds": statistics.median(a["first_step_seconds"] for a in answers),
        "start_seconds": statistics.median(a["start_seconds"] for a in answers),
        "peak_memory_bytes": max(a["peak_memory_bytes"] for a in answers),
        "cores_busy_with_others": max(r["circumstances"]["cores_busy_with_others"] for r in group),
    }


def _device(record: Record) -> str:
    machine = record["circumstances"]["machine"]
    device: str = record["asked"]["device"]
    return device if device == "cpu" else f"{device} ({machine['gpus'][int(device.split(':')[1])]})"


def _note(row: dict[str, Any]) -> str:
    notes = []
    for split in SPLITS:
        if row[f"{split}_accuracy"] is None:
            notes.append(f"{split} not scored: {'no labels' if row[f'{split}_rows'] else 'no such split'}")
        elif row[f"{split}_accuracy"] <= row[f"{split}_majority"]:
            notes.append(f"{split} accuracy not above the majority class")
    return "; ".join(notes)


def _shown(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """The two tables for people, every cell a string."""
    fields = list(table.columns[3 : table.columns.get_loc("seeds")])
    if table["model"].nunique() > 1:
        fields = ["model", *fields]
    keys = ["task", *fields, "backend"]
    table = table.rename(columns=SHORT)
    keys = [SHORT.get(key, key) for key in keys]
    alike = table.groupby(["task", "backend"])
    quality = table[keys + [name for name in APART if (alike[name].nunique() > 1).any()]].map(str)
    quality["seeds"] = table["seeds"].map(str)
    for split in SPLITS:
        for metric in METRICS:
            name = f"{split}_{metric}"
            if metric != METRICS[0] and table[[f"{each}_{metric}" for each in SPLITS]].isna().all(axis=None):
                continue  # no task here has it
            quality[f"{split} {SHOWN[metric]}"] = [
                _with_spread(*row) for row in table[[name, f"{name}_sd", f"{name}_low", f"{name}_high"]].values
            ]
        majority = table[f"{split}_majority"]
        quality[f"{split} accuracy"] += (table[f"{split}_accuracy"] <= majority).map({True: MARK, False: ""})
        quality[f"{split} majority"] = majority.map(lambda v: number(v, 3))
    speed = table[keys].map(str)
    speed["epoch s"] = table["epoch_seconds"].map(lambda v: number(v, 1))
    speed["examples/s"] = table["examples_per_second"].map(lambda v: number(v, 1))
    speed["real tokens/s"] = table["tokens_per_second"].map(lambda v: number(v, 0))
    speed["padded"] = table["padding_share"].map(lambda v: f"{100 * v:.0f} %")
    speed["floor s"] = table["floor_seconds"].map(lambda v: number(v, 1))
    speed["× floor"] = table["times_floor"].map(lambda v: number(v, 2))
    speed["first step s"] = table["first_step_seconds"].map(lambda v: number(v, 2))
    speed["peak MiB"] = table["peak_memory_bytes"].map(lambda v: number(v / 2**20, 0))
    speed["device"] = table["device"]
    speed["others' cores"] = table["cores_busy_with_others"].map(lambda v: number(v, 2))
    return [("Quality", quality), ("Speed", speed)]


def _legend(records: list[Record]) -> list[str]:
    machines = {
        f"{m['cpu']}, {m['cores']} cores" + (f", {', '.join(m['gpus'])}" if m["gpus"] else "")
        for m in (r["circumstances"]["machine"] for r in records)
    }
    threads = sorted({r["asked"]["threads"] for r in records})
    return [
        *QUALITY_LEGEND,
        "`epoch s`: median training time of an epoch, evaluation apart, the first step's tracing or compilation taken "
        "out (`first step s` has it)",
        "`floor s`: the least time of an epoch: operations on its real tokens by the rate of matrix products, the "
        "optimizer's bytes by the memory's, both measured around the run; `–` where they were not",
        "`others' cores`: how many cores other processes kept busy meanwhile; well above 0, the times are not to be "
        "trusted",
        f"measured on {'; '.join(sorted(machines))}; {', '.join(map(str, threads))} threads a worker",
    ]


def _with_spread(mean: Any, deviation: Any, low: Any, high: Any) -> str:
    return number(mean, 3) + (f" ± {deviation:.3f} [{low:.3f}, {high:.3f}]" if pd.notna(deviation) else "")


def _sortable(value: Any) -> tuple[int, Any]:
    if value in BACKENDS:
        return (1, list(BACKENDS).index(value))
    return (2, value) if isinstance(value, str) else (1, value)
