"""The measurement of what a cell costs its command."""

from __future__ import annotations

from pathlib import Path

from benchmarks.cluster.cost import answering_at_once, engine_at, measure, packages, request_of
from shared.records import read_records
from shared.tasks import get_task


def test_the_cost_is_that_of_cells_that_are_answered(tmp_path: Path) -> None:
    rows = {name: len(part) for name, part in get_task("acceptability").load(None).items()}
    with engine_at(None, answering_at_once(rows, packages())) as engine:
        cost = measure(engine, request_of(16), tmp_path)
    assert cost.cells == 16
    records = read_records(tmp_path)
    assert len({record.id for record in records}) == 16
    assert {record.circumstances.place.host for record in records if record.circumstances.place} == {"imitated"}
    assert len(cost.memory) == 4
    assert min(cost.planned, cost.answered) > 0
