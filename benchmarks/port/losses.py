"""Checks a port by its training losses alone: whether the reference has the same, or with which known mistakes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from msgspec import Struct

from benchmarks.parity.rungs import RUNG
from benchmarks.port.answers import Answers
from benchmarks.port.csv_files import Table, half_digits, read_table
from benchmarks.port.reference import Reference
from benchmarks.workers.progress import RunProgress
from shared.errors import InputError
from shared.pack import Pack
from shared.reference import ExplainLosses, LossesExplained, Ranked

RUNS = ("train", "steep")
"""Runs whose losses can be checked."""


class LossFound(Struct, frozen=True, kw_only=True):
    """One loss beside the reference's."""

    run: str
    step: int
    mine: float
    exact: float
    """The reference's, in float64."""
    bound: float
    share: float
    """The difference by its bound."""


class LossesChecked(Struct, frozen=True, kw_only=True):
    """The result of a check by losses."""

    pack: str
    about: str
    holds: bool
    """The reference's own losses lie within the bounds."""
    losses: list[LossFound]
    digits: float
    """The largest half digit that the losses were rounded to, as a share of its bound."""
    explained: LossesExplained | None = None
    """None if it holds."""

    @property
    def best(self) -> Ranked | None:
        """The mistakes that explain the losses best; None if none does."""
        return self.explained.within[0] if self.explained and self.explained.within else None


@dataclass(frozen=True)
class Course:
    """The losses of a run, by step."""

    losses: list[float]
    halves: list[float]
    """Half a unit of the last digit of each."""


def check_losses(pack: Pack, file: Path, reference: Reference, progress: RunProgress) -> LossesChecked:
    """Checks the losses of a file. Raises InputError and ProcessFailed."""
    mine = read_losses(file, pack)
    answers = Answers.to(pack, reference)
    losses = {run: course.losses for run, course in mine.items()}
    limits = {run: bounds(answers, pack, run, course.halves) for run, course in mine.items()}
    holds = within(answers, pack, losses, limits)
    explained = None
    if not holds:
        progress.begin("known mistakes, each alone, then pairs")
        question = ExplainLosses(
            pack=str(pack.folder.absolute()), losses=losses, limits=limits, threads=reference.threads
        )
        explained = reference.ask(question, LossesExplained, progress.event)
        progress.end(f"{explained.tried} trainings of the reference")
    return LossesChecked(
        pack=pack.contents.id,
        about=pack.contents.about,
        holds=holds,
        losses=_beside(answers, pack, losses, limits),
        digits=max(
            half / limit for run, course in mine.items() for half, limit in zip(course.halves, limits[run], strict=True)
        ),
        explained=explained,
    )


def read_losses(file: Path, pack: Pack) -> dict[str, Course]:
    """The losses of a file by run, one for each step of the pack's run. Raises InputError."""
    table = read_table(file, ("step", "loss"))
    runs = table.columns.get("run", ["train"] * len(table.lines))
    for run, line in zip(runs, table.lines, strict=True):
        if run not in RUNS:
            raise InputError(f"{table.file}, line {line}: run is {run!r}; runs that train are {' and '.join(RUNS)}")
    losses, halves = table.numbers("loss"), half_digits(table.column("loss"))
    found: dict[str, Course] = {}
    for run in (run for run in RUNS if run in runs):
        rows = [row for row, name in enumerate(runs) if name == run]
        order = _in_order(table, rows, run, len(pack.run(run).steps))
        found[run] = Course([losses[row] for row in order], [halves[row] for row in order])
    return found


def _in_order(table: Table, rows: list[int], run: str, count: int) -> list[int]:
    """The rows of a run by their steps, which count from 0 or 1 if they are there. Raises InputError unless each of
    `count` steps is there once."""
    if len(rows) != count:
        raise InputError(
            f"{table.file} has {len(rows)} losses of run {run}, and the pack's has {count} steps; give the loss of each"
        )
    if "step" not in table.columns:
        return rows
    steps = table.counts("step")
    order = sorted(rows, key=lambda row: steps[row])
    first = steps[order[0]]
    if first not in (0, 1) or [steps[row] for row in order] != list(range(first, first + count)):
        raise InputError(f"{table.file}: the steps of run {run} are not 1 to {count}, each once; correct column step")
    return order


def bounds(answers: Answers, pack: Pack, run: str, halves: list[float]) -> list[float]:
    """The bound on each loss of a run: that of the rung, and half a digit for losses that were rounded."""
    name = _rung(run)
    noises = answers.noises.from_pack[name]
    each = [max(answers.noises.factor * noises[step.name], RUNG[name].absolute) for step in pack.run(run).steps]
    return [bound + half for bound, half in zip(each, halves, strict=True)]


def within(answers: Answers, pack: Pack, mine: dict[str, list[float]], limits: dict[str, list[float]]) -> bool:
    """Whether the reference's own losses are the port's."""
    return all(found.share <= 1 for found in _beside(answers, pack, mine, limits))


def _beside(
    answers: Answers, pack: Pack, mine: dict[str, list[float]], limits: dict[str, list[float]]
) -> list[LossFound]:
    found = []
    for run, losses in mine.items():
        exact = answers.exact.of_rung(_rung(run))
        assert exact is not None
        for step, loss, bound in zip(pack.run(run).steps, losses, limits[run], strict=True):
            right = float(exact[step.name])
            share = abs(loss - right) / bound
            found.append(LossFound(run=run, step=int(step.name), mine=loss, exact=right, bound=bound, share=share))
    return found


def _rung(run: str) -> str:
    return "losses" if run == "train" else "losses, steep"
