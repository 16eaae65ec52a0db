"""The parity command: one seed or several, the input that each refuses, and several seeds from end to end, with records
made up in place of training."""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from msgspec import structs

from backends import BACKENDS
from benchmarks.cells import answer
from benchmarks.cells.plan import Cell, Request, plan_cells
from benchmarks.cells.running import Outcome
from benchmarks.parity import __main__ as parity
from benchmarks.parity import many_seeds, one_seed, plan
from benchmarks.report import report
from benchmarks.statistics.power import power_of, seeds_needed
from benchmarks.workers.environments import CHECKOUT
from shared.recipe import Recipe
from shared.records import write_record
from tests.factories import epoch, record

SEEDS = (1, 2, 3, 4, 5)
TORCH = (0.70, 0.74, 0.71, 0.69, 0.72)
"""Torch's accuracy by seed."""
NEAR = (0.001, -0.001, 0.0005, 0.0, -0.0005)
DEVIATION = float(np.std(TORCH, ddof=1))

TOY = ("--task", "acceptability", "--model", "random:bert-tiny")
COMPARED = ("torch", "gluon", "keras")
ASKED = (*TOY, "--backend", *COMPARED, "--max-len", "16", "--limit", "30", "--threads", "1", "--device", "cpu")


def code_of(*arguments: str | Path) -> Any:
    """Runs the command and gives its exit code."""
    with pytest.raises(SystemExit) as end:
        parity.main([str(argument) for argument in arguments])
    return end.value.code


def seeds(*numbers: int) -> tuple[str, ...]:
    return ("--seed", *map(str, numbers))


