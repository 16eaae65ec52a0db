"""Logs cells as MLflow runs: options as parameters, scores and times as metrics, a step an epoch, the record as an
artifact. A record is logged once."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.reporting.tidy import Column, cells_frame, columns, epochs_frame
from shared.errors import InputError
from shared.records import Record, record_path

EXPERIMENT = "concord"
"""The experiment's name, unless MLFLOW_EXPERIMENT_NAME has another."""

LOGGED = "concord.record"
"""The tag of a run that is logged whole: the record's digest, or its id if it has none."""

SQLITE = "sqlite:///"

EXAMPLES = "sqlite:///mlflow.db or http://HOST:PORT"

AT_ONCE = 1000
"""Metrics of one call, the most that MLflow takes."""

TAGS = ("versions", "machine", "node", "alone", "system", "python", "notes", "received")
"""Columns that are tags; other texts and settings are parameters."""

DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}
"""MLflow's settings, unless the environment has others: nothing is told about its use, and a server that does not
answer is given up within a minute."""


@dataclass(frozen=True)
class Logged:
    """Numbers of cells."""

    new: int
    before: int
    """Those that an earlier call has logged."""


def check_store(uri: str) -> None:
    """Raises InputError if there is no such store, or MLflow is not installed."""
    if not uri.strip():
        raise InputError(f"--mlflow {uri!r} is no store; pass one such as {EXAMPLES}")
    import_mlflow()


def import_mlflow() -> Any:
    """MLflow's package. Raises InputError if it is not installed."""
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    try:
        return importlib.import_module("mlflow")
    except ImportError as error:
        raise InputError(
            f"--mlflow needs the package mlflow-skinny ({error}); make the environment that has it with `tox run -e "
            "mlflow`, and start the command by .tox/mlflow/bin/python"
        ) from None


def log_runs(folder: Path, records: Sequence[Record], uri: str) -> Logged:
    """Logs each record that is not logged yet to the store of this URI. Raises InputError if the store cannot be used;
    what was logged before stays, and the same call goes on."""
    mlflow = import_mlflow()
    try:
        client = mlflow.MlflowClient(tracking_uri=uri)
        experiment = _experiment(client, uri)
        there = _logged(client, experiment)
        new = 0
        for record in records:
            if _key(record) not in there:
                _log(client, mlflow.entities, experiment, folder, record)
                new += 1
    except Exception as error:  # SQLAlchemy's, the HTTP library's and MLflow's own have no nearer base in common
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(f"--mlflow: the store does not take it ({said}); pass one such as {EXAMPLES}") from None
    return Logged(new, len(records) - new)


def _key(record: Record) -> str:
    return record.digest or record.id


def _experiment(client: Any, uri: str) -> str:
    """The id of the experiment, which is made if it is not there. Artifacts of an SQLite store lie beside its file."""
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    place = None
    if uri.startswith(SQLITE):
        place = (Path(uri.removeprefix(SQLITE)).absolute().parent / "mlflow-artifacts").as_uri()
    return str(client.create_experiment(name, artifact_location=place))


def _logged(client: Any, experiment: str) -> set[str]:
    """The keys of the records that are logged whole."""
    keys: set[str] = set()
    token = None
    while True:
        page = client.search_runs([experiment], f"tags.`{LOGGED}` != ''", max_results=1000, page_token=token)
        keys |= {run.data.tags[LOGGED] for run in page}
        token = page.token
        if not token:
            return keys


def _log(client: Any, entities: Any, experiment: str, folder: Path, record: Record) -> None:
    """Logs one record. The tag that counts it as logged comes last."""
    cell = {str(name): value for name, value in cells_frame([record]).iloc[0].items()}
    start = int(datetime.fromisoformat(record.circumstances.started).timestamp() * 1000)
    end = start + int(1000 * (record.circumstances.worker_seconds or 0.0))
    run = client.create_run(
        experiment, start_time=start, run_name=f"{record.asked.task} {record.asked.backend} seed {record.recipe.seed}"
    )
    identity = run.info.run_id
    metrics = [entities.Metric(name, float(value), end, step) for name, value, step in _metrics(record, cell)]
    parameters = [entities.Param(name, str(value)) for name, value in _parameters(cell)]
    tags = [entities.RunTag(name, str(cell[name])) for name in TAGS if pd.notna(cell[name])]
    tags.append(entities.RunTag("concord.id", record.id))
    client.log_batch(identity, params=parameters, tags=tags)
    for first in range(0, len(metrics), AT_ONCE):
        client.log_batch(identity, metrics=metrics[first : first + AT_ONCE])
    client.log_artifact(identity, str(record_path(folder, record.id)))
    client.set_terminated(identity, "FINISHED" if record.answer.diverged is None else "FAILED", end_time=end)
    client.set_tag(identity, LOGGED, _key(record))


def _parameters(cell: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Options of the question, by name."""
    for name, column in columns().items():
        if name not in TAGS and not _measured(column) and column.kind in ("string", "boolean", "Int64", "float64"):
            yield name, cell[name] if pd.notna(cell[name]) else "none"


def _metrics(record: Record, cell: dict[str, Any]) -> Iterator[tuple[str, float, int]]:
    """Names, values and steps: of each epoch, and of the cell at its last epoch. Those of the cell that every epoch has
    too, such as the scores of the epoch that was kept, begin with `cell_`."""
    curves = epochs_frame([record])
    for epoch in curves.to_dict("records"):
        for name, value in epoch.items():
            if isinstance(value, float) and pd.notna(value):
                yield str(name), value, int(epoch["epoch"])
    for name, column in columns().items():
        if _measured(column) and pd.notna(cell[name]):
            yield f"cell_{name}" if name in curves else name, float(cell[name]), len(record.answer.epochs)


def _measured(column: Column) -> bool:
    return column.is_number and column.over != "same"
