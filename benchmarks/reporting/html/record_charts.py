"""Charts of records: scores against time, times against settings, learning curves, confusion matrices, pivots."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.reporting.html import vega
from benchmarks.reporting.html.document import As, Chart, Column, Data, Same, Shown, Where
from benchmarks.reporting.numbers import number
from benchmarks.reporting.rows import METRICS, SHORT, SHOWN, Row, Rows
from shared.answer import Details, Trained
from shared.limits import PICTURED_LABELS
from shared.records import SPLITS

CURVES = 1000
"""Runs whose learning curves and confusion matrices are embedded."""

POINTS = 40
"""Points of a training curve, each the mean of a stretch of steps: a single batch's loss is mostly noise."""

WIDE = 20
"""A chart's axis of times is logarithmic if they are more than this factor apart."""

MEASURES = {
    "epoch s": ("epoch_seconds", 1.0),
    "examples/s": ("examples_per_second", 1.0),
    "real tokens/s": ("tokens_per_second", 1.0),
    "first step s": ("first_step_seconds", 1.0),
    "peak MiB": ("peak_memory_bytes", 2.0**20),
}
"""Columns of the table of speed, each with that of raw values and the unit it is divided by."""

ENDS = ("epoch_seconds_q1", "epoch_seconds_q3")

PLACES = (Where("Task", "task"), Where("Model", "model"))
SETTINGS = Where("Settings", "settings")


