"""Tables, files and the picture of variants side by side."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
from msgspec import Struct, structs

from backends import BACKENDS
from benchmarks.reporting.numbers import number, quartiles
from benchmarks.reporting.page import Notes, Page, Picture, Table, write_csv
from benchmarks.reporting.pictures import Bar, draw_speed
from benchmarks.speed.asked import SpeedAsked
from benchmarks.speed.results import Rated, Results
from benchmarks.speed.sample import Sample
from benchmarks.speed.summary import Row, frame
from benchmarks.workers.attempts import DISTURBED
from shared.architecture import Architecture
from shared.files import to_json, write_whole
from shared.flops import Work, optimizer_bytes
from shared.recipe import Recipe

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

Columns = tuple[tuple[str, str, Callable[[Row], float | None]], ...]
"""A name, a format and a value each."""

TIME: Columns = (
    ("examples/s", ".1f", lambda row: row.epoch.rows / row.whole),
    ("real tokens/s", ".0f", lambda row: row.epoch.tokens / row.whole),
    ("padding", ".0%", lambda row: row.padding_share),
    ("floor s", ".3f", lambda row: row.floor),
    ("× floor", ".2f", lambda row: row.times_floor),
    ("× stock", ".3f", lambda row: row.step_by_trainer),
    ("× best stock", ".3f", lambda row: row.step_by_best_trainer),
)

BY_ROWS: Columns = (
    ("× dense floor", ".2f", lambda row: row.times_dense_floor),
    ("× dense", ".3f", lambda row: row.step_by_dense),
)
"""Columns that are shown if a row has a value."""

OF_ROWS = (
    "`× floor` counts the rows of the word embedding that the training split touches, and of the last layer what the "
    "classifier reads; `× dense floor` counts all of both; "
    "`× dense`: an update by rows by the same mode with dense updates, within a round"
)

AROUND: Columns = (
    ("GFLOP real", ".2f", lambda row: row.epoch.real_flops / row.epoch.steps / 1e9),
    ("GFLOP all", ".2f", lambda row: row.epoch.all_flops / row.epoch.steps / 1e9),
    ("first step s", ".2f", lambda row: row.first_step_seconds),
    ("trace s", ".2f", lambda row: row.compile_seconds),
    ("start s", ".2f", lambda row: row.start_seconds),
    ("peak MiB", ".0f", lambda row: row.peak_memory_bytes / 2**20),
    ("peak × stock", ".3f", lambda row: row.peak_by_trainer),
    ("rounds", ".0f", lambda row: len(row.seconds)),
    ("attempts", ".0f", lambda row: row.attempts),
    ("others' cores", ".2f", lambda row: row.busy_cores),
)


class Sampled(Struct, frozen=True, omit_defaults=True, rename={"once": "pass"}):
    """A sample, as speed.json has it."""

    recipe: Recipe
    once: Work
    """One pass over it."""
    epoch: Work
    touched: int | None = None
    """As the sample's."""


class Whole(Struct, frozen=True, rename={"rows": "modes"}):
    """The content of speed.json."""

    asked: SpeedAsked
    samples: dict[str, Sampled]
    rates: list[Rated]
    arguments: dict[str, dict[str, Any]]
    refused: dict[str, str]
    rows: list[dict[str, Any]]
    """The lines of speed.csv."""


def write_report(
    out: Path, results: Results, rows: list[Row], samples: dict[str, Sample], architecture: Architecture
) -> tuple[Page, list[str]]:
    """Writes under `out` speed.md, speed.csv, speed.json, rounds.csv with every attempt, and the picture. Returns the
    page, to be printed, and the files' names."""
    table = frame(rows)
    write_csv(out / "rounds.csv", attempts_frame(results))
    write_csv(out / "speed.csv", table)
    bars = [Bar(one.variant.name, one.variant.backend, one.steps, one.floor, one.variant.trainer) for one in rows]
    picture = draw_speed(out, bars, f"{results.asked.model} on {results.asked.task}")
    time, around = tables(rows)
    recipe = Recipe.from_json(results.asked.recipes[0])
    page = Page(
        [
            Table(time, "Time a step", names=1),
            Table(around, "Around it, a step or a process", names=1),
            Notes([*LEGEND, *notes(results, samples, recipe, architecture)]),
            Picture("seconds a step against the floor", picture),
        ]
    )
    page.write(out / "speed.md")
    whole = Whole(
        asked=results.asked,
        samples={
            widths: Sampled(sample.recipe, sample.work, sample.epoch, sample.touched)
            for widths, sample in samples.items()
        },
        rates=results.rates,
        arguments=results.arguments,
        refused=results.refused,
        rows=json.loads(table.to_json(orient="records")),  # not of `table` itself: NaN is no JSON
    )
    write_whole(out / "speed.json", to_json(whole, indent=1))
    return page, ["speed.md", "speed.csv", "speed.json", "rounds.csv", picture]


