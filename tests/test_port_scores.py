"""`benchmarks.port check --scores`: a CSV file of scores by seed against torch's records."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from benchmarks.port.scores import Wanted, check_scores
from benchmarks.statistics.power import seeds_needed
from shared.errors import InputError
from shared.recipe import Recipe
from shared.records import Split, write_record
from tests.factories import epoch, record
from tests.recordings import run_port

SEEDS = range(1, 9)
THEIRS = [0.80, 0.82, 0.79, 0.81, 0.83, 0.80, 0.78, 0.81]


def write_records(folder: Path, accuracies: list[float], first: int = 1, **fields: Any) -> Path:
    """Writes a record of torch for each seed, with these accuracies on dev."""
    for seed, accuracy in enumerate(accuracies, first):
        recipe = replace(fields.get("recipe", Recipe()), seed=seed)
        made = record(recipe, epochs=[epoch(10.0, accuracy)], **{k: v for k, v in fields.items() if k != "recipe"})
        write_record(folder, made, {})
    return folder


@pytest.fixture
def records(tmp_path: Path) -> Path:
    return write_records(tmp_path / "runs", THEIRS)


def write_csv(folder: Path, text: str) -> Path:
    file = folder / "mine.csv"
    file.write_text(text, encoding="utf-8")
    return file


def scores_csv(folder: Path, differences: list[float], head: str = "seed,accuracy") -> Path:
    rows = [f"{seed},{theirs + d:.10f}" for seed, theirs, d in zip(SEEDS, THEIRS, differences, strict=True)]
    return write_csv(folder, "\n".join([head, *reversed(rows)]))


SMALL = [0.002, -0.004, 0.001, 0.003, -0.002, 0.0, 0.004, -0.001]
LARGE = [-0.05, -0.06, -0.04, -0.055, -0.05, -0.045, -0.06, -0.05]
WILD = [0.03, -0.05, 0.04, -0.02, 0.05, -0.04, 0.01, -0.03]


@pytest.mark.parametrize(
    ("differences", "verdict", "code"), [(SMALL, "equivalent", 0), (LARGE, "different", 1), (WILD, "undecided", 1)]
)
def test_scores_are_held_to_torchs(
    records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], differences: list[float], verdict: str, code: int
) -> None:
    file, out = scores_csv(tmp_path, differences), tmp_path / "out"
    assert run_port("check", "--scores", file, "--records", records, "--report", out) == code
    assert f"accuracy: {verdict}." in capsys.readouterr().out
    found = json.loads((out / "check.json").read_text())
    assert found["holds"] == (code == 0)
    assert f"accuracy: {verdict}" in (out / "check.md").read_text()


def test_the_numbers_are_scipys(records: Path, tmp_path: Path) -> None:
    found = check_scores(scores_csv(tmp_path, WILD), Wanted(records), margin=0.03).metrics[0]
    mine, theirs = np.array(THEIRS) + WILD, np.array(THEIRS)
    assert (found.mean, found.torch_mean) == pytest.approx((mine.mean(), theirs.mean()))
    assert found.deviation == pytest.approx(math.sqrt(((mine - mine.mean()) ** 2).sum() / 7))
    one = found.comparison
    assert one.p_different == pytest.approx(stats.ttest_rel(mine, theirs).pvalue)
    error, mean = np.std(WILD, ddof=1) / math.sqrt(8), np.mean(WILD)
    tails = stats.t.sf((mean + 0.03) / error, 7), stats.t.sf((0.03 - mean) / error, 7)
    assert one.p_equivalent == pytest.approx(max(tails))
    assert one.mean == pytest.approx(mean)
    assert one.low < mean < one.high
    assert one.margin == 0.03


def test_the_margin_is_torchs_deviation(records: Path, tmp_path: Path) -> None:
    found = check_scores(scores_csv(tmp_path, SMALL), Wanted(records), None).metrics[0]
    assert found.comparison.margin == found.torch_deviation == pytest.approx(np.std(THEIRS, ddof=1))


def test_an_undecided_score_says_how_many_seeds_would_do(
    records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_port("check", "--scores", scores_csv(tmp_path, WILD), "--records", records)
    needed = seeds_needed(float(np.mean(WILD)), float(np.std(WILD, ddof=1)), float(np.std(THEIRS, ddof=1)))
    assert f"{needed} seeds would decide, with a chance of 80 %" in capsys.readouterr().out


def test_seeds_of_one_side_are_left_out_and_named(records: Path, tmp_path: Path) -> None:
    file = write_csv(tmp_path, "Seed;MCC;Accuracy;minutes\n2;0.72;0.82;3\n3;0.69;0.79;3\n99;0.7;0.8;3\n")
    found = check_scores(file, Wanted(records), None)
    assert (found.seeds, found.left_out) == ([2, 3], [1, 4, 5, 6, 7, 8, 99])
    assert [one.comparison.metric for one in found.metrics] == ["accuracy", "mcc"]
    assert found.not_compared == ["minutes"]


def test_a_question_is_chosen_by_task_and_model(records: Path, tmp_path: Path) -> None:
    write_records(records, [0.5, 0.6, 0.7], task="mrpc", model="tiny")
    write_records(records, [0.1, 0.2, 0.3], backend="keras")
    file = scores_csv(tmp_path, SMALL)
    assert check_scores(file, Wanted(records, task="cola", model="minilm"), None).about == "minilm on cola"
    found = check_scores(file, Wanted(records, task="mrpc"), None)
    assert (found.about, found.seeds) == ("tiny on mrpc", [1, 2, 3])


def test_torchs_scores_without_spread_give_no_margin(tmp_path: Path) -> None:
    records = write_records(tmp_path / "runs", [0.8] * 8)
    found = check_scores(scores_csv(tmp_path, SMALL), Wanted(records), None)
    assert "gives no margin; pass --margin" in found.metrics[0].comparison.note
    assert not found.holds


HEAD = "seed,accuracy\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "mine.csv is empty"),
        (HEAD, "has no values below"),
        ("accuracy,mcc\n0.8,0.7\n", "has no column seed; its columns are accuracy, mcc"),
        ("1,0.8\n2,0.8\n", "has 2 columns and no names"),
        ("seed,bleu\n1,0.8\n2,0.8\n", "has no column of a metric; torch's records of minilm on cola have accuracy"),
        (HEAD + "1,0.8\n2,nan\n", "mine.csv, line 3: accuracy is nan"),
        (HEAD + "1,0.8\n2,good\n", "mine.csv, line 3: accuracy is 'good', which is no number"),
        (HEAD + "1,0.8\n2,81.5\n", "accuracy is 81.5, and records have shares from 0 to 1; divide by 100"),
        (HEAD + "1,0.8\n1.5,0.8\n", "line 3: seed is 1.5; pass whole numbers"),
        (HEAD + "1,0.8\n1,0.8\n", "line 3: seed 1 comes a second time"),
        (HEAD + "1,0.8\n2\n", "line 3: 1 cells, not 2"),
        (HEAD + "98,0.8\n99,0.8\n", "has seeds 98, 99, and torch's records of minilm on cola have 1, 2, 3"),
    ],
)
def test_bad_scores_are_refused(records: Path, tmp_path: Path, capsys: Any, text: str, message: str) -> None:
    assert run_port("check", "--scores", write_csv(tmp_path, text), "--records", records) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"task": "mrpc"}, "holds no record of torch on mrpc that is scored on dev; it has minilm on cola; make them"),
        ({"model": "tiny"}, "holds no record of torch with tiny"),
        ({"split": "test"}, "that is scored on test"),
    ],
)
def test_records_that_do_not_fit_are_named(tmp_path: Path, wanted: dict[str, Any], message: str) -> None:
    records = write_records(tmp_path / "runs", THEIRS, test=None)
    with pytest.raises(InputError) as refused:
        check_scores(scores_csv(tmp_path, SMALL), Wanted(records, **wanted), None)
    assert message in str(refused.value)


def test_several_questions_are_refused(records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = scores_csv(tmp_path, SMALL)
    write_records(records, [0.5, 0.6], recipe=Recipe(max_len=64))
    assert run_port("check", "--scores", file, "--records", records) == 2
    assert "2 questions (minilm on cola); keep one's in a folder of its own" in capsys.readouterr().err
    write_records(records, [0.5, 0.6], task="mrpc")
    assert run_port("check", "--scores", file, "--records", records) == 2
    assert "pass --task and --model" in capsys.readouterr().err


def test_a_folder_without_records_says_how_to_make_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)  # a long path is cut in its middle
    assert run_port("check", "--scores", scores_csv(tmp_path, SMALL).name, "--records", "none") == 2
    assert "python -m benchmarks.run --backend torch --task TASK --model MODEL --seed 1 2 3" in capsys.readouterr().err


def test_a_margin_must_be_above_zero(records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = scores_csv(tmp_path, SMALL)
    assert run_port("check", "--scores", file, "--records", records, "--margin", "0") == 2
    assert "--margin 0: pass a number above 0" in capsys.readouterr().err


def test_test_is_compared_if_asked(tmp_path: Path) -> None:
    split: Split = "test"
    for seed in (1, 2, 3):
        write_record(tmp_path / "runs", record(Recipe(seed=seed), test=0.7 + seed / 100), {})
    file = write_csv(tmp_path, "seed,accuracy\n1,0.71\n2,0.72\n3,0.73\n")
    found = check_scores(file, Wanted(tmp_path / "runs", split), None)
    assert (found.split, found.metrics[0].torch_mean) == ("test", pytest.approx(0.72))
    assert found.holds