@dataclass(frozen=True)
class RecordCharts:
    """Material of the charts of records."""

    rows: Rows
    raw: pd.DataFrame
    """A line a row, of raw values (`record_tables.frame`)."""
    quality: Shown
    speed: Shown

    def charts(self) -> list[Chart]:
        """The charts that these records have, the most telling first."""
        found = [self._score_by_time(), self._by_setting(), self._curves(), self._matrices()]
        return [chart for chart in found if chart]

    def pivot(self) -> Chart | None:
        """Max_len by batch size; None if the rows do not differ in either."""
        if not any(self.rows.differ(name) for name in ("max_len", "batch_size")):
            return None
        others = [name for name in self.rows.names[0] if name not in ("task", "model", "max_len", "batch", "backend")]
        return Chart(
            "pivot",
            "Length by batch size",
            "A table a backend, the shade from the least value to the largest. If several rows share a cell, it has "
            "the least, the largest and their number.",
            self._data,
            {"row": "max_len", "column": "batch", "group": "backend"},
            (*PLACES, As("Value", self._values("value")), *(Where(name, name, any=True) for name in others)),
            {"row": "max_len", "column": "batch"},
            kind="pivot",
        )

    @cached_property
    def scores(self) -> list[tuple[str, str]]:
        """Column of raw values and heading of every score that some row has: test before dev, the metric that decides
        first."""
        found = []
        for split in reversed(SPLITS):
            first = self.rows.rows[0].first.scores(split) or {}
            for metric in sorted(METRICS, key=lambda name: list(first).index(name) if name in first else len(first)):
                raw, heading = f"{split}_{metric}", f"{split} {SHOWN[metric]}"
                if heading in self.quality.columns and self.raw[raw].notna().any():
                    found.append((raw, heading))
        return found

    @cached_property
    def _tips(self) -> dict[str, str]:
        """Headings that name a row; the columns have the same names."""
        return {name: name for name in self.rows.names[0]}

    @cached_property
    def _numbers(self) -> dict[str, str]:
        """Headings of the settings whose values are numbers and differ, by the setting's name."""
        return {
            name: SHORT.get(name, name)
            for name in self.rows.settings
            if self.rows.differ(name) and all(isinstance(row.setting(name), int | float) for row in self.rows.rows)
        }

    @cached_property
    def _data(self) -> Data:
        columns: dict[str, Column] = {"model": [row.first.model for row in self.rows.rows]}
        columns |= {name: self.quality.column(name) for name in (*self.rows.names[0], "seeds")}
        for raw, heading in self.scores:
            columns |= {f"{raw}{end}": self._raw(f"{raw}{end}") for end in ("", "_low", "_high")}
            columns[f"{raw} shown"] = self.quality.column(heading)
        for heading, (raw, unit) in MEASURES.items():
            columns[raw] = self._raw(raw, unit)
            columns[f"{raw} shown"] = self.speed.column(heading)
        columns |= {end: self._raw(end) for end in ENDS}
        columns["none"] = Same(None)
        columns |= {f"{name} number": [row.setting(name) for row in self.rows.rows] for name in self._numbers}
        return Data.of("rows", columns)

    def _raw(self, name: str, unit: float = 1.0) -> list[float]:
        values: list[float] = (pd.to_numeric(self.raw[name]) / unit).tolist()
        return values

    def _log(self, name: str) -> bool:
        values = pd.to_numeric(self.raw[name])
        return bool(values.min() > 0 and values.max() > WIDE * values.min())

    def _values(self, field: str) -> dict[str, dict[str, str]]:
        """Options of a choice between all scores and measures."""
        found = [(heading, raw) for raw, heading in self.scores] + [(name, raw) for name, (raw, _) in MEASURES.items()]
        return {heading: {field: raw, "shown": f"{raw} shown"} for heading, raw in found}

    def _score_by_time(self) -> Chart | None:
        if not self.scores:
            return None
        score = {
            heading: {"y": raw, "low": f"{raw}_low", "high": f"{raw}_high", "shown": f"{raw} shown"}
            for raw, heading in self.scores
        }
        tips = self._tips | {"score": "shown", "epoch s": "time"}
        axes = {
            "x": vega.number_axis("x", "seconds of an epoch", self._log("epoch_seconds")),
            "y": vega.number_axis("y", "score"),
        }
        layers: list[vega.Spec] = [
            {"mark": vega.BAR, "encoding": {"y": {"field": "low"}, "y2": {"field": "high"}}},
            {"mark": vega.BAR, "encoding": {"x": {"field": "left"}, "x2": {"field": "right"}}},
            vega.points(tips),
        ]
        return Chart(
            "score-time",
            "Score against epoch time",
            "Up and to the left is better. A point is a row of the tables below; the upright bar is the mean's 95 % "
            "interval over the seeds, the level one the quartiles of the epochs' times. One seed has no interval.",
            self._data,
            self._tips | {"x": "epoch_seconds", "left": ENDS[0], "right": ENDS[1], "time": "epoch_seconds shown"},
            (*PLACES, As("Score", score)),
            tips,
            vega.chart("Score against epoch time", 340, layers, **axes, **self._backends()),
            titles={"y": "Score"},
        )

    def _by_setting(self) -> Chart | None:
        if not self._numbers:
            return None
        others = [name for name in self.rows.names[0] if name not in ("task", "model")]
        setting = {
            heading: {"x": f"{name} number", "line": [other for other in others if other != heading]}
            for name, heading in self._numbers.items()
        }
        measure = self._values("y")
        for name, option in measure.items():
            ends = ENDS if name == "epoch s" else (f"{option['y']}_low", f"{option['y']}_high")
            option |= dict(
                zip(("low", "high"), ends if ends[0] in self._data.columns else ("none", "none"), strict=True)
            )
        order = [*MEASURES, *(heading for _, heading in self.scores)]
        tips = self._tips | {"value": "shown"}
        axes = {
            "x": {"field": "x", "type": "ordinal", "title": "setting", "axis": {"labelAngle": 0}},
            "y": vega.number_axis("y", "value"),
        }
        layers: list[vega.Spec] = [
            {"mark": {"type": "line", "opacity": 0.6}, "encoding": {"detail": {"field": "line"}}},
            {"mark": vega.BAR, "encoding": {"y": {"field": "low"}, "y2": {"field": "high"}}},
            vega.points(tips),
        ]
        return Chart(
            "by-setting",
            "What a setting costs",
            "A line joins rows that differ in this setting alone. Bars are quartiles of times, or 95 % intervals of "
            "scores.",
            self._data,
            self._tips,
            (*PLACES, As("Setting", setting, varied=True), As("Measure", {name: measure[name] for name in order})),
            tips,
            vega.chart("A measure against a setting", 320, layers, **axes, **self._backends()),
            titles={"x": "Setting", "y": "Measure"},
        )

    def _backends(self) -> vega.Spec:
        return vega.by_backend("backend", [row.first.asked.backend for row in self.rows.rows])

    @cached_property
    def _drawn(self) -> list[_Drawn]:
        """The curves and matrices that are embedded: those of the comparisons of most runs."""
        groups: dict[tuple[str, ...], list[tuple[Row, dict[str, str]]]] = {}
        for row, names in zip(self.rows.rows, self.rows.names, strict=True):
            settings = {name: value for name, value in names.items() if name not in ("task", "model", "backend")}
            shown = ", ".join(f"{name} {value}" for name, value in settings.items())
            place = {"task": row.first.asked.task, "model": row.first.model, "settings": shown}
            groups.setdefault(tuple(place.values()), []).append((row, place))
        chosen: set[tuple[str, ...]] = set()
        runs = 0
        for key in sorted(groups, key=lambda key: -_runs(groups[key])):
            runs += _runs(groups[key])
            if chosen and runs > CURVES:
                break
            chosen.add(key)
        return [_Drawn.of(*pair) for key, group in groups.items() if key in chosen for pair in group]

    @property
    def _left_out(self) -> str:
        drawn, every = sum(one.runs for one in self._drawn), sum(len(row.records) for row in self.rows.rows)
        if drawn == every:
            return ""
        return f" They are of {drawn:,} of {every:,} runs, those of the comparisons of most runs."

    def _curves(self) -> Chart | None:
        lines = [line for one in self._drawn for line in one.curves]
        if not lines:
            return None
        tips = {"backend": "backend", "seed": "seed", "split": "split", "at the end": "end"}
        axes = {
            "x": {"field": "x", "type": "quantitative", "title": "epoch", "axis": {"tickMinStep": 1, "grid": False}},
            "y": vega.number_axis("y", ""),
        }
        dash = {
            "field": "split",
            "type": "nominal",
            "scale": {"domain": ["training", "dev"], "range": [[1, 0], [5, 3]]},
            "legend": {"symbolType": "stroke"},
        }
        run = {"detail": {"field": "seed"}, "strokeDash": dash}
        mean = {"y": {**axes["y"], "aggregate": "mean"}, "strokeDash": dash}
        layers: list[vega.Spec] = [
            {"mark": {"type": "line", "opacity": 0.25, "strokeWidth": 1, "aria": False}, "encoding": run},
            {"mark": {"type": "line", "strokeWidth": 2.5}, "encoding": mean},
            vega.points(tips, {"filter": "datum.split === 'dev'"}),
        ]
        spec = vega.chart("Learning curves", 320, layers, **axes, **self._backends())
        return Chart(
            "curves",
            "Learning curves",
            "A thin line a run, a thick one a backend's mean over the seeds. Training is the mean over stretches of "
            f"steps, with dropout on; dev is scored after each epoch.{self._left_out}",
            Data.of_rows("curves", lines),
            {name: name for name in ("backend", "seed", "split", "end", "x", "y")},
            (*PLACES, SETTINGS, Where("Curve", "measure")),
            tips,
            {**spec, "transform": [{"flatten": ["x", "y"]}]},
            titles={"y": "Curve"},
        )

    def _matrices(self) -> Chart | None:
        found = [matrix for one in self._drawn for matrix in one.matrices]
        if not found:
            return None
        return Chart(
            "matrices",
            "Confusion matrices",
            f"Rows of a split by label and by prediction, summed over the seeds; the shade is the share of the label's "
            f"rows. Of more than {PICTURED_LABELS} labels there is none.{self._left_out}",
            Data.of_rows("matrices", found),
            {name: name for name in ("group", "labels", "counts")},
            (*PLACES, SETTINGS, Where("Split", "split")),
            kind="matrices",
        )


