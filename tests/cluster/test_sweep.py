"""Sweeps on a cluster of two nodes: what is answered there is what this machine answers."""

from __future__ import annotations

import itertools
import json
import shutil
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from msgspec import to_builtins

from shared.checkpoint.sources import resolve_model
from shared.records import Place, Record, read_records
from tests.arrays import read_arrays
from tests.cluster.clusters import Quick, pythons, sweep

Options = tuple[str, ...]
ASKED = ("--backend", "torch", "gluon", "--seed", "1", "2", *pythons("torch", "gluon"))


def finish(out: Path, *arguments: object) -> str:
    """Runs a sweep that has to answer everything. Returns its output."""
    runner = sweep(out, *arguments)
    stdout, stderr = runner.communicate()
    assert (runner.returncode, stderr) == (0, ""), stdout + stderr
    return stdout


def by_id(out: Path) -> dict[str, Record]:
    return {record.id: record for record in read_records(out)}


def place_of(record: Record) -> Place:
    place = record.circumstances.place
    assert place is not None
    return place


def overlapping(records: list[Record]) -> list[tuple[str, str]]:
    """Pairs of cells that were on one node at a time, by their records."""

    def span(record: Record) -> tuple[datetime, datetime]:
        place = place_of(record)
        return datetime.fromisoformat(place.started), datetime.fromisoformat(place.ended)

    found = []
    for one, other in itertools.combinations(records, 2):
        (begun, ended), (began, over) = span(one), span(other)
        if place_of(one).node == place_of(other).node and begun < over and began < ended:
            found.append((one.id, other.id))
    return found


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> tuple[Path, Path, str]:
    """The same cells on this machine and on the cluster, and what the latter's command printed."""
    here, there = tmp_path_factory.mktemp("here"), tmp_path_factory.mktemp("there")
    finish(here, *ASKED)
    address = request.getfixturevalue("cluster").address
    return here, there, finish(there, *ASKED, "--engine", "ray", "--address", address)


def test_a_cluster_answers_as_this_machine_bit_for_bit(both: tuple[Path, Path, str]) -> None:
    here, there, _ = both
    ours, theirs = by_id(here), by_id(there)
    assert len(ours) == 4
    assert ours.keys() == theirs.keys()
    for name, one in ours.items():
        other = theirs[name]
        for field in ("received", "step_loss", "step_accuracy", "test", "predictions", "details"):
            assert getattr(one.answer, field) == getattr(other.answer, field), field
        first, second = read_arrays(here, one), read_arrays(there, other)
        assert first.keys() == second.keys()
        assert all(np.array_equal(first[split], second[split]) for split in first)
        assert (one.asked, one.work and one.work.all_flops) == (other.asked, other.work and other.work.all_flops)


def test_compared_cells_share_a_node_one_after_another(both: tuple[Path, Path, str]) -> None:
    records = list(by_id(both[1]).values())
    places = {seed: {place_of(r).node for r in records if r.recipe.seed == seed} for seed in (1, 2)}
    assert [len(nodes) for nodes in places.values()] == [1, 1]
    assert places[1] != places[2]
    assert overlapping(records) == []


def test_a_record_names_its_node_and_attempts(both: tuple[Path, Path, str]) -> None:
    here, there, _ = both
    assert all(record.circumstances.place is None for record in by_id(here).values())
    for record in by_id(there).values():
        place, circumstances = place_of(record), record.circumstances
        assert (place.alone, place.attempts) == (True, 1)
        assert circumstances.machine.cores
        assert circumstances.packages["numpy"]
        assert circumstances.matrix_product_flops_after is not None
        assert datetime.fromisoformat(place.started) < datetime.fromisoformat(place.ended)
    assert not list((there / "jobs").iterdir())


def test_progress_tells_where_cells_run_and_how_many_wait(both: tuple[Path, Path, str]) -> None:
    lines = both[2].splitlines()
    assert sum(": runs on " in line for line in lines) == 4
    (last,) = [line for line in lines if line.startswith("[4/4] acceptability ")]
    assert "(0 run, 0 wait)" in last


def test_a_dry_run_tells_units_and_hours(both: tuple[Path, Path, str], ray_options: Options) -> None:
    more = ("--backend", "torch", "gluon", "--seed", "1", "2", "3", "4", *pythons("torch", "gluon"))
    out = both[1]
    before = sorted(out.rglob("*"))
    told = finish(out, *more, *ray_options, "--dry-run", "2")
    assert "8 cells: 4 answered already (--rerun runs them again), 4 to run\n2 units; " in told
    assert "  acceptability torch len 16 batch 32 seed 3; acceptability gluon len 16 batch 32 seed 3: " in told
    assert " on 2 nodes, " in told
    assert sorted(out.rglob("*")) == before


def test_cells_that_are_answered_do_not_run_again(both: tuple[Path, Path, str], ray_options: Options) -> None:
    before = {path: path.stat().st_mtime_ns for path in (both[1] / "records").iterdir()}
    assert "4 cells: 4 answered already" in finish(both[1], *ASKED, *ray_options)
    assert {path: path.stat().st_mtime_ns for path in (both[1] / "records").iterdir()} == before


def test_packed_cells_say_that_their_times_mean_nothing(quick: Quick, tmp_path: Path, ray_options: Options) -> None:
    quick.go()
    shown = finish(tmp_path / "out", "--backend", "torch", "--seed", 1, quick.option, *ray_options, "--exclusive", "no")
    (record,) = read_records(tmp_path / "out")
    assert not place_of(record).alone
    assert "--exclusive no" in shown
    table = (tmp_path / "out" / "table.csv").read_text().splitlines()
    values = dict(zip(table[0].split(","), table[1].split(","), strict=False))
    assert values["epoch_seconds"] == ""
    assert json.dumps(to_builtins(record))


def test_a_model_comes_back(tmp_path: Path, ray_options: Options) -> None:
    saving = ("--save", tmp_path / "saved")
    finish(tmp_path / "out", "--backend", "torch", "--seed", "1", *pythons("torch"), *ray_options, *saving)
    (record,) = read_records(tmp_path / "out")
    names = {path.name for path in (tmp_path / "saved" / record.id).iterdir()}
    assert {"config.json", "model.safetensors"} <= names


def test_a_tokenizer_that_was_built_goes_with_its_checkpoint(
    cache: Path, tmp_path: Path, ray_options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The nodes' cache is another than the command's, and has no tokenizer of that kind."""
    folder = tmp_path / "model"
    shutil.copytree(resolve_model("random:bert-tiny"), folder)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(config | {"tokenizer_class": "ConvBertTokenizer"}))
    monkeypatch.setenv("CONCORD_CACHE", str(tmp_path / "cache"))
    more = ("--backend", "torch", "--seed", "1", "--model", folder, "--save", tmp_path / "saved")
    finish(tmp_path / "out", *more, *pythons("torch"), *ray_options)
    (record,) = read_records(tmp_path / "out")
    assert (tmp_path / "saved" / record.id / "tokenizer.json").is_file()
    (built,) = (tmp_path / "cache" / "tokenizers").glob("built-*")
    assert (cache / "tokenizers" / built.name).is_dir()
