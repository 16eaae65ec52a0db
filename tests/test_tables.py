"""From records to tables."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from msgspec.structs import replace
from rich.console import Console
from scipy.special import expit, logit
from scipy.stats import ttest_1samp

from backends import BACKENDS
from benchmarks.report import report
from benchmarks.reporting.record_tables import frame, print_tables, write_tables
from shared.errors import InputError
from shared.recipe import Recipe
from shared.records import CellWork, PresetUse, Record, read_records, record_path, write_record
from tests.factories import answer, epoch, record


def one_row(*records: Record) -> pd.Series:
    table = frame(list(records))
    assert len(table) == 1
    row: pd.Series = table.iloc[0]
    return row


def work(**floor: float) -> CellWork:
    return CellWork(real_flops=1.0, all_flops=2.0, **floor)


def write(out: Path, records: list[Record]) -> None:
    for each in records:
        write_record(out, each, {"dev": np.zeros((2, 2), np.float32)})


def printed(records: list[Record]) -> str:
    console = Console(file=io.StringIO(), width=300)
    print_tables(console, records)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def markdown(tmp_path: Path, records: list[Record]) -> dict[str, list[dict[str, str]]]:
    """The tables of table.md by title, as rows of cells by column. The parser is this file's own."""
    write_tables(tmp_path, records)
    tables = {}
    for part in (tmp_path / "table.md").read_text(encoding="utf-8").split("## ")[1:]:
        lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in part.splitlines() if line.startswith("|")]
        tables[part.split("\n", 1)[0]] = [dict(zip(lines[0], line, strict=True)) for line in lines[2:]]
    return tables


def test_a_single_run_has_its_own_scores_and_no_deviation() -> None:
    row = one_row(record())
    assert (row["seeds"], row["dev_accuracy"], row["test_accuracy"]) == (1, 0.8, 0.7)
    assert row["test_mcc"] == pytest.approx(0.6)
    assert row["test_f1"] == pytest.approx(0.8)
    assert pd.isna([row["test_accuracy_sd"], row["test_accuracy_low"], row["test_accuracy_high"]]).all()


def test_several_seeds_become_mean_deviation_and_interval(tmp_path: Path) -> None:
    measured = [0.61, 0.74, 0.7, 0.69]
    records = [record(Recipe(seed=seed), test=test) for seed, test in enumerate(measured, 1)]
    row = one_row(*records)
    assert row["seeds"] == 4
    assert row["test_accuracy"] == pytest.approx(np.mean(measured))
    assert row["test_accuracy_sd"] == pytest.approx(np.std(measured, ddof=1))
    assert row["dev_accuracy_sd"] == pytest.approx(0)
    half = ttest_1samp(measured, 0).confidence_interval(0.95).high - np.mean(measured)
    middle, slope = logit(np.mean(measured)), np.mean(measured) * (1 - np.mean(measured))
    low, high = expit([middle - half / slope, middle + half / slope])
    assert (row["test_accuracy_low"], row["test_accuracy_high"]) == pytest.approx((low, high))
    assert pd.isna([row["dev_accuracy_low"], row["dev_accuracy_high"]]).all()
    (shown,) = markdown(tmp_path, records)["Quality"]
    assert shown["test accuracy"] == f"{np.mean(measured):.2f} ± {np.std(measured, ddof=1):.2f} [{low:.2f}, {high:.2f}]"
    assert shown["dev accuracy"] == "0.800 ± 0.000"
    assert shown["seeds"] == "4"


def test_a_score_that_is_no_number_leaves_no_mean(tmp_path: Path) -> None:
    records = [record(Recipe(seed=seed), test=test) for seed, test in enumerate([0.7, float("nan"), 0.8], 1)]
    row = one_row(*records)
    assert pd.isna([row["test_accuracy"], row["test_accuracy_sd"]]).all()
    (shown,) = markdown(tmp_path, records)["Quality"]
    assert shown["test accuracy"] == "–"


def test_padding_that_varies_stands_beside_its_share(tmp_path: Path) -> None:
    records = [record(Recipe(padding="longest")), record(Recipe(padding="bucket"))]
    speed = markdown(tmp_path, records)["Speed"]
    assert [(row["padding"], row["padded"]) for row in speed] == [("bucket", "25 %"), ("longest", "25 %")]


