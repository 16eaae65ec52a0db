"""What `benchmarks.speed` measured, as tables, files and a picture."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console

from benchmarks.reporting.pictures import draw_speed
from benchmarks.reporting.tables import print_table
from benchmarks.speed.modes import Mode
from benchmarks.speed.results import Measured, Results
from benchmarks.speed.sample import Sample
from benchmarks.workers.attempts import DISTURBED, quartiles
from shared.architecture import Architecture
from shared.files import write_whole
from shared.flops import floor_seconds, optimizer_bytes
from shared.recipe import Recipe

MISSING = "–"

LEGEND = (
    "`step s`: median (quartiles) over the rounds of an epoch's seconds by its steps, from the second pass over a "
    "sample of steps that stands for the epoch; `epoch s` is the whole epoch's",
    "`floor s`: a step's least time: operations of the real tokens by the highest rate of matrix products that any "
    "framework reached in this run in this precision, and the optimizer's bytes by the highest bandwidth",
    "`× stock`: by the same backend's stock trainer padded to max_len, within a round; so too `peak × stock`; "
    "`× best stock`: by the fastest of its stock modes",
    "`trace s`: how much longer the first pass took than the second, which has no shape to trace or to compile for",
    "`start s`: from the process's first line to the first step",
    f"`!`: other processes kept more than {DISTURBED} cores busy in every attempt at some round",
)


def summarize(
    results: Results, modes: list[Mode], samples: dict[str, Sample], architecture: Architecture
) -> pd.DataFrame:
    """One row a mode that was measured, in SI units; medians over the rounds, quartiles in `..._q1` and `..._q3`."""
    rows = []
    for mode in modes:
        counted = results.counted(mode)
        if not counted:
            continue
        sample = samples[mode.widths]
        epoch = sample.epoch
        seconds = epoch_seconds(counted, sample)
        least = floor(results, mode, sample, architecture)
        stock = Mode(mode.backend, "max_length", stock=True)
        best_stock = fastest_stock(results, mode.backend, samples) or stock
        row: dict[str, Any] = {"mode": mode.name, **mode.to_json(), "rounds": len(counted)}
        for name, divisor in (("step_seconds", epoch.steps), ("epoch_seconds", 1)):
            low, median, high = np.percentile(seconds / divisor, (25, 50, 75))
            row |= {name: median, f"{name}_q1": low, f"{name}_q3": high}
        row |= {
            "examples_per_second": epoch.rows / row["epoch_seconds"],
            "tokens_per_second": epoch.tokens / row["epoch_seconds"],
            "padding_share": 1 - epoch.tokens / epoch.padded_tokens,
            "step_real_flops": epoch.real_flops / epoch.steps,
            "step_all_flops": epoch.all_flops / epoch.steps,
            "floor_step_seconds": least,
            "times_floor": None if least is None else row["step_seconds"] / least,
            "step_by_stock": by_stock(results, counted, stock, samples, lambda m, s: float(epoch_seconds([m], s)[0])),
            "step_by_best_stock": by_stock(
                results, counted, best_stock, samples, lambda m, s: float(epoch_seconds([m], s)[0])
            ),
            "first_step_seconds": float(np.median([m.took.first_step_seconds for m in counted])),
            "trace_seconds": float(np.median([max(0, m.took.first_pass_seconds - m.took.seconds) for m in counted])),
            "start_seconds": float(np.median([m.took.start_seconds for m in counted])),
            "peak_memory_bytes": float(np.median([m.took.peak_memory_bytes for m in counted])),
            "peak_by_stock": by_stock(results, counted, stock, samples, lambda m, _: float(m.took.peak_memory_bytes)),
            "busy_cores": max(m.busy_cores for m in counted),
            "attempts": sum(m.mode == mode for m in results.measured),
        }
        rows.append(row)
    return pd.DataFrame(rows)


def epoch_seconds(counted: list[Measured], sample: Sample) -> np.ndarray:
    """What each of these says that the whole epoch takes, float [n]."""
    return np.array([m.took.seconds for m in counted]) * sample.scale


def fastest_stock(results: Results, backend: str, samples: dict[str, Sample]) -> Mode | None:
    """Of the backend's stock modes that were measured, the one with the least median."""
    measured = dict.fromkeys(m.mode for m in results.measured if m.mode.stock and m.mode.backend == backend)
    return min(
        measured,
        key=lambda mode: float(np.median(epoch_seconds(results.counted(mode), samples[mode.widths]))),
        default=None,
    )


