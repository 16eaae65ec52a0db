"""Tidy tables: a row a cell or an epoch, with typed columns, as CSV and Parquet; and `load` for notebooks."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from msgspec.structs import replace

from benchmarks import load
from benchmarks.report import main
from benchmarks.reporting.briefs import in_brief
from benchmarks.reporting.rows import Speed
from benchmarks.reporting.tidy import cells_frame, columns, epochs_frame, write_table
from shared.errors import InputError
from shared.recipe import Recipe
from shared.records import PresetUse, Record, write_record
from tests.factories import answer, epoch, record


def write(out: Path, records: list[Record]) -> list[Record]:
    return [write_record(out, each, {"dev": np.zeros((1, 2))}) for each in records]


def diverged() -> Record:
    made = record(Recipe(seed=9))
    end = replace(answer(), epochs=[], step_loss=[], kept_epoch=0, test=None, diverged=3)
    return replace(made, answer=end)


# --- a row a cell


def test_every_option_has_a_column_of_its_type() -> None:
    recipe = Recipe(max_len=64, clip=None, dropout=0.2, decay_exempt=("bias", "norm"), shuffle=False, rows_seed=7)
    row = cells_frame([record(recipe, preset=PresetUse("bert", []), threads=3)]).iloc[0]
    for one in fields(Recipe):
        if one.name not in ("clip", "decay_exempt", "train_rows", "dev_rows"):
            value = getattr(recipe, one.name)
            assert pd.isna(row[one.name]) if value is None else row[one.name] == value, one.name
    assert pd.isna(row["clip"])
    assert row["decay_exempt"] == "bias,norm"
    assert (row["train_rows"], row["dev_rows"], row["test_rows"]) == (100, 50, 40)
    assert (row["recipe"], row["threads"], row["versions"]) == ("bert", 3, "torch 2.0")


def test_columns_have_one_type_however_few_have_a_value() -> None:
    full = cells_frame([record(Recipe(rows_seed=7, clip=1.0))])
    assert full.dtypes.equals(cells_frame([record(Recipe(clip=None)), diverged()]).dtypes)
    kinds = full.dtypes.astype(str)
    assert kinds[["seed", "rows_seed", "diverged_at_step"]].tolist() == ["Int64"] * 3
    assert kinds[["learning_rate", "clip", "test_mcc", "epoch_s"]].tolist() == ["float64"] * 4
    assert kinds[["shuffle", "disturbed"]].tolist() == ["boolean"] * 2
    assert kinds["started"] == "datetime64[ns, UTC]"


def test_scores_and_times_are_the_records() -> None:
    epochs = [epoch(10.0, dev=0.8), epoch(11.0, dev=0.7), epoch(15.0, dev=0.6)]
    made = record(test=0.75, epochs=epochs, kept_epoch=1, busy=0.2)
    row, speed = cells_frame([made]).iloc[0], Speed.of(list(in_brief([made])))
    assert (row["dev_accuracy"], row["dev_mcc"], row["test_f1"]) == pytest.approx((0.8, 0.7, 0.85))
    assert pd.isna(row["dev_macro_f1"])
    assert row["epoch_s"] == speed.epoch_seconds
    assert row["examples_per_s"] == pytest.approx(speed.examples_per_second)
    assert row["tokens_per_s"] == pytest.approx(speed.tokens_per_second)
    assert (row["padding_share"], row["peak_mib"]) == (speed.padding_share, 512)
    assert row["disturbed"]


def test_a_training_that_diverged_has_a_row_without_scores() -> None:
    row = cells_frame([diverged()]).iloc[0]
    assert row["diverged_at_step"] == 3
    assert row[["dev_mcc", "test_loss", "epoch_s", "examples_per_s", "kept_epoch"]].isna().all()


def test_learning_curves_have_a_row_an_epoch() -> None:
    records = [record(epochs=[epoch(10.0, dev=0.6), epoch(20.0, dev=0.8)], kept_epoch=2), diverged()]
    table = epochs_frame(records)
    assert table["epoch"].tolist() == [1, 2]
    assert table["dev_accuracy"].tolist() == [0.6, 0.8]
    assert table["kept"].tolist() == [False, True]
    assert table["epoch_s"].tolist() == records[0].answer.steady_epoch_seconds()
    assert set(table["id"]) == {records[0].id}


def test_curves_of_no_epoch_have_their_columns() -> None:
    assert epochs_frame([diverged()]).dtypes.equals(epochs_frame([record()]).dtypes)


# --- files


def test_parquet_keeps_types_and_texts(tmp_path: Path) -> None:
    table = cells_frame([record(task="=1+1"), record(Recipe(rows_seed=3))])
    write_table(tmp_path / "cells.parquet", table)
    schema = pq.read_schema(tmp_path / "cells.parquet")
    assert schema.field("seed").type == "int64"
    assert schema.field("clip").type == "double"
    assert schema.field("shuffle").type == "bool"
    assert str(schema.field("started").type).startswith("timestamp")
    back = pd.read_parquet(tmp_path / "cells.parquet")
    pd.testing.assert_frame_equal(back, table, check_dtype=False)
    assert back["task"].tolist() == ["=1+1", "cola"]


def test_csv_has_every_digit_and_no_formula(tmp_path: Path) -> None:
    table = cells_frame([record(Recipe(learning_rate=1 / 3), task="=1+1", test=2 / 3)])
    write_table(tmp_path / "cells.csv", table)
    back = pd.read_csv(tmp_path / "cells.csv").iloc[0]
    assert (back["learning_rate"], back["test_accuracy"]) == (1 / 3, 2 / 3)
    assert (back["seed"], back["task"], back["shuffle"]) == (1, "'=1+1", True)
    assert pd.isna(back["rows_seed"])


def run(*arguments: object) -> None:
    main([*map(str, arguments), "--pictures", "0"])


def test_a_report_exports_both_tables(tmp_path: Path) -> None:
    write(tmp_path, [record(Recipe(seed=n), epochs=[epoch(1.0)] * 3) for n in (1, 2)])
    run(tmp_path, "--export", tmp_path / "cells.parquet", "--export-epochs", tmp_path / "deep" / "epochs.csv")
    assert list(pd.read_parquet(tmp_path / "cells.parquet").columns) == list(columns())
    assert len(pd.read_csv(tmp_path / "deep" / "epochs.csv")) == 6


@pytest.mark.parametrize(
    ("name", "told"),
    [("cells.xlsx", "let it end with .csv or .parquet"), ("cells", "let it end with"), ("a.parquet", "is a folder")],
)
def test_a_file_that_cannot_be_a_table_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, told: str
) -> None:
    write(tmp_path, [record()])
    (tmp_path / "a.parquet").mkdir()
    with pytest.raises(SystemExit) as ended:
        run(tmp_path, "--export", tmp_path / name)
    assert ended.value.code == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "table.md").exists()


# --- for notebooks


def test_load_gives_typed_records_and_tables(tmp_path: Path) -> None:
    written = write(tmp_path, [record(Recipe(seed=n), test=0.7 + n / 10) for n in (1, 2)])
    results = load(str(tmp_path))
    assert sorted(results, key=lambda one: one.recipe.seed) == written
    assert len(results) == 2
    pd.testing.assert_frame_equal(results.frame(), cells_frame(results.records))
    assert results.frame().groupby("backend")["test_accuracy"].mean().to_dict() == pytest.approx({"torch": 0.85})
    assert results.over_seeds()["seeds"].tolist() == [2]
    assert len(results.epochs()) == 2


@pytest.mark.parametrize("made", [True, False])
def test_load_of_a_folder_without_records_says_so(tmp_path: Path, made: bool) -> None:
    if made:
        (tmp_path / "records").mkdir()
    with pytest.raises(InputError, match="holds no records; pass the --out folder of a run"):
        load(tmp_path)


def test_the_package_is_light_to_import() -> None:
    check = "import sys, benchmarks; benchmarks.load; sys.exit(any(m in sys.modules for m in ('pandas', 'numpy')))"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