def test_only_the_seed_is_averaged_over() -> None:
    records = [record(Recipe(seed=seed, max_len=length)) for seed in (1, 2) for length in (64, 128)]
    records += [record(Recipe(max_len=64), backend="keras"), record(Recipe(max_len=64), rows={"train": 8})]
    assert sorted(frame(records)["seeds"]) == [1, 1, 2, 2]


def test_dev_scores_are_those_of_the_kept_epoch() -> None:
    epochs = [epoch(10.0, 0.71), epoch(10.0, 0.83), epoch(10.0, 0.75)]
    assert one_row(record(epochs=epochs))["dev_accuracy"] == 0.75
    assert one_row(record(epochs=epochs, kept_epoch=2))["dev_accuracy"] == 0.83


def test_compilation_is_taken_out_of_the_first_epoch_alone() -> None:
    """Ten steps of half a second, the first with 20 seconds of compilation; then ten plain ones."""
    trained = answer([epoch(25.0), epoch(5.0)], first_step=20.5)
    assert trained.steady_epoch_seconds() == pytest.approx([5.0, 5.0])


def test_time_on_programs_is_taken_out_of_every_epoch() -> None:
    """The first step's compilation is part of it, and is not taken out twice."""
    first, second = (replace(epoch(s), program_seconds=p) for s, p in ((25.0, 20.0), (7.0, 2.0)))
    assert answer([first, second], first_step=12.5).steady_epoch_seconds() == [5.0, 5.0]


def test_from_an_epoch_of_one_step_nothing_is_taken_out() -> None:
    trained = answer([epoch(25.0, steps=1), epoch(5.0, steps=1)], first_step=25.0)
    assert trained.steady_epoch_seconds() == [25.0, 5.0]


def test_epoch_seconds_are_the_median_over_epochs_and_seeds() -> None:
    records = [
        record(Recipe(seed=1), epochs=[epoch(11.0), epoch(8.0)], first_step=2.0),
        record(Recipe(seed=2), epochs=[epoch(30.0), epoch(7.0), epoch(9.0)], first_step=3.0),
    ]
    row = one_row(*records)
    steady = [(11.0 - 2.0) / 9 * 10, 8.0, (30.0 - 3.0) / 9 * 10, 7.0, 9.0]
    assert row["epoch_seconds"] == pytest.approx(np.median(steady))
    assert row["first_step_seconds"] == pytest.approx(2.5)


def test_rates_count_rows_and_real_tokens() -> None:
    row = one_row(record(epochs=[epoch(12.0), epoch(6.0)], first_step=7.5))  # (12 - 7.5) / 9 * 10 = 5
    assert row["examples_per_second"] == pytest.approx(200 / 11)
    assert row["tokens_per_second"] == pytest.approx(3000 / 11)
    assert row["padding_share"] == pytest.approx(0.25)


def test_memory_and_the_load_of_others_are_the_worst_of_seeds() -> None:
    records = [record(Recipe(seed=seed), busy=seed / 10) for seed in (1, 2, 3)]
    records[1] = replace(records[1], answer=answer(peak_memory_bytes=2**30))
    row = one_row(*records)
    assert row["peak_memory_bytes"] == 2**30
    assert row["cores_busy_with_others"] == 0.3


@pytest.mark.parametrize(("test", "is_noted"), [(0.67, True), (0.68, True), (0.69, False)])
def test_a_cell_not_above_the_majority_class_says_so(tmp_path: Path, test: float, is_noted: bool) -> None:
    records = [record(test=test)]
    assert ("test accuracy not above the majority class" in one_row(*records)["note"]) == is_noted
    (shown,) = markdown(tmp_path, records)["Quality"]
    assert shown["test accuracy"] == f"{test:.3f}" + ("*" if is_noted else "")
    assert shown["test majority"] == "0.680"
    assert not shown["dev accuracy"].endswith("*")


def test_the_mean_over_seeds_is_held_against_the_majority() -> None:
    assert "majority" in one_row(record(Recipe(seed=1), test=0.60), record(Recipe(seed=2), test=0.74))["note"]
    assert "majority" not in one_row(record(Recipe(seed=1), test=0.60), record(Recipe(seed=2), test=0.78))["note"]


def test_a_split_without_labels_is_said_to_be_not_scored(tmp_path: Path) -> None:
    records = [record(test=None)]
    row = one_row(*records)
    assert pd.isna(row["test_accuracy"])
    assert row["note"] == "test not scored: no labels"
    (shown,) = markdown(tmp_path, records)["Quality"]
    assert (shown["test accuracy"], shown["test MCC"], shown["test majority"]) == ("–", "–", "–")
    assert shown["dev accuracy"] == "0.800"
    assert "not scored: the split has no labels" in (tmp_path / "table.md").read_text(encoding="utf-8")


