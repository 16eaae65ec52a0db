"""A report with what other programs take of it: gates for CI, tidy tables, MLflow runs, the hub."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.reporting.folder import show_report
from benchmarks.reporting.gates import Gate
from benchmarks.reporting.gating import hold_gates
from benchmarks.reporting.tidy import cells_frame, check_export, epochs_frame, write_table
from benchmarks.workers.progress import terminal
from shared.errors import InputError
from shared.records import Record, Records


@dataclass(frozen=True)
class Outlets:
    """Outputs that are asked for besides the report."""

    export: Path | None
    """File for a row a cell."""
    export_epochs: Path | None
    """File for a row an epoch."""
    fail_if: list[str]
    """Gates."""
    mlflow: str | None
    """URI of MLflow's tracking store."""
    push_to_hub: str | None
    """The hub's repository."""

    def check(self) -> None:
        """Raises InputError for what would fail after the report, in place of doing its work first."""
        for option, path in (("--export", self.export), ("--export-epochs", self.export_epochs)):
            if path is not None:
                check_export(option, path)
        if self.mlflow is not None:
            from benchmarks.reporting.mlflow_runs import check_store

            check_store(self.mlflow)
        if self.push_to_hub is not None:
            from benchmarks.reporting.hub import check_repository

            check_repository(self.push_to_hub)


def report_to(outlets: Outlets, folder: Path, pictures: int) -> int:
    """Makes the report of a folder, and what else is asked for. Returns the exit code: 1 if a gate fails. Raises
    InputError if the folder holds no records, if an option is wrong, and if a gate has no value in any comparison."""
    outlets.check()
    records = Records(folder)
    if not records:
        raise InputError(f"{folder}/records holds no records; pass the --out folder of a run")
    gates = _gates(outlets.fail_if, records)
    show_report(folder, records, pictures)
    console = terminal()
    for path, make in ((outlets.export, cells_frame), (outlets.export_epochs, epochs_frame)):
        if path is not None:
            table = make(records)
            write_table(path, table)
            console.print(f"{path}: {len(table):,} rows, {len(table.columns)} columns", style="dim", soft_wrap=True)
    if outlets.mlflow is not None:
        from benchmarks.reporting.mlflow_runs import log_runs

        logged = log_runs(folder, records, outlets.mlflow)
        console.print(f"MLflow: {logged.new:,} cells logged, {logged.before:,} were there", style="dim", soft_wrap=True)
    if outlets.push_to_hub is not None:
        from benchmarks.reporting.hub import push_report

        console.print(f"pushed to {push_report(folder, records, outlets.push_to_hub)}", style="dim", soft_wrap=True)
    return hold_gates(console, records, gates)


def _gates(texts: Sequence[str], records: Sequence[Record]) -> list[Gate]:
    """The gates. Raises InputError."""
    if not texts:
        return []
    present = sorted({record.asked.backend for record in records})
    return [Gate.parse(text, present) for text in texts]
