"""Records of different hardware in one folder, and records whose times mean nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from msgspec.structs import replace

from benchmarks.reporting.gates import Gate
from benchmarks.reporting.gating import cells_of, outcomes
from benchmarks.reporting.html.page import write_html
from benchmarks.reporting.pairs import pairs_of
from benchmarks.reporting.record_tables import MIXED_LEGEND, Tables, frame, write_tables
from benchmarks.reporting.rows import PACKED, Rows
from benchmarks.reporting.tidy import cells_frame, epochs_frame
from shared.recipe import Recipe
from shared.records import Place, Record
from tests.factories import MACHINE, epoch, record

TIMES = ("epoch_s", "examples_per_s", "tokens_per_s", "times_floor", "first_step_s", "start_s", "test_s", "all_s")
FAST = replace(MACHINE, cpu="Fast CPU")


def made(seed: int, backend: str = "torch", seconds: float = 10.0, fast: bool = False) -> Record:
    """A record whose epoch took so long, on one of two machines."""
    one = record(Recipe(seed=seed), backend, epochs=[epoch(seconds)], test=0.7 + seed / 100)
    machine = FAST if fast else MACHINE
    return replace(one, circumstances=replace(one.circumstances, machine=machine))


def packed(one: Record) -> Record:
    """The record, made with --exclusive no."""
    time = "2026-01-01T00:00:00.000+00:00"
    place = Place(node="n", host="h", alone=False, attempts=1, started=time, ended=time)
    return replace(one, circumstances=replace(one.circumstances, place=place))


def test_nothing_is_averaged_over_different_hardware() -> None:
    table = frame([made(1, seconds=10), made(2, seconds=12), made(3, seconds=4, fast=True)])
    found = {row["machine"].split(",")[0]: (row["seeds"], row["epoch_seconds"]) for _, row in table.iterrows()}
    assert found == {"Toy CPU": (2, pytest.approx(11.0, abs=1.0)), "Fast CPU": (1, pytest.approx(4.0, abs=1.0))}


def test_the_table_says_that_rows_are_of_different_hardware(tmp_path: Path) -> None:
    write_tables(tmp_path, [made(1), made(2, fast=True)])
    page = (tmp_path / "table.md").read_text()
    assert MIXED_LEGEND in page
    assert "| machine " in page
    write_tables(tmp_path, [made(1), made(2)])
    page = (tmp_path / "table.md").read_text()
    assert MIXED_LEGEND not in page
    assert "| machine " not in page


def test_only_cells_of_the_same_hardware_are_compared() -> None:
    rows = Rows.of([made(1), made(1, "gluon", fast=True), made(2, fast=True), made(2, "gluon", fast=True)])
    pairs = pairs_of(rows)
    assert [list(pair.by_seed) for pair in pairs] == [[2]]


def test_packed_cells_have_scores_and_no_times() -> None:
    alone, other = made(1, seconds=10), packed(made(2, seconds=1000))
    (row,) = Rows.of([alone, other]).rows
    speed = row.speed()
    assert speed is not None
    assert speed.epoch_seconds == pytest.approx(10, abs=1)
    accuracy = row.scores("test", "accuracy")
    assert accuracy is not None
    assert accuracy.mean == pytest.approx(np.mean([0.71, 0.72]))
    (row,) = Rows.of([other]).rows
    assert row.speed() is None
    assert row.note() == PACKED


def test_pairs_leave_out_times_that_mean_nothing() -> None:
    records = [made(1), packed(made(2)), made(1, "gluon", seconds=20), made(2, "gluon", seconds=900)]
    (pair,) = pairs_of(Rows.of(records))
    assert list(pair.by_seed) == [1, 2]
    assert pair.epoch_ratios() == pytest.approx([2.0], abs=0.3)


def test_gates_compare_what_the_same_hardware_answered() -> None:
    records = [made(1), made(1, "gluon", seconds=20), made(1, "gluon", seconds=900, fast=True)]
    gate = Gate.parse("gluon.epoch_s > 3 * torch.epoch_s")
    assert [one.state for one in outcomes(gate, Rows.of(records), cells_of(records))] == ["passes"]
    apart = [made(1), made(1, "gluon", fast=True)]
    assert list(outcomes(gate, Rows.of(apart), cells_of(apart))) == []


def test_a_tidy_table_has_no_time_that_means_nothing() -> None:
    records = [made(1), packed(made(2))]
    alone, other = cells_frame(records).to_dict("records")
    assert (alone["alone"], other["alone"], other["node"]) == (True, False, "h")
    assert other["test_accuracy"] == pytest.approx(0.72)
    times = [name for name in TIMES if not pd.isna(other[name])]
    assert times == []
    assert not pd.isna(alone["epoch_s"])
    assert epochs_frame(records)["epoch_s"].isna().tolist() == [False, True]
    assert epochs_frame(records)["dev_s"].isna().tolist() == [False, True]


def test_the_page_tells_of_hardware_and_of_times_that_mean_nothing(tmp_path: Path) -> None:
    """A point of a chart, and a line, are of one kind of machine."""
    records = [made(1), made(1, fast=True), packed(made(2)), made(1, "gluon")]
    write_html(tmp_path, Tables.of(records))
    page = (tmp_path / "report.html").read_text()
    assert "1 training of 4 shared its cores (--exclusive no)" in page
    assert "Several kinds of machine: nothing is averaged over them." in page
    rows = Rows.of(records)
    assert [names["machine"] for names in rows.names] == [row.machine() for row in rows.rows]
    write_html(tmp_path, Tables.of([made(1)]))
    page = (tmp_path / "report.html").read_text()
    assert "--exclusive no" not in page
    assert "Several kinds of machine" not in page