def floor(results: Results, mode: Mode, sample: Sample, architecture: Architecture) -> float | None:
    """Seconds of a step, at least, on average over the epoch; None where no framework multiplies in this precision."""
    rate = results.best_rate(mode.precision)
    if rate is None:
        return None
    moved = optimizer_bytes(architecture, sample.recipe, 8 if mode.precision == "float64" else 4)
    return floor_seconds(sample.epoch, moved, rate, results.best_bandwidth()) / sample.epoch.steps


def by_stock(
    results: Results,
    counted: list[Measured],
    stock: Mode,
    samples: dict[str, Sample],
    value: Callable[[Measured, Sample], float],
) -> float | None:
    """The median over the rounds that both have of a value's ratio; None where the stock trainer was not measured."""
    others = {m.round: m for m in results.counted(stock)}
    ratios = [
        value(m, samples[m.mode.widths]) / value(others[m.round], samples[stock.widths])
        for m in counted
        if m.round in others
    ]
    return float(np.median(ratios)) if ratios else None


def tables(results: Results, table: pd.DataFrame, samples: dict[str, Sample]) -> list[tuple[str, pd.DataFrame]]:
    """Two tables for people, every cell a string."""
    modes = {mode.name: mode for mode in (m.mode for m in results.measured)}
    marks = table["busy_cores"].map(lambda v: " !" if v > DISTURBED else "")

    def quartiles_of(name: str, divide: bool, form: str) -> list[str]:
        shown = []
        for mode in (modes[m] for m in name_column):
            sample = samples[mode.widths]
            seconds = epoch_seconds(results.counted(mode), sample)
            shown.append(quartiles(seconds / sample.epoch.steps if divide else seconds, form))
        return shown

    name_column = table["mode"]
    time = pd.DataFrame({"mode": name_column + marks})
    time["step s"] = quartiles_of("step_seconds", True, ".3f")
    time["epoch s"] = quartiles_of("epoch_seconds", False, ".1f")
    for name, column, form in (
        ("examples/s", "examples_per_second", ".1f"),
        ("real tokens/s", "tokens_per_second", ".0f"),
        ("padding", "padding_share", ".0%"),
        ("floor s", "floor_step_seconds", ".3f"),
        ("× floor", "times_floor", ".2f"),
        ("× stock", "step_by_stock", ".3f"),
        ("× best stock", "step_by_best_stock", ".3f"),
    ):
        time[name] = [_shown(value, form) for value in table[column]]
    around = pd.DataFrame({"mode": name_column + marks})
    for name, column, form, unit in (
        ("GFLOP real", "step_real_flops", ".2f", 1e9),
        ("GFLOP all", "step_all_flops", ".2f", 1e9),
        ("first step s", "first_step_seconds", ".2f", 1),
        ("trace s", "trace_seconds", ".2f", 1),
        ("start s", "start_seconds", ".2f", 1),
        ("peak MiB", "peak_memory_bytes", ".0f", 2**20),
        ("peak × stock", "peak_by_stock", ".3f", 1),
        ("rounds", "rounds", ".0f", 1),
        ("attempts", "attempts", ".0f", 1),
        ("others' cores", "busy_cores", ".2f", 1),
    ):
        around[name] = [_shown(None if pd.isna(value) else value / unit, form) for value in table[column]]
    return [("Time a step", time), ("Around it, a step or a process", around)]


