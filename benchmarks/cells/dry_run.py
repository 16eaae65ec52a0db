"""Shows what a command would run: cells, units, and the hours that they take by records of like cells."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import heapreplace
from pathlib import Path

from benchmarks.cells.answer import Due, How, Known
from benchmarks.cells.engine import Engine, Unit
from benchmarks.cells.estimates import Estimates, shown_time
from benchmarks.cells.plan import Request, plan_cells
from benchmarks.workers.progress import terminal
from shared.records import each_record

SHOWN = 20
"""Units that are listed."""


def show_plan(request: Request, out: Path, how: How, engine: Engine, nodes: int | None) -> int:
    """Prints the plan, with its time on so many nodes; without `nodes`, on those that there are. Returns the exit code.
    Raises InputError."""
    cells = plan_cells(request, engine)
    known = {cell.id: found for cell in cells if (found := Known.of(out, cell))}
    due = Due.of(cells, out, how, known)
    units = engine.units(due.todo)
    console = terminal()
    for line in _plan(due, units, Estimates(each_record(out)), nodes or engine.slots):
        console.print(line, highlight=False, soft_wrap=True)
    return 0


def _plan(due: Due, units: Sequence[Unit], estimates: Estimates, nodes: int) -> Iterator[str]:
    yield due.shown("--rerun runs them again")
    times = [[estimates.seconds(cell) for cell in unit] for unit in units]
    known = [seconds for unit in times for seconds in unit if seconds is not None]
    mean = sum(known) / len(known) if known else 0.0
    sums = [sum(mean if seconds is None else seconds for seconds in unit) for unit in times]
    yield f"{len(units)} units; the cells of a unit run on one node, one after another"
    for unit, seconds in list(zip(units, sums, strict=True))[:SHOWN]:
        yield f"  {'; '.join(cell.title for cell in unit)}" + (f": {shown_time(seconds)}" if known else "")
    if len(units) > SHOWN:
        yield f"  and {len(units) - SHOWN} more"
    if not known:
        if units:
            yield "no record of a like cell tells how long they take; run one seed first"
        return
    unknown = len(due.todo) - len(known)
    if unknown:
        yield f"{unknown} cells count as the mean of the others: no record of a like cell tells"
    yield f"about {shown_time(makespan(sums, nodes))} on {nodes} nodes, {shown_time(sum(sums))} on one"


def makespan(seconds: Sequence[float], nodes: int) -> float:
    """The time until all units are done, if each starts on the node that is free first, in their order."""
    free = [0.0] * nodes
    for unit in seconds:
        heapreplace(free, free[0] + unit)
    return max(free)
