"""Cells as MLflow runs, in a real store of SQLite."""

from __future__ import annotations

import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from benchmarks.report import main
from benchmarks.reporting.mlflow_runs import LOGGED, Logged, import_mlflow, log_runs
from shared.errors import InputError
from shared.recipe import Recipe
from shared.records import Place, Record, write_record
from tests.factories import answer, epoch, record

pytestmark = pytest.mark.skipif(find_spec("mlflow") is None, reason="MLflow is in the environment `mlflow` alone")


def write(out: Path, records: list[Record]) -> list[Record]:
    return [write_record(out, each, {"dev": np.zeros((1, 2))}) for each in records]


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store without runs. It takes MLflow ten seconds to make one."""
    path = tmp_path_factory.mktemp("mlflow") / "empty.db"
    import_mlflow().MlflowClient(tracking_uri=f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def uri(empty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A store of the test's own, in the present folder's `store`."""
    (tmp_path / "store").mkdir()
    copy = shutil.copy(empty, tmp_path / "store" / "mlflow.db")
    monkeypatch.chdir(tmp_path)
    return f"sqlite:///{copy}"


def test_a_store_is_made_if_it_is_not_there(tmp_path: Path) -> None:
    (made,) = write(tmp_path, [record()])
    uri = f"sqlite:///{tmp_path / 'new.db'}"
    assert log_runs(tmp_path, [made], uri) == Logged(1, 0)
    assert len(runs(uri)) == 1


def runs(uri: str) -> list[Any]:
    """The runs of the store, by MLflow's own client."""
    client = import_mlflow().MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("concord")
    return sorted(client.search_runs([experiment.experiment_id]), key=lambda run: run.info.run_name)


def test_a_run_has_options_curves_scores_and_the_record(tmp_path: Path, uri: str) -> None:
    epochs = [epoch(10.0, dev=0.6), epoch(20.0, dev=0.8), epoch(30.0, dev=0.7)]
    (made,) = write(tmp_path, [record(Recipe(max_len=64, clip=None), epochs=epochs, kept_epoch=2, test=0.75)])
    assert log_runs(tmp_path, [made], uri) == Logged(1, 0)
    (run,) = runs(uri)
    asked = {"task": "cola", "backend": "torch", "max_len": "64", "clip": "none", "seed": "1", "shuffle": "True"}
    assert {name: run.data.params[name] for name in asked} == asked
    expected = {"test_accuracy": 0.75, "cell_dev_accuracy": 0.8, "cell_epoch_s": 20.0, "peak_mib": 512.0}
    assert {name: run.data.metrics[name] for name in expected} == expected
    assert run.data.tags["versions"] == "torch 2.0"
    assert run.data.tags["machine"] == made.circumstances.machine.shown
    assert run.data.tags["concord.id"] == made.id
    assert run.info.status == "FINISHED"
    client = import_mlflow().MlflowClient(tracking_uri=uri)
    curve = [(one.step, one.value) for one in client.get_metric_history(run.info.run_id, "dev_accuracy")]
    assert curve == [(1, 0.6), (2, 0.8), (3, 0.7)]
    kept = client.download_artifacts(run.info.run_id, f"{made.id}.json", str(tmp_path / "store"))
    assert Path(kept).read_bytes() == (tmp_path / "records" / f"{made.id}.json").read_bytes()


def test_a_run_has_no_time_that_means_nothing(tmp_path: Path, uri: str) -> None:
    one, time = record(epochs=[epoch(10.0)]), "2026-01-01T00:00:00.000+00:00"
    place = Place(node="n", host="h", alone=False, attempts=1, started=time, ended=time)
    (made,) = write(tmp_path, [replace(one, circumstances=replace(one.circumstances, place=place))])
    log_runs(tmp_path, [made], uri)
    (run,) = runs(uri)
    assert (run.data.tags["alone"], run.data.tags["node"]) == ("False", "h")
    assert "peak_mib" in run.data.metrics
    assert [name for name in run.data.metrics if name.endswith("_s") or "per_s" in name] == []