def test_a_task_without_test_split_says_so() -> None:
    row = one_row(record(test=None, rows={"train": 100, "dev": 50}))
    assert row["note"] == "test not scored: no such split"


def test_dev_without_labels_is_not_scored() -> None:
    unlabelled = replace(record(epochs=[epoch(10.0, dev=None)]), majority={"train": 0.6, "test": 0.68})
    assert one_row(unlabelled)["note"] == "dev not scored: no labels"


def test_recipe_fields_that_differ_get_a_column() -> None:
    always = frame([record()])
    assert {"max_len", "batch_size"} <= set(always.columns)
    assert {"learning_rate", "dropout", "shuffle", "decay_exempt", "seed"}.isdisjoint(always.columns)
    varied = [
        record(Recipe(learning_rate=5e-5)),
        record(Recipe(dropout=0.0)),
        record(Recipe(shuffle=False)),
        record(Recipe(decay_exempt=("bias",), seed=3)),
    ]
    table = frame(varied)
    assert {"learning_rate", "dropout", "shuffle", "decay_exempt"} <= set(table.columns)
    assert "seed" not in table.columns
    assert set(table["learning_rate"]) == {2e-5, 5e-5}


def test_columns_hold_values_as_one_would_type_them(tmp_path: Path) -> None:
    varied = [record(Recipe(dropout=0.0, clip=None)), record(Recipe(shuffle=False)), record(Recipe(decay_exempt=()))]
    shown = markdown(tmp_path, varied)["Quality"]
    assert {row["dropout"] for row in shown} == {"none", "0.0"}
    assert {row["clip"] for row in shown} == {"none", "1.0"}
    assert {row["shuffle"] for row in shown} == {"yes", "no"}
    assert {row["decay_exempt"] for row in shown} == {"", "bias,LayerNorm,layer_norm"}


def test_a_record_older_than_a_recipe_field_has_its_default(tmp_path: Path) -> None:
    old, new = record(Recipe(seed=1)), record(Recipe(seed=2, eps=1e-6))
    write(tmp_path, [old, new])
    file = record_path(tmp_path, old.id)
    content = json.loads(file.read_text())
    del content["recipe"]["eps"], content["digest"]
    file.write_text(json.dumps(content))
    by_seed = {each.recipe.seed: each for each in read_records(tmp_path)}
    for seeds in ((1, 2), (2, 1)):
        assert sorted(frame([by_seed[seed] for seed in seeds])["eps"]) == [1e-8, 1e-6]
    assert one_row(by_seed[1], record(Recipe(seed=2)))["seeds"] == 2


def test_precision_and_compile_get_a_column_if_they_differ(tmp_path: Path) -> None:
    records = [
        record(Recipe(seed=seed), backend=backend, **computing)
        for seed in (1, 2)
        for computing in ({}, {"precision": "bfloat16"}, {"precision": "bfloat16", "compile": True})
        for backend in ("torch", "keras")
    ]
    tables = markdown(tmp_path, records)
    for rows in (tables["Quality"], tables["Speed"]):
        shown = [(row["precision"], row["compile"], row["backend"]) for row in rows]
        assert shown == [
            (precision, compiled, backend)
            for precision, compiled in (("bfloat16", "no"), ("bfloat16", "yes"), ("float32", "no"))
            for backend in ("torch", "keras")
        ]
    assert set(frame(records)["seeds"]) == {2}
    half = [each for each in records if each.asked.precision == "bfloat16"]
    assert "precision" not in frame(half)
    assert {"precision", "compile"}.isdisjoint(frame([record()]))


def test_rows_are_sorted_by_task_numbers_and_backend() -> None:
    records = [
        record(Recipe(max_len=length, batch_size=batch), backend=backend, task=task)
        for task in ("mrpc", "cola")
        for length in (128, 64, 16)
        for batch in (8, 32)
        for backend in reversed(BACKENDS)
    ]
    table = frame(records)
    found = list(table[["task", "max_len", "batch_size", "backend"]].itertuples(index=False, name=None))
    assert found == [
        (task, length, batch, backend)
        for task in ("cola", "mrpc")
        for length in (16, 64, 128)
        for batch in (8, 32)
        for backend in BACKENDS
    ]


