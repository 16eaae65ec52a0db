"""Profiles a training step on each backend: prints a table of operators for each, and writes them all to a file."""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd
from msgspec import structs

from backends import BACKENDS, check_padding, check_precision
from backends.operators import Profile
from benchmarks.reporting.page import Table, write_csv
from benchmarks.workers.conversion import converter
from benchmarks.workers.environments import find_environments
from benchmarks.workers.launcher import run_script
from benchmarks.workers.machine import choose_threads
from benchmarks.workers.progress import terminal
from shared.checkpoint.config import read_architecture
from shared.checkpoint.sources import resolve_model
from shared.errors import ProcessFailed
from shared.job import Precision
from shared.recipe import Recipe


@dataclass(frozen=True)
class Step:
    """The training step to profile."""

    batch_size: int
    width: int
    """Tokens that rows are padded to."""
    tokens: int
    """Real tokens of a row."""
    precision: Precision
    padding: Literal["max_length", "none"] = "max_length"
    """As `Recipe.padding`: `none` computes on the real tokens alone."""

    @property
    def recipe(self) -> Recipe:
        """The recipe of such steps."""
        return Recipe(max_len=self.width, batch_size=self.batch_size, padding=self.padding)


def profile_step(
    step: Step,
    backends: list[str],
    model: str,
    repeats: int,
    top: int,
    pythons: dict[str, Path],
    threads: int | None,
    out: Path,
) -> int:
    """Profiles the step so often on each backend. Prints the `top` operators and writes all of them to
    `out`/profile.csv. Returns the exit code: 1 if a backend failed. Raises InputError."""
    for backend in backends:
        BACKENDS[backend].module("probes")  # refuses a backend without a profiler
        check_precision(backend, "cpu", step.precision)
        check_padding(backend, step.recipe)
    threads = choose_threads(threads)
    environments = find_environments(backends, pythons)
    checkpoint = resolve_model(model, converter(pythons))
    read_architecture(checkpoint, step.recipe, 2)
    console, found, code = terminal(), [], 0
    for backend in backends:
        try:
            profile = _profile(backend, environments[backend].python, checkpoint, step, repeats, threads)
        except ProcessFailed as failure:
            print(f"benchmarks.profile: {backend} failed: {failure}", *failure.tail, sep="\n  | ", file=sys.stderr)
            code = failure.code
            continue
        table = operators_frame(profile)
        found.append(table.assign(backend=backend, step_seconds=profile.step, width=step.width, tokens=step.tokens))
        operators_table(backend, step, profile.step, table, top).print(console)
    if found:
        write_csv(out / "profile.csv", pd.concat(found), form=None)
        console.print(f"{out}: profile.csv, with every operator", style="dim")
    return code


def _profile(backend: str, python: Path, checkpoint: Path, step: Step, repeats: int, threads: int) -> Profile:
    """Raises ProcessFailed."""
    command = [python, "-m", "backends.operators", backend, checkpoint]
    command += [step.batch_size, step.width, step.tokens, repeats, threads, step.precision, step.padding]
    with tempfile.TemporaryDirectory() as scratch:
        return run_script(command, Path(scratch) / "answer.json", threads, Profile, {"CUDA_VISIBLE_DEVICES": ""})


def operators_frame(profile: Profile) -> pd.DataFrame:
    """The operators as raw values, the costliest first, with their shares of the operators' time."""
    table = pd.DataFrame([structs.asdict(one) for one in profile.operators]).sort_values("seconds", ascending=False)
    return table.assign(share=table["seconds"] / table["seconds"].sum())


def operators_table(backend: str, step: Step, step_seconds: float, operators: pd.DataFrame, top: int) -> Table:
    """The costliest operators of a backend."""
    shown = pd.DataFrame(
        {
            "operator": operators["operator"],
            "calls a step": operators["calls"].map("{:.0f}".format),
            "ms a step": (operators["seconds"] * 1e3).map("{:.1f}".format),
            "share": operators["share"].map("{:.1%}".format),
        }
    )
    padded = "not padded" if step.padding == "none" else f"padded to {step.width}"
    title = (
        f"{backend}: a step of {step.batch_size} rows of {step.tokens} tokens, {padded}, takes "
        f"{step_seconds:.3f} s, and its operators {operators['seconds'].sum():.3f} s under the profiler"
    )
    return Table(shown.head(top), title)