def test_no_cell_is_logged_twice(tmp_path: Path, uri: str) -> None:
    records = write(tmp_path, [record(Recipe(seed=n)) for n in (1, 2)])
    assert log_runs(tmp_path, records, uri) == Logged(2, 0)
    more = write(tmp_path, [record(Recipe(seed=3))])
    assert log_runs(tmp_path, [*records, *more], uri) == Logged(1, 2)
    assert len(runs(uri)) == 3


def test_a_cell_that_ran_again_is_another_run(tmp_path: Path, uri: str) -> None:
    for seconds in (1.0, 2.0):
        log_runs(tmp_path, write(tmp_path, [record(epochs=[epoch(seconds)] * 2)]), uri)
    assert sorted(run.data.metrics["epoch_s"] for run in runs(uri)) == [1.0, 2.0]


def test_a_run_that_was_cut_off_is_logged_again(tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    records = write(tmp_path, [record()])
    client = import_mlflow().MlflowClient

    def cut(*_: Any, **__: Any) -> None:
        raise OSError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(client, "log_artifact", cut)
        with pytest.raises(InputError, match="the store does not take it"):
            log_runs(tmp_path, records, uri)
    assert log_runs(tmp_path, records, uri) == Logged(1, 0)
    assert [LOGGED in run.data.tags for run in runs(uri)].count(True) == 1


def test_a_training_that_diverged_is_a_failed_run(tmp_path: Path, uri: str) -> None:
    end = replace(answer(), epochs=[], step_loss=[], kept_epoch=0, test=None, diverged=3)
    (made,) = write(tmp_path, [replace(record(), answer=end)])
    assert log_runs(tmp_path, [made], uri) == Logged(1, 0)
    (run,) = runs(uri)
    assert run.info.status == "FAILED"
    assert run.data.metrics["diverged_at_step"] == 3
    assert "test_accuracy" not in run.data.metrics
    assert log_runs(tmp_path, [made], uri) == Logged(0, 1)


def test_many_epochs_are_logged_whole(tmp_path: Path, uri: str) -> None:
    (made,) = write(tmp_path, [record(epochs=[epoch(1.0)] * 200)])
    log_runs(tmp_path, [made], uri)
    (run,) = runs(uri)
    client = import_mlflow().MlflowClient(tracking_uri=uri)
    assert len(client.get_metric_history(run.info.run_id, "dev_mcc")) == 200


def test_the_command_logs_and_says_how_many(tmp_path: Path, uri: str, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, [record()])
    for expected in ("1 cells logged, 0 were there", "0 cells logged, 1 were there"):
        main([str(tmp_path), "--pictures", "0", "--mlflow", uri])
        assert f"MLflow: {expected}" in capsys.readouterr().out
    left = {path.name for path in tmp_path.iterdir()}
    assert "mlruns" not in left, "artifacts lie beside the store"
    assert left >= {"store", "records", "table.md"}


@pytest.mark.parametrize(
    ("store", "told"),
    [
        ("sqlite:///records/{id}.json/mlflow.db", "the store does not take it"),
        ("sqlite:///records/{id}.json", "the store does not take it"),
        ("what://is.this", "the store does not take it"),
        ("", "is no store; pass one such as sqlite:///mlflow.db"),
        (" ", "is no store; pass one such as sqlite:///mlflow.db"),
    ],
)
def test_a_store_that_cannot_be_used_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], store: str, told: str
) -> None:
    (made,) = write(tmp_path, [record()])
    monkeypatch.chdir(tmp_path)
    store = store.format(id=made.id)
    with pytest.raises(SystemExit) as ended:
        main([str(tmp_path), "--pictures", "0", "--mlflow", store])
    assert ended.value.code == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "benchmarks.report: error" in line]
    assert told in line


def test_without_the_package_the_remedy_is_told_first(
    tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, [record()])
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(SystemExit) as ended:
        main([str(tmp_path), "--pictures", "0", "--mlflow", uri])
    assert ended.value.code == 2
    assert "needs the package mlflow-skinny" in capsys.readouterr().err
    assert not (tmp_path / "table.md").exists()
