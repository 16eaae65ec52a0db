"""Checks recordings, one after another here or each on a node of a cluster, and sets the verdicts side by side."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from benchmarks.cli.options import chosen_pythons
from benchmarks.port.check import Asked, Checked
from benchmarks.port.checking import check_recording
from benchmarks.port.cost import CostAsked
from benchmarks.port.costing import add_cost
from benchmarks.port.report import SHOWN, STYLES
from benchmarks.reporting.page import Table
from benchmarks.workers.progress import terminal
from shared.errors import InputError, ProcessFailed, tell
from shared.files import from_json
from shared.pack import Pack

if TYPE_CHECKING:
    from benchmarks.cluster.engine import RayEngine


@dataclass(frozen=True)
class Outcome:
    """The end of a check."""

    code: int
    """0 if every rung that was seen holds, 1 if one does not or a process failed, 2 for bad input."""
    checked: Checked | None
    """None if it was not checked."""


def check_each(
    pack: Path,
    reports: Mapping[Path, Path],
    asked: Asked,
    cost: CostAsked | None,
    pythons: dict[str, Path],
    threads: int,
) -> int:
    """Checks each recording here, and writes its report in the folder that `reports` has for it. If there are several,
    one that cannot be checked does not keep the others from it. Returns the worst exit code. Raises InputError and
    ProcessFailed."""

    def checked(recording: Path, out: Path) -> Outcome:
        found = check_recording(pack, recording, out, asked, pythons, threads)
        if cost is not None:
            found = add_cost(found, pack, cost, out, pythons, threads)
        return Outcome(0 if found.holds else 1, found)

    if len(reports) == 1:
        ((recording, out),) = reports.items()
        return checked(recording, out).code
    Pack.read(pack)
    outcomes: dict[Path, Outcome] = {}
    for number, (recording, out) in enumerate(reports.items(), 1):
        terminal().print(f"\n[{number}/{len(reports)}] {recording}", highlight=False, markup=False, soft_wrap=True)
        try:
            outcomes[recording] = checked(recording, out)
        except (InputError, ProcessFailed) as error:
            code = error.code if isinstance(error, ProcessFailed) else 2
            outcomes[recording] = Outcome(code, None)
            tell(f"benchmarks.port: {recording}: {error}")
    return _worst(outcomes)


def check_there(options: argparse.Namespace, reports: Mapping[Path, Path], cluster: RayEngine) -> int:
    """Has each recording checked on a node of the cluster. Returns the worst exit code. Raises InputError."""
    from benchmarks.cluster.arguments import arguments_of, given
    from benchmarks.cluster.commands import Command, run_commands

    for recording in reports:
        if not recording.is_dir():
            raise InputError(f"there is no folder {recording}; pass one that your script recorded into")
    Pack.read(options.pack)
    more = arguments_of(cluster, options.parser, options, but={"recordings", "report"})
    travel, pythons = cluster.cluster.travel, chosen_pythons(options.python)
    commands = [
        Command(
            str(recording),
            "benchmarks.port",
            ["check", given(travel, recording), *more],
            ["torch"],
            pythons,
            out,
            "--report",
        )
        for recording, out in reports.items()
    ]
    outcomes = {
        recording: Outcome(ran.code, _read(out) if "check.json" in ran.written else None)
        for (recording, out), ran in zip(reports.items(), run_commands(cluster, commands), strict=True)
    }
    return _worst(outcomes)


def _read(out: Path) -> Checked:
    return from_json((out / "check.json").read_bytes(), Checked)


def _worst(outcomes: Mapping[Path, Outcome]) -> int:
    """Shows the verdicts if there are several. Returns the worst exit code."""
    if len(outcomes) > 1:
        rows = [{"recording": str(recording), **_row(outcome)} for recording, outcome in outcomes.items()]
        Table(pd.DataFrame(rows), "Recordings", styles=STYLES, names=1).print(terminal())
    return max(outcome.code for outcome in outcomes.values())


def _row(outcome: Outcome) -> dict[str, str]:
    found = outcome.checked
    if found is None:
        return {"verdict": "not checked", "rungs": ""}
    for state in ("wrong", "parts", "follows"):
        if rungs := [one.rung for one in found.rungs if one.state == state]:
            return {"verdict": SHOWN[state], "rungs": ", ".join(rungs)}
    if found.missing_rungs:
        return {"verdict": "not seen", "rungs": ", ".join(found.missing_rungs)}
    return {"verdict": SHOWN["holds"], "rungs": f"{sum(one.state == 'holds' for one in found.rungs)} seen"}