def test_none_is_sorted_among_numbers() -> None:
    table = frame([record(Recipe(clip=clip)) for clip in (None, 2.0, 10.0, 0.5)])
    assert list(table["clip"]) == [0.5, 2.0, 10.0, "none"]


@pytest.mark.parametrize(
    ("column", "values", "records"),
    [
        ("train_rows", {"8", "100"}, [record(), record(rows={"train": 8, "dev": 8, "test": 8})]),
        ("device", {"cpu", "cuda:0 (Toy GPU)"}, [record(), record(device="cuda:0")]),
        ("threads", {"1", "2"}, [record(), record(threads=1)]),
        ("versions", {"torch 2.0", "torch 2.1"}, [record(), record(versions="2.1")]),
        ("model", {"minilm", "random:minilm"}, [record(), record(model="random:minilm")]),
    ],
)
def test_circumstances_that_tell_rows_apart_are_shown(
    tmp_path: Path, column: str, values: set[str], records: list[Record]
) -> None:
    assert {row[column] for row in markdown(tmp_path, records)["Quality"]} == values
    (alone,) = markdown(tmp_path, records[:1])["Quality"]
    assert column not in alone


def test_circumstances_of_one_row_a_backend_are_no_column(tmp_path: Path) -> None:
    """Versions of different backends, and sizes of different tasks, tell no rows apart."""
    records = [record(), record(backend="keras"), record(task="mrpc", rows={"train": 7, "dev": 7, "test": 7})]
    for row in markdown(tmp_path, records)["Quality"]:
        assert row.keys().isdisjoint({"versions", "train_rows"})


def test_the_csv_reads_back_as_the_frame(tmp_path: Path) -> None:
    records = [
        record(Recipe(seed=seed, learning_rate=rate), backend=backend, test=0.5 + seed / 10)
        for seed in (1, 2)
        for rate in (2e-5, 5e-5)
        for backend in BACKENDS
    ]
    records.append(record(task="mrpc", test=None))
    write_tables(tmp_path, records)
    read = pd.read_csv(tmp_path / "table.csv", keep_default_na=False, na_values={"test_accuracy": "", "test_mcc": ""})
    table = frame(records)
    assert list(read.columns) == list(table.columns)
    for column in ("task", "backend", "max_len", "learning_rate", "seeds", "peak_memory_bytes", "note", "device"):
        assert list(read[column]) == list(table[column])
    np.testing.assert_allclose(read["test_mcc"], table["test_mcc"].astype(float), rtol=1e-5)
    np.testing.assert_allclose(read["epoch_seconds"], table["epoch_seconds"], rtol=1e-5)


def test_the_csv_has_every_column_that_was_promised(tmp_path: Path) -> None:
    write_tables(tmp_path, [record()])
    columns = set(pd.read_csv(tmp_path / "table.csv").columns)
    scored = {f"{split}_{metric}" for split in ("dev", "test") for metric in ("accuracy", "mcc", "f1", "majority")}
    speed = {"epoch_seconds", "examples_per_second", "tokens_per_second", "peak_memory_bytes", "device"}
    assert {"task", "backend", "max_len", "batch_size", "seeds", "note", *scored, *speed} <= columns


def test_the_speed_table_shows_epochs_rates_and_memory(tmp_path: Path) -> None:
    (shown,) = markdown(tmp_path, [record(epochs=[epoch(10.0), epoch(10.0)], busy=0.25)])["Speed"]
    expected = {
        "task": "cola",
        "backend": "torch",
        "max_len": "128",
        "batch": "32",
        "epoch s": "10.0 !",
        "examples/s": "10.0",
        "real tokens/s": "150",
        "padded": "25 %",
        "first step s": "1.00",
        "peak MiB": "512",
        "device": "cpu",
        "others' cores": "0.25",
    }
    assert {name: shown[name] for name in expected} == expected


def test_the_floor_is_the_median_of_records_that_have_one(tmp_path: Path) -> None:
    seeds = [
        replace(record(Recipe(seed=seed)), work=work(floor_seconds=floor, times_floor=times))
        for seed, floor, times in ((1, 4.0, 2.5), (2, 5.0, 2.0), (3, 4.5, 4.0))
    ]
    on_gpu = replace(record(device="cuda:0"), work=work())
    shown = markdown(tmp_path, [*seeds, record(backend="keras"), on_gpu])["Speed"]
    found = {(row["backend"], row["device"]): (row["floor s"], row["× floor"]) for row in shown}
    assert found[("torch", "cpu")] == ("4.5", "2.50")
    assert found[("keras", "cpu")] == found[("torch", "cuda:0 (Toy GPU)")] == ("–", "–")


