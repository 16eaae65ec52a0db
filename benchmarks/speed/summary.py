"""Medians over rounds, one row a variant."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from msgspec import UNSET, structs, to_builtins

from benchmarks.speed.results import Measured, Results, Took
from benchmarks.speed.sample import Sample
from benchmarks.speed.variants import Variant
from benchmarks.workers.attempts import DISTURBED
from shared.architecture import Architecture
from shared.flops import Work, floor_seconds, optimizer_bytes


@dataclass(frozen=True)
class Row:
    """A variant that was measured: medians over its rounds, in seconds and bytes. A ratio is None if the trainer that
    it is taken to was not measured."""

    variant: Variant
    epoch: Work
    """The epoch that its sample stands for."""
    seconds: np.ndarray
    """Seconds of the whole epoch, one a round: float [n]."""
    floor: float | None
    """The least seconds of a step, on average over the epoch; None if no framework multiplies in this precision."""
    dense_floor: float | None
    """The same if every row of the word embedding moves at every step; None if that is what `floor` says."""
    step_by_dense: float | None
    """A step's time by that of the same variant with dense updates; None for those."""
    step_by_trainer: float | None
    """A step's time by that of the library's own trainer padded to max_len."""
    step_by_best_trainer: float | None
    """A step's time by that of the fastest variant of the library's own trainer."""
    peak_by_trainer: float | None
    """Peak memory by that of the library's own trainer padded to max_len."""
    first_step_seconds: float
    compile_seconds: float
    """The first pass less the second."""
    start_seconds: float
    peak_memory_bytes: float
    busy_cores: float
    """Cores that others kept busy in the worst round that counts."""
    attempts: int
    """Attempts in all rounds."""

    @property
    def steps(self) -> np.ndarray:
        """Seconds of a step, by round: float [n]."""
        seconds: np.ndarray = self.seconds / self.epoch.steps
        return seconds

    @property
    def step(self) -> float:
        """Seconds of a step."""
        return float(np.median(self.steps))

    @property
    def whole(self) -> float:
        """Seconds of the whole epoch."""
        return float(np.median(self.seconds))

    @property
    def times_floor(self) -> float | None:
        """A step by its floor."""
        return None if self.floor is None else self.step / self.floor

    @property
    def times_dense_floor(self) -> float | None:
        """A step by the floor of dense updates."""
        return None if self.dense_floor is None else self.step / self.dense_floor

    @property
    def padding_share(self) -> float:
        """Padding's share of the tokens computed on."""
        return 1 - self.epoch.tokens / self.epoch.padded_tokens

    @property
    def disturbed(self) -> bool:
        """Whether a round that counts was disturbed."""
        return self.busy_cores > DISTURBED


def summarize(
    results: Results, variants: list[Variant], samples: dict[str, Sample], architecture: Architecture
) -> list[Row]:
    """The variants that were measured, in this order."""
    counted = {variant: results.counted(variant) for variant in variants}
    return [_row(results, variant, samples, architecture) for variant in variants if counted[variant]]


def _row(results: Results, variant: Variant, samples: dict[str, Sample], architecture: Architecture) -> Row:
    counted, sample = results.counted(variant), samples[variant.widths]
    padded = Variant(variant.backend, "max_length", trainer=True)
    dense = structs.replace(variant, embedding_update=UNSET)
    best = fastest_trainer(results, variant.backend, samples) or padded

    def seconds(made: Measured) -> float:
        return made.took.seconds * samples[made.variant.widths].scale

    def median(value: Callable[[Took], float]) -> float:
        return float(np.median([value(made.took) for made in counted]))

    return Row(
        variant=variant,
        epoch=sample.epoch,
        seconds=epoch_seconds(counted, sample),
        floor=floor(results, variant, sample, architecture, sample.touched),
        dense_floor=dense_floor(results, variant, sample, architecture) if sample.touched is not None else None,
        step_by_dense=ratio(counted, results.counted(dense), seconds) if variant != dense else None,
        step_by_trainer=ratio(counted, results.counted(padded), seconds),
        step_by_best_trainer=ratio(counted, results.counted(best), seconds),
        peak_by_trainer=ratio(counted, results.counted(padded), lambda made: float(made.took.peak_memory_bytes)),
        first_step_seconds=median(lambda took: took.first_step_seconds),
        compile_seconds=median(lambda took: max(0, took.first_pass_seconds - took.seconds)),
        start_seconds=median(lambda took: took.start_seconds),
        peak_memory_bytes=median(lambda took: took.peak_memory_bytes),
        busy_cores=max(made.busy_cores for made in counted),
        attempts=sum(made.variant == variant for made in results.measured),
    )