@dataclass(frozen=True)
class _Drawn:
    """Rows of the embedded data, of a row's runs."""

    runs: int
    curves: list[dict[str, Any]]
    matrices: list[dict[str, Any]]

    @classmethod
    def of(cls, row: Row, place: dict[str, str]) -> _Drawn:
        """The row's runs, which are read again; `place` is its task, model and settings."""
        curves: list[dict[str, Any]] = []
        found: dict[str, list[Details]] = {}
        backend = row.first.asked.backend
        for record in row.records:
            answer, seed = record.whole().answer, str(record.recipe.seed)
            curves += [{**place, "backend": backend, "seed": seed, **curve} for curve in _curves(answer)]
            for split, details in answer.details.items():
                found.setdefault(split, []).append(details)
        matrices = [
            {**place, "split": split, "group": backend, **_matrix(found[split])}
            for split in reversed(SPLITS)
            if split in found and len(found[split][0].confusion) <= PICTURED_LABELS
        ]
        return cls(len(row.records), curves, matrices)


def _runs(rows: Iterable[tuple[Row, Mapping[str, str]]]) -> int:
    return sum(len(row.records) for row, _ in rows)


def _curves(answer: Trained) -> list[dict[str, Any]]:
    """The curves of a run: loss and accuracy, in training and on dev, against epochs."""
    steps = np.array([epoch.steps for epoch in answer.epochs], float)
    found = []
    for measure, by_step, scores in (
        ("loss", answer.step_loss, "loss"),
        ("accuracy", answer.step_accuracy, "accuracy"),
    ):
        if by_step and len(steps):
            ends = np.unique(np.linspace(0, len(by_step), min(POINTS, len(by_step)) + 1).astype(int))
            means = np.add.reduceat(np.array(by_step, float), ends[:-1]) / np.diff(ends)
            middles = (ends[:-1] + ends[1:]) / 2 / steps.mean()
            found.append(_curve(measure, "training", middles.tolist(), means.tolist()))
        dev = [(n, epoch.dev[scores]) for n, epoch in enumerate(answer.epochs, 1) if epoch.dev and scores in epoch.dev]
        if dev:
            found.append(_curve(measure, "dev", [n for n, _ in dev], [score for _, score in dev]))
    return found


def _curve(measure: str, split: str, x: Sequence[float], y: Sequence[float]) -> dict[str, Any]:
    shorter = [[float(f"{value:.4g}") for value in values] for values in (x, y)]
    return {"measure": measure, "split": split, "x": shorter[0], "y": shorter[1], "end": number(y[-1], ".3f")}


def _matrix(details: Sequence[Details]) -> dict[str, Any]:
    """Labels and counts, a line of the matrix after the other, summed over the seeds."""
    counts = np.sum([np.array(each.confusion) for each in details], axis=0)
    labels = list(details[0].report)[: len(counts)]  # averages follow the labels
    return {"labels": labels, "counts": counts.ravel().tolist()}
