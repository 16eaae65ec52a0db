"""The work of benchmarks.run: plans the cells, answers them, and shows how they compare."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console

from benchmarks.cells.answer import Answers, How, answer_cells, told_diverged
from benchmarks.cells.engine import LOCAL, Engine
from benchmarks.cells.plan import Cell, Request, plan_cells
from benchmarks.reporting.current import are_current, remember, state_of_records
from benchmarks.workers.progress import terminal
from shared.checkpoint.sources import shown_model
from shared.errors import one_line, tell
from shared.limits import PRINTED_ROWS
from shared.presets import Preset
from shared.records import Records, record_files, record_path

SHOWN = 3
"""Cells that are named with their failures."""


def compare(request: Request, out: Path, how: How, engine: Engine = LOCAL) -> int:
    """Has the engine run the cells that are not answered yet, as `how` says, writes records and tables, and prints
    them. Returns the exit code. Raises InputError."""
    cells = plan_cells(request, engine)

    from benchmarks.reporting.look import look

    console = terminal()
    if request.preset:
        _print_preset(console, request.preset, cells)
    for line in look(cell.question for cell in cells):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    _print_starts(console, cells)
    try:
        answers = answer_cells(console, cells, out, "--rerun runs them again", how, engine)
    finally:
        if any(record_path(out, cell.id).is_file() for cell in cells) and not are_current(out):
            _write_tables(out)
    if answers.answered:
        _print_tables(console, answers, out)
        console.print(f"\n{out}/table.md and table.csv hold every record of {out}/records", style="dim")
        console.print(f"{out}/report.html shows them in a browser, with charts", style="dim")
        if request.preset:
            console.print(f"{out}/published.md sets them beside what was reported", style="dim")
    for line in _troubles(answers):
        tell(f"benchmarks.run: {line}")
    return answers.code


def _write_tables(out: Path) -> None:
    """Writes the tables of all records under `out`. If one was left aside, the next command reads all again, to name
    it."""
    from benchmarks.reporting.html.page import write_html
    from benchmarks.reporting.published import write_published
    from benchmarks.reporting.record_tables import Tables

    state, records = state_of_records(out), Records(out)
    tables = Tables.of(records)
    tables.write(out)
    write_published(out, tables.published())
    write_html(out, tables)
    if len(records) == len(record_files(out)):
        remember(out, state)


def _print_tables(console: Console, answers: Answers, out: Path) -> None:
    """Shows the tables of the cells that are answered. If none ran, and there are more rows than are shown, their files
    have it all."""
    rows = {cell.asked.without("seed") for cell in answers.answered}
    if answers.ran or len(rows) <= PRINTED_ROWS:
        from benchmarks.reporting.record_tables import print_tables

        print_tables(console, Records(out, (cell.id for cell in answers.answered)))


def _troubles(answers: Answers) -> Iterator[str]:
    """Lines about each reason why the exit code is not 0."""
    if answers.before:
        lines = [one_line(failure.line) for failure in answers.before]
        more = [f"and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
        yield f"{len(lines)} cells failed before; pass --retry to run them again: {'; '.join(lines[:SHOWN] + more)}"
    if answers.failed:
        left_out = f", and {answers.left_out} were left out" if answers.left_out else ""
        yield f"{len(answers.failed)} of {answers.ran} cells failed{left_out}"
    if answers.diverged:
        yield told_diverged(answers.diverged)


def _print_starts(console: Console, cells: Sequence[Cell]) -> None:
    """Prints what is not plain of the head and the pooler that each question starts from."""
    questions = (cell.question for cell in cells)
    lines = (f"{shown_model(q.model)} for {q.task.name}: {line}" for q in questions for line in q.start.remarks())
    for line in dict.fromkeys(lines):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _print_preset(console: Console, preset: Preset, cells: Sequence[Cell]) -> None:
    overridden = dict.fromkeys(name for cell in cells if cell.preset for name in cell.preset.overridden)
    line = f"recipe {preset.name}: {preset.title}"
    if overridden:
        line += f"; overridden: {', '.join(overridden)}"
    console.print(line, highlight=False, markup=False, soft_wrap=True)