def test_the_tables_say_what_they_were_measured_on(tmp_path: Path) -> None:
    write_tables(tmp_path, [record()])
    assert "measured on Toy CPU, 4 cores, Toy GPU; 2 threads a worker" in (tmp_path / "table.md").read_text("utf-8")


def test_the_terminal_shows_the_same_cells_as_the_file(tmp_path: Path) -> None:
    records = [
        record(Recipe(seed=seed), backend=backend, test=0.6 + seed / 50) for seed in (1, 2) for backend in BACKENDS
    ]
    lines = [re.split(r"\s{2,}", line.strip()) for line in printed(records).splitlines()]
    for row in [row for table in markdown(tmp_path, records).values() for row in table]:
        assert list(row.values()) in lines


def test_a_report_needs_nothing_but_the_records(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It makes the same bytes again, without the tables and arrays of the first time."""
    records = [record(Recipe(seed=seed, max_len=n), backend=b) for seed in (1, 2) for n in (64, 8) for b in BACKENDS]
    write(tmp_path, records)
    report(tmp_path)
    first = [(tmp_path / name).read_bytes() for name in ("table.csv", "table.md")]
    for name in ("table.csv", "table.md"):
        (tmp_path / name).unlink()
    for arrays in (tmp_path / "records").glob("*.npz"):
        arrays.unlink()
    report(tmp_path)
    assert [(tmp_path / name).read_bytes() for name in ("table.csv", "table.md")] == first
    assert "Quality" in capsys.readouterr().out


def test_a_report_on_a_folder_without_records_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no records; pass the --out folder of a run"):
        report(tmp_path)
    assert list(tmp_path.iterdir()) == []


def diverged(recipe: Recipe, step: int, epochs: int = 0) -> Record:
    """A record of a training that diverged at this step."""
    made = record(recipe)
    history = [epoch(10.0)] * epochs
    found = replace(made.answer, epochs=history, step_loss=[], kept_epoch=0, test=None, diverged=step)
    return replace(made, answer=found)


def test_a_run_that_diverged_has_a_row_without_scores(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    steep = diverged(Recipe(learning_rate=10.0), step=3)
    preset = replace(diverged(Recipe(learning_rate=9.0), step=12, epochs=1), preset=PresetUse("no-longer", []))
    write(tmp_path, [record(), steep, preset])
    report(tmp_path)
    rows = pd.read_csv(tmp_path / "table.csv").set_index("learning_rate")
    assert list(rows.loc[[10.0, 9.0], "note"]) == ["diverged at step 3", "diverged at step 12"]
    for name in ("dev_accuracy", "test_accuracy", "epoch_seconds", "peak_memory_bytes"):
        assert rows[name].isna().tolist() == [name not in rows or rate > 1 for rate in rows.index]
    shown = capsys.readouterr().out
    for text in (shown, (tmp_path / "table.md").read_text(), (tmp_path / "published.md").read_text()):
        assert "diverged at step 12" in text
    assert "diverged at step 3\n" in shown


def test_a_seed_that_diverged_is_in_no_mean(tmp_path: Path) -> None:
    seeds = [record(Recipe(seed=1), test=0.7), diverged(Recipe(seed=2), step=5), record(Recipe(seed=3), test=0.8)]
    row = one_row(*seeds)
    assert (row["seeds"], row["test_accuracy"]) == (3, pytest.approx(0.75))
    (shown,) = markdown(tmp_path, seeds)["Quality"]
    assert shown["note"] == "seed 2 diverged at step 5"
    assert shown["test accuracy"].startswith("0.8 ± 0.1 [0.1, 1.0]")
    (plain,) = markdown(tmp_path, [record()])["Quality"]
    assert "note" not in plain


def test_a_metric_has_a_column_if_some_task_has_it() -> None:
    scored = {"loss": 0.5, "accuracy": 0.7, "mcc": 0.6, "macro_f1": 0.25}
    many = record(task="emotion")
    many = replace(many, answer=answer([replace(epoch(10.0), dev=scored)], test=None))
    many = replace(many, answer=replace(many.answer, test=scored))
    assert "macro F1" not in printed([record()])
    alone, both = printed([many]), printed([many, record()])
    assert "dev macro F1" in alone
    assert "test F1" not in alone
    assert "test macro F1" in both
    assert "test F1" in both