def notes(results: Results, samples: dict[str, Sample], recipe: Recipe, architecture: Architecture) -> list[str]:
    """What the tables rest on: machine, samples, rates, the stock trainers' arguments, and what was refused."""
    asked = results.asked
    machine = asked["machine"]
    processors = ", ".join([f"{machine['cpu']}, {machine['cores']} cores", *machine["gpus"]])
    lines = [
        f"{asked['model']} on {asked['task']}, batch {recipe.batch_size}, max_len {recipe.max_len}, seed "
        f"{recipe.seed}; {processors}; device {asked['device']}, {asked['threads']} threads"
    ]
    for padding, sample in samples.items():
        lines.append(
            f"{padding}: {sample.work.steps} of {sample.epoch.steps} steps, {sample.work.all_flops / 1e9:.1f} of "
            f"{sample.epoch.all_flops / 1e9:.1f} GFLOP"
        )
    for precision in sorted({p for r in results.rates for p in r.product}):
        best = max((r for r in results.rates if precision in r.product), key=lambda r: r.product[precision])
        each = [r.product[precision] / 1e9 for r in results.rates if precision in r.product]
        lines.append(
            f"{precision} matrix products: {best.product[precision] / 1e9:.1f} GFLOP/s, by {best.backend}; the least "
            f"of the run {min(each):.1f}"
        )
    fastest = max(results.rates, key=lambda r: r.bandwidth)
    lines.append(
        f"memory: {fastest.bandwidth / 1e9:.1f} GB/s, by {fastest.backend}; the optimizer moves "
        f"{optimizer_bytes(architecture, recipe) / 1e6:.0f} MB a step"
    )
    for name, arguments in results.arguments.items():
        lines.append(f"{name}: " + ", ".join(f"{key}={value}" for key, value in arguments.items()))
    lines += [f"{name}: refused: {reason}" for name, reason in results.refused.items()]
    return lines


def write_report(
    out: Path, results: Results, table: pd.DataFrame, samples: dict[str, Sample], lines: list[str]
) -> list[str]:
    """Under `out`: rounds.csv with every attempt, speed.csv, speed.md, speed.json, the picture. Gives their names."""
    rounds = [
        {
            "mode": m.mode.name,
            "round": m.round,
            "attempt": m.attempt,
            "counted": m in results.counted(m.mode),
            "disturbed": m.disturbed,
            "busy_cores": m.busy_cores,
            **asdict(m.took),
        }
        for m in results.measured
    ]
    write_whole(out / "rounds.csv", pd.DataFrame(rounds).to_csv(index=False, float_format="%.6g"))
    write_whole(out / "speed.csv", table.to_csv(index=False, float_format="%.6g"))
    picture = draw_speed(out, table, f"{results.asked['model']} on {results.asked['task']}")
    parts = [
        f"## {title}\n\n{part.to_markdown(index=False, disable_numparse=True)}\n"
        for title, part in tables(results, table, samples)
    ]
    parts.append("\n".join(f"- {line}" for line in (*LEGEND, *lines)) + "\n")
    write_whole(out / "speed.md", "\n".join([*parts, f"![seconds a step against the floor]({picture})\n"]))
    whole = {
        "asked": results.asked,
        "samples": {
            name: {"recipe": s.recipe.to_json(), "pass": asdict(s.work), "epoch": asdict(s.epoch)}
            for name, s in samples.items()
        },
        "rates": [asdict(rates) for rates in results.rates],
        "arguments": results.arguments,
        "refused": results.refused,
        "modes": json.loads(table.to_json(orient="records")),
    }
    write_whole(out / "speed.json", json.dumps(whole, indent=1))
    return ["speed.md", "speed.csv", "speed.json", "rounds.csv", picture]


def print_report(
    console: Console, results: Results, table: pd.DataFrame, samples: dict[str, Sample], lines: list[str]
) -> None:
    for title, part in tables(results, table, samples):
        print_table(console, title, part, names=1)
    for line in (*LEGEND, *lines):
        console.print(f"- {line}", style="dim", highlight=False, markup=False)


def _shown(value: Any, form: str) -> str:
    return MISSING if pd.isna(value) else format(value, form)