def attempts_frame(results: Results) -> pd.DataFrame:
    """Every attempt as raw values, a row each."""
    counted = {variant: results.counted(variant) for variant in {made.variant for made in results.measured}}
    return pd.DataFrame(
        [
            {
                "mode": made.variant.name,
                "round": made.round,
                "attempt": made.attempt,
                "counted": made in counted[made.variant],
                "disturbed": made.disturbed,
                "busy_cores": made.busy_cores,
                **structs.asdict(made.took),
            }
            for made in results.measured
        ]
    )


def tables(rows: list[Row]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Two tables whose cells are strings: the time of a step, and what is around it."""
    names = [row.variant.name + " !" * row.disturbed for row in rows]
    time = {
        "mode": names,
        "step s": [quartiles(row.seconds / row.epoch.steps, ".3f") for row in rows],
        "epoch s": [quartiles(row.seconds, ".1f") for row in rows],
    }
    by_rows = tuple(column for column in BY_ROWS if any(column[2](row) is not None for row in rows))
    return pd.DataFrame(time | _shown(rows, TIME + by_rows)), pd.DataFrame({"mode": names} | _shown(rows, AROUND))


def _shown(rows: list[Row], columns: Columns) -> dict[str, list[str]]:
    return {name: [number(value(row), form) for row in rows] for name, form, value in columns}


def notes(results: Results, samples: dict[str, Sample], recipe: Recipe, architecture: Architecture) -> list[str]:
    """The ground of the tables: machine, samples, rates, the trainers' arguments, and what was refused."""
    asked = results.asked
    touched = next(iter(samples.values())).touched
    return [
        *([] if touched is None else [OF_ROWS]),
        f"{asked.model} on {asked.task}, batch {recipe.batch_size}, max_len {recipe.max_len}, seed "
        f"{recipe.seed}; {', '.join([asked.machine.shown, *asked.machine.gpus])}; device {asked.device}, "
        f"{asked.workers_shown}",
        *([f"measured on {', '.join(results.nodes)}"] if results.nodes else []),
        *(
            f"{widths}: {sample.work.steps} of {sample.epoch.steps} steps, {sample.work.all_flops / 1e9:.1f} of "
            f"{sample.epoch.all_flops / 1e9:.1f} GFLOP"
            for widths, sample in samples.items()
        ),
        *_rate_notes(results, _moved(touched, architecture, recipe)),
        *(
            f"{name}: " + ", ".join(f"{key}={value}" for key, value in arguments.items())
            for name, arguments in results.arguments.items()
        ),
        *(f"{name}: refused: {reason}" for name, reason in results.refused.items()),
    ]


def _rate_notes(results: Results, moved: str) -> list[str]:
    lines = []
    for precision in sorted({precision for rated in results.rates for precision in rated.product}):
        able = [rated for rated in results.rates if precision in rated.product]
        best = max(able, key=lambda rated: rated.product[precision])
        least = min(rated.product[precision] for rated in able)
        lines.append(
            f"{precision} matrix products: {best.product[precision] / 1e9:.1f} GFLOP/s, by {best.backend}; the least "
            f"of the run {least / 1e9:.1f}"
        )
    fastest = max(results.rates, key=lambda rated: rated.bandwidth)
    lines.append(f"memory: {fastest.bandwidth / 1e9:.1f} GB/s, by {fastest.backend}; {moved}")
    for backend in results.asked.versions:
        if reason := BACKENDS[backend].lacks.get("probes"):
            lines.append(f"{backend}: its rates were not measured: {reason}")
    return lines


def _moved(touched: int | None, architecture: Architecture, recipe: Recipe) -> str:
    dense = f"{optimizer_bytes(architecture, recipe) / 1e6:.0f} MB"
    if touched is None:
        return f"the optimizer moves {dense} a step"
    return (
        f"the optimizer must move {optimizer_bytes(architecture, recipe, touched=touched) / 1e6:.0f} MB a step, with "
        f"{touched:,} of the word embedding's {architecture.vocab_size:,} rows, and with all of them {dense}"
    )