def epoch_seconds(counted: list[Measured], sample: Sample) -> np.ndarray:
    """Seconds of the whole epoch by each of these measurements, float [n]."""
    return np.array([made.took.seconds for made in counted]) * sample.scale


def fastest_trainer(results: Results, backend: str, samples: dict[str, Sample]) -> Variant | None:
    """The variant of the library's own trainer with the least median; None if none was measured."""
    measured = dict.fromkeys(m.variant for m in results.measured if m.variant.trainer and m.variant.backend == backend)
    return min(
        measured,
        key=lambda variant: float(np.median(epoch_seconds(results.counted(variant), samples[variant.widths]))),
        default=None,
    )


def floor(
    results: Results, variant: Variant, sample: Sample, architecture: Architecture, touched: int | None
) -> float | None:
    """The least seconds of a step, on average over the epoch, if so many rows of the word embedding move (None for all
    of them); None if no framework multiplies in this precision."""
    epoch = sample.epoch
    operations = epoch.real_flops if epoch.needed_flops is None else epoch.needed_flops
    return _least(results, variant, sample, architecture, operations, touched)


def dense_floor(results: Results, variant: Variant, sample: Sample, architecture: Architecture) -> float | None:
    """The same for whole layers, and an optimizer that moves every row."""
    return _least(results, variant, sample, architecture, sample.epoch.real_flops, None)


def _least(
    results: Results,
    variant: Variant,
    sample: Sample,
    architecture: Architecture,
    operations: int,
    touched: int | None,
) -> float | None:
    rate = results.best_rate(variant.precision)
    if rate is None:
        return None
    moved = optimizer_bytes(architecture, sample.recipe, 8 if variant.precision == "float64" else 4, touched)
    steps = sample.epoch.steps
    return floor_seconds(operations, steps, moved, rate, results.best_bandwidth()) / steps


def ratio(counted: list[Measured], others: list[Measured], value: Callable[[Measured], float]) -> float | None:
    """The median, over the rounds that both have, of a value by the other's; None if there is no such round."""
    by_round = {made.round: made for made in others}
    ratios = [value(made) / value(by_round[made.round]) for made in counted if made.round in by_round]
    return float(np.median(ratios)) if ratios else None


def frame(rows: list[Row]) -> pd.DataFrame:
    """The rows as raw values, for files; quartiles in columns `..._q1` and `..._q3`."""
    return pd.DataFrame([_flat(row) for row in rows])


def _flat(row: Row) -> dict[str, Any]:
    epoch = row.epoch
    flat: dict[str, Any] = {"mode": row.variant.name, **to_builtins(row.variant), "rounds": len(row.seconds)}
    for name, seconds in (("step_seconds", row.steps), ("epoch_seconds", row.seconds)):
        low, median, high = np.percentile(seconds, (25, 50, 75))
        flat |= {name: median, f"{name}_q1": low, f"{name}_q3": high}
    flat |= {
        "examples_per_second": epoch.rows / row.whole,
        "tokens_per_second": epoch.tokens / row.whole,
        "padding_share": row.padding_share,
        "step_real_flops": epoch.real_flops / epoch.steps,
        "step_all_flops": epoch.all_flops / epoch.steps,
        "floor_step_seconds": row.floor,
        "times_floor": row.times_floor,
        "step_by_stock": row.step_by_trainer,
        "step_by_best_stock": row.step_by_best_trainer,
        "first_step_seconds": row.first_step_seconds,
        "trace_seconds": row.compile_seconds,
        "start_seconds": row.start_seconds,
        "peak_memory_bytes": row.peak_memory_bytes,
        "peak_by_stock": row.peak_by_trainer,
        "busy_cores": row.busy_cores,
        "attempts": row.attempts,
    }
    by_rows = {
        "dense_floor_step_seconds": row.dense_floor,
        "times_dense_floor": row.times_dense_floor,
        "step_by_dense": row.step_by_dense,
    }
    return flat | {name: value for name, value in by_rows.items() if value is not None}