# --- bad input


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (seeds(1, 2), "2 seeds show next to nothing; pass 3 or more, or one for the ladder"),
        (seeds(1, 2, 2, 1), "2 seeds show next to nothing; pass 3 or more, or one for the ladder"),
        (
            (*seeds(1, 2, 3), "--max-len", "16", "32"),
            "several seeds compare either backends or values of an option; pass one --backend, or one value of each",
        ),
        (
            (*seeds(1, 2, 3), "--model", "minilm", "random:bert-tiny"),
            "several seeds compare one training; pass one task and one model",
        ),
        (
            (*seeds(1, 2, 3), "--steps", "20"),
            "--steps is for one seed; with several, whole trainings are compared: leave it out",
        ),
        (
            (*seeds(1, 2, 3), "--embedding-update", "rows"),
            "--embedding-update is for one seed; with several, whole trainings are compared: leave it out",
        ),
        (
            (*seeds(1, 2, 3), "--precision", "float32"),
            "--precision is for one seed; with several, whole trainings are compared: leave it out",
        ),
        (
            (*seeds(1, 2, 3), "--against", "stock"),
            "--against is for one seed; with several, whole trainings are compared: leave it out",
        ),
        (
            (*seeds(1, 2, 3), "--rerun"),
            "--rerun is for one seed; with several, whole trainings are compared: leave it out",
        ),
        ((*seeds(1, 2, 3), "--margin", "0"), "--margin 0: pass a number above 0"),
        ((*seeds(1, 2, 3), "--margin", "-0.01"), "--margin -0.01: pass a number above 0"),
        ((*seeds(1, 2, 3), "--margin", "nan"), "--margin nan: pass a number above 0"),
        ((*seeds(1, 2, 3), "--margin", "inf"), "--margin inf: pass a number above 0"),
        (
            (*seeds(1, 2, 3), "--backend", "gluon", "keras"),
            "the margin is torch's deviation over the seeds; add torch to --backend, or pass --margin",
        ),
        (
            (*seeds(1, 2, 3), "--backend", "keras", "keras", "--margin", "0.1"),
            "keras alone has nothing to be compared with; pass another --backend too, or two values of",
        ),
        ((*seeds(1, 2, 3), "--backend", "jax"), f"unknown backend 'jax'; known: {', '.join(BACKENDS)}, all"),
        ((*seeds(1, 2, -3),), "seed is -3; pass a whole number from 0 to 4294967295"),
        ((*seeds(1, 2, 3), "--out", __file__), f"--out {__file__}: {__file__} is no folder that can be written to; "),
    ],
)
def test_with_several_seeds_bad_input_is_one_line(
    arguments: tuple[str, ...], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert code_of(*TOY, *arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith(f"benchmarks.parity: error: {line}")
    assert shown.err.count("\n") == 1


def test_bad_input_is_refused_before_slow_imports() -> None:
    """They take a second: the tables' pandas, the tests' scipy, the pictures' matplotlib."""
    code = "import sys, benchmarks.parity.__main__; print(sys.modules.keys() & {'pandas', 'scipy', 'matplotlib'})"
    run = subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert run.stdout == "set()\n"


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (("--epochs", "3"), "--epochs"),
        (("--keep", "best"), "--keep"),
        (("--eval-before", "yes"), "--eval-before"),
        (("--test-split", "dev"), "--test-split"),
        (("--margin", "0.1"), "--margin"),
        ((*seeds(7, 7, 7), "--epochs", "3"), "--epochs"),
    ],
)
def test_with_one_seed_options_of_whole_trainings_are_refused(
    arguments: tuple[str, ...], option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert code_of(*TOY, *arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith(f"benchmarks.parity: error: {option} needs several seeds, such as --seed 1 2 3; ")
    assert shown.err.count("\n") == 1


@pytest.mark.parametrize("arguments", [("--batch-size", "8", "16"), ("--model", "minilm", "random:bert-tiny")])
def test_with_one_seed_several_trainings_are_refused(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert code_of(*TOY, *arguments) == 2
    assert capsys.readouterr().err == (
        "benchmarks.parity: error: parity follows one training; pass one task, one model and one value of each recipe "
        "option\n"
    )


# --- one seed or several


Begun = list[tuple[str, argparse.Namespace]]
"""Work that was begun, `ladder` or `seeds`, with its options."""


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> Begun:
    """Notes what the command begins, and lets it do nothing."""
    noted: Begun = []
    monkeypatch.setattr(parity, "plan_ladder", lambda options: noted.append(("ladder", options)))
    monkeypatch.setattr(parity, "plan_seeds", lambda options, engine: noted.append(("seeds", options)))
    monkeypatch.setattr(one_seed, "climb_ladder", lambda *arguments: 0)
    monkeypatch.setattr(many_seeds, "compare_seeds", lambda *arguments: 0)
    return noted


@pytest.mark.parametrize("arguments", [(), seeds(5), seeds(5, 5)])
def test_one_seed_is_the_ladder(arguments: tuple[str, ...], begun: Begun) -> None:
    code_of(*TOY, *arguments)
    ((what, options),) = begun
    assert what == "ladder"
    assert (options.seed, options.epochs) == (list(dict.fromkeys(options.seed)), [1])


def test_several_seeds_are_compared_each_once_after_one_epoch(begun: Begun) -> None:
    code_of(*TOY, *seeds(3, 1, 3, 2))
    ((what, options),) = begun
    assert what == "seeds"
    assert (options.seed, options.epochs, options.out) == ([3, 1, 2], [1], Path("runs/parity"))


# --- several seeds, from end to end


def planned(**recipe: Any) -> list[Cell]:
    """The cells of ASKED with SEEDS."""
    return plan_cells(
        Request(
            backends=list(COMPARED),
            tasks=["acceptability"],
            models=["random:bert-tiny"],
            recipes=[Recipe(**({"max_len": 16, "epochs": 1} | recipe), seed=seed) for seed in SEEDS],
            device="cpu",
            threads=1,
            limit=30,
            data_dir=None,
            pythons={},
        )
    )


@pytest.fixture(scope="module")
def plans() -> list[Cell]:
    return planned()


def write(out: Path, cell: Cell, accuracy: float) -> None:
    """Writes a record of the cell, as if it had scored this on dev and test; mcc is 0.1 less, f1 0.1 more."""
    rows = {name: len(split) for name, split in cell.question.splits.items()}
    made = record(cell.recipe, cell.backend, test=accuracy, epochs=[epoch(10.0, dev=accuracy)], rows=rows)
    write_record(out, structs.replace(made, id=cell.id, asked=cell.asked, model=cell.question.model), {})


def fill(out: Path, plans: list[Cell], **offsets: float) -> None:
    """Writes every cell's record: torch's accuracies are TORCH, the others' near them, and this much more."""
    for cell in plans:
        n = SEEDS.index(cell.recipe.seed)
        near = 0.0 if cell.backend == "torch" else NEAR[n] if cell.backend == "gluon" else -NEAR[n]
        write(out, cell, TORCH[n] + near + offsets.get(cell.backend, 0.0))


@pytest.fixture(autouse=True)
def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any) -> NoReturn:
        raise AssertionError("a cell was run")

    monkeypatch.setattr(answer, "run_cell", fail)


def read(out: Path) -> Any:
    """The content of equivalence.json, which holds neither NaN nor infinity."""

    def refuse(text: str) -> NoReturn:
        raise AssertionError(f"{text} is no JSON")

    return json.loads((out / "equivalence.json").read_text(encoding="utf-8"), parse_constant=refuse)


def verdicts(out: Path) -> dict[tuple[str, str], set[str]]:
    """The verdicts by pair."""
    found: dict[tuple[str, str], set[str]] = {}
    for one in read(out)["comparisons"]:
        found.setdefault((one["first"], one["second"]), set()).add(one["verdict"])
    return found


PAIRS = (("torch", "gluon"), ("torch", "keras"), ("gluon", "keras"))


def test_cells_that_are_answered_are_not_trained_again(
    plans: list[Cell], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(tmp_path, plans)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert code_of(*ASKED, *seeds(*SEEDS), "--out", tmp_path) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    assert "15 cells: 15 answered already" in shown.out
    assert "0 to run" in shown.out
    for pair in PAIRS:
        assert f"{' and '.join(pair)}: equivalent in everything compared.\n" in shown.out
    assert f"{np.mean(TORCH):.2f} ± {DEVIATION:.2f}" in shown.out
    after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert {path.name for path in after.keys() - before.keys()} == {
        "equivalence.json",
        "equivalence.md",
        "equivalence.png",
    }
    assert {path: after[path] for path in before} == before


def test_the_files_hold_question_scores_and_comparisons(plans: list[Cell], tmp_path: Path) -> None:
    fill(tmp_path, plans)
    code_of(*ASKED, *seeds(*SEEDS), "--out", tmp_path)
    found = read(tmp_path)
    assert found["equivalent"] is True
    assert found["seeds"] == list(SEEDS)
    assert found["asked"]["recipe"] == {"max_len": 16, "epochs": 1}
    assert found["asked"]["rows"] == {"train": 30, "dev": 30, "test": 30}
    assert found["versions"] == {cell.backend: cell.environment.versions for cell in plans}
    torch = next(one for one in found["scores"] if (one["of"], one["metric"]) == ("torch", "accuracy"))
    assert torch["by_seed"] == list(TORCH)
    assert (torch["mean"], torch["deviation"]) == pytest.approx((np.mean(TORCH), DEVIATION))
    assert len(found["comparisons"]) == 3 * 2 * 3
    one = found["comparisons"][0]
    assert (one["first"], one["second"], one["split"], one["metric"]) == ("torch", "gluon", "dev", "accuracy")
    assert one["differences"] == pytest.approx(NEAR)
    assert one["margin"] == pytest.approx(DEVIATION)
    text = (tmp_path / "equivalence.md").read_text(encoding="utf-8")
    for part in (
        "# Equivalence over seeds: random:bert-tiny on acceptability\n",
        "`--max-len 16 --epochs 1`, and else the default",
        "rows: train 30, dev 30, test 30",
        "- torch, gluon, keras\n",
        "seeds: 1, 2, 3, 4, 5\n",
        "margin: torch's sample standard deviation over the seeds, of each split and metric\n",
        *(f"{module} {version}" for cell in plans for module, version in cell.environment.versions.items()),
        f"{np.mean(TORCH):.2f} ± {DEVIATION:.2f}",
        "| gluon − torch | dev accuracy  |",
        "(equivalence.png)",
    ):
        assert part in text
    assert (tmp_path / "equivalence.png").read_bytes().startswith(b"\x89PNG")


def test_a_planted_difference_of_two_margins_is_exit_code_1(
    plans: list[Cell], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(tmp_path, plans, keras=-2 * DEVIATION)
    assert code_of(*ASKED, *seeds(*SEEDS), "--out", tmp_path) == 1
    assert verdicts(tmp_path) == {PAIRS[0]: {"equivalent"}, PAIRS[1]: {"different"}, PAIRS[2]: {"different"}}
    assert read(tmp_path)["equivalent"] is False
    assert "torch and keras: different in dev accuracy, dev mcc, dev f1, test accuracy, " in capsys.readouterr().out


def test_a_given_margin_is_the_one_that_counts(plans: list[Cell], tmp_path: Path) -> None:
    fill(tmp_path, plans, keras=-2 * DEVIATION)
    assert code_of(*ASKED, *seeds(*SEEDS), "--out", tmp_path, "--margin", str(4 * DEVIATION)) == 0
    assert code_of(*ASKED, *seeds(*SEEDS), "--out", tmp_path, "--margin", "0.0001") == 1
    assert (read(tmp_path)["margin"], read(tmp_path)["margin_source"]) == (0.0001, "0.0001, as given")
    assert verdicts(tmp_path)[PAIRS[0]] == {"undecided"}


def test_on_one_backend_the_values_of_an_option_are_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for length, shift in ((16, 0.0), (24, 3 * DEVIATION)):
        for cell in planned(max_len=length):
            if cell.backend == "gluon":
                write(tmp_path, cell, TORCH[SEEDS.index(cell.recipe.seed)] + shift + NEAR[cell.recipe.seed - 1])
    asked = (*TOY, "--limit", "30", "--threads", "1", "--device", "cpu", "--backend", "gluon")
    assert code_of(*asked, "--max-len", "16", "24", *seeds(*SEEDS), "--out", tmp_path) == 1
    found = read(tmp_path)
    assert {(one["first"], one["second"], one["verdict"]) for one in found["comparisons"]} == {
        ("max_len 16", "max_len 24", "different")
    }
    assert found["comparisons"][0]["mean"] == pytest.approx(3 * DEVIATION)
    assert found["margin_source"].startswith("max_len 16's sample standard deviation")
    assert found["asked"]["backends"] == ["gluon"]
    assert found["asked"]["recipe"] == {"epochs": 1}
    assert "max_len 16 and max_len 24: different in dev accuracy, " in capsys.readouterr().out
    text = (tmp_path / "equivalence.md").read_text(encoding="utf-8")
    assert "- gluon\n" in text
    assert "| max_len   | dev accuracy" in text
    assert code_of(*asked, "--max-len", "24", "16", *seeds(*SEEDS), "--out", tmp_path) == 1
    assert read(tmp_path)["comparisons"][0]["mean"] == pytest.approx(-3 * DEVIATION)


def test_order_and_repetition_change_nothing(plans: list[Cell], tmp_path: Path) -> None:
    """Seeds and backends may be given in any order, and twice."""
    fill(tmp_path, plans, keras=0.01)
    files = [tmp_path / f"equivalence.{ending}" for ending in ("json", "md")]
    code_of(*ASKED, *seeds(*SEEDS), "--out", tmp_path)
    before = [file.read_bytes() for file in files]
    code_of(*ASKED, *seeds(3, 5, 5, 1, 2, 4, 1), "--backend", "keras", "torch", "gluon", "--out", tmp_path)
    assert [file.read_bytes() for file in files] == before


def test_other_records_in_the_folder_are_not_mixed_in(plans: list[Cell], tmp_path: Path) -> None:
    """They are of another recipe, or of other seeds."""
    fill(tmp_path, plans)
    for cell in planned(learning_rate=1e-3):
        write(tmp_path, cell, 0.1)
    for cell in plans:
        if cell.recipe.seed == 5:
            (tmp_path / "records" / f"{cell.id}.json").unlink()
            write(tmp_path, cell, 0.2)
    assert code_of(*ASKED, *seeds(1, 2, 3, 4), "--out", tmp_path) == 0
    assert read(tmp_path)["seeds"] == [1, 2, 3, 4]
    assert {score for one in read(tmp_path)["scores"] for score in one["by_seed"]}.isdisjoint({0.1, 0.2})


def test_a_seed_that_diverged_is_named_and_is_exit_code_1(
    plans: list[Cell], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(tmp_path, plans)
    write(tmp_path, next(c for c in plans if (c.backend, c.recipe.seed) == ("gluon", 2)), float("nan"))
    assert code_of(*ASKED, *seeds(*SEEDS), "--out", tmp_path) == 1
    assert verdicts(tmp_path) == {PAIRS[0]: {"undecided"}, PAIRS[1]: {"equivalent"}, PAIRS[2]: {"undecided"}}
    shown = capsys.readouterr()
    assert "- gluon diverged at step 10, seed 2: gluon − torch dev accuracy, " in shown.out
    assert shown.err == (
        "benchmarks.parity: 1 cells diverged and have no score; pass another --learning-rate: "
        "acceptability gluon len 16 batch 32 seed 2 diverged at step 10\n"
    )
    assert "NaN" not in (tmp_path / "equivalence.json").read_text()


@pytest.mark.parametrize("code", [1, 2])
def test_if_a_cell_fails_it_is_named_and_nothing_is_compared(
    plans: list[Cell], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], code: int
) -> None:
    fill(tmp_path, plans)
    missing = [cell for cell in plans if cell.backend == "keras" and cell.recipe.seed in (2, 4)]
    for cell in missing:
        (tmp_path / "records" / f"{cell.id}.json").unlink()

    def run_cell(cell: Cell, out: Path, *others: Any) -> Outcome:
        if cell.recipe.seed == 4:
            return Outcome(code, "why")
        write(out, cell, 0.7)
        return Outcome(0)

    monkeypatch.setattr(answer, "run_cell", run_cell)
    assert code_of(*ASKED, *seeds(*SEEDS), "--out", tmp_path) == code
    shown = capsys.readouterr()
    assert "15 cells: 13 answered already" in shown.out
    assert shown.err == (
        "benchmarks.parity: 1 of 2 cells failed, and nothing is compared: acceptability keras len 16 batch 32 seed 4\n"
    )
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_dir()) == ["jobs", "records"]


def test_without_labels_there_is_nothing_to_compare(
    plans: list[Cell], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    question = plans[0].question
    unlabelled = {name: replace(rows, labels=None) for name, rows in question.splits.items()}
    blind = [replace(cell, question=replace(question, splits=unlabelled)) for cell in plans]
    monkeypatch.setattr(plan, "plan_cells", lambda request, engine: blind)
    assert code_of(*ASKED, *seeds(*SEEDS), "--out", tmp_path) == 2
    assert capsys.readouterr().err == (
        "benchmarks.parity: error: acceptability's dev and test have no labels; pass another --dev-split\n"
    )


def test_on_a_narrow_terminal_no_number_is_cut(
    plans: list[Cell], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from rich.console import Console

    fill(tmp_path, plans)
    monkeypatch.setattr(many_seeds, "terminal", lambda: Console(width=80))
    code_of(*ASKED, *seeds(*SEEDS), "--out", tmp_path)
    lines = capsys.readouterr().out.splitlines()
    row = next(line for line in lines if line.startswith(" gluon − torch  dev accuracy"))
    assert re.findall(r"[-+]?\d\.\d{4}", row)[-1] == f"{DEVIATION:.4f}"
    assert row.rstrip().endswith("equivalent")
    assert "…" not in row


def test_a_report_writes_the_comparison_again(
    plans: list[Cell], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It needs the records alone, and leaves the comparison if others have come."""
    fill(tmp_path, plans, keras=0.01)
    code_of(*ASKED, *seeds(*SEEDS), "--out", tmp_path, "--margin", "0.02")
    files = [tmp_path / f"equivalence.{ending}" for ending in ("json", "md")]
    before = [file.read_bytes() for file in files]
    files[1].unlink()
    report(tmp_path)
    assert [file.read_bytes() for file in files] == before
    assert "equivalence.md is written again" in " ".join(capsys.readouterr().out.split())
    write_record(tmp_path, record(Recipe(seed=9), "gluon"), {})
    report(tmp_path)
    assert "equivalence.md is left as it is: the records are" in " ".join(capsys.readouterr().out.split())
    assert [file.read_bytes() for file in files] == before


# --- power


def test_before_any_training_power_is_told_by_assumed_deviations(
    plans: list[Cell], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code_of(*ASKED, *seeds(*range(1, 11)), "--out", tmp_path, "--margin", "0.02", "--power")
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["1.0", "0.0200", "11", "80", "%"] in lines
    assert ["2.0", "0.0400", "36", "0", "%"] in lines
    assert list(tmp_path.iterdir()) == []


def test_power_goes_by_the_seeds_that_are_answered(
    plans: list[Cell], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(tmp_path, plans)
    assert code_of(*ASKED, *seeds(*SEEDS, 6, 7, 8), "--out", tmp_path, "--margin", "0.001", "--power") is None
    shown = capsys.readouterr().out
    spread = float(np.std(NEAR, ddof=1))
    needed, chance = seeds_needed(0, spread, 0.001), power_of(8, 0, spread, 0.001)[0]
    lines = [line.split() for line in shown.splitlines()]
    line = ["gluon", "−", "torch", "test", "mcc", f"{spread:.4f}", "0.0010", str(needed), f"{100 * chance:.0f}", "%"]
    assert line in lines
    assert "over the 5 seeds that" in shown


def test_power_needs_several_seeds(capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of(*TOY, "--power") == 2
    assert "--power needs several seeds, such as --seed 1 2 3" in capsys.readouterr().err
