"""Two folders compared: what is paired, what counts as a change, and what the page says."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from msgspec.structs import replace
from scipy import stats

from benchmarks.report import main
from benchmarks.reporting.changes import Changes, Side
from benchmarks.statistics.paired import holm
from shared.recipe import Recipe
from shared.records import Machine, Record, write_record
from tests.factories import MACHINE, answer, circumstances, epoch, record

SCORES = [0.70, 0.74, 0.71, 0.69, 0.72]


def seeds(scores: Sequence[float], seconds: float = 10.0, backend: str = "torch", **settings: Any) -> list[Record]:
    """A record for each seed, which scores this on test and took so many seconds for each of two epochs."""
    others = settings.keys() & {"threads", "versions", "device", "busy"}
    known: dict[str, Any] = {name: settings.pop(name) for name in others}
    known |= {"epochs": [epoch(seconds, dev=None)] * 2, "first_step": seconds / 10}
    return [record(Recipe(seed=n, **settings), backend, test=score, **known) for n, score in enumerate(scores, 1)]


def on(machine: Machine, records: list[Record]) -> list[Record]:
    return [replace(one, circumstances=circumstances(machine=machine)) for one in records]


def changes(before: list[Record], after: list[Record]) -> Changes:
    return Changes.of(Side.of(Path("before"), before), Side.of(Path("after"), after))


def write(out: Path, records: list[Record]) -> None:
    for each in records:
        write_record(out, each, {"dev": np.zeros((1, 2))})


def compare(tmp_path: Path, before: list[Record], after: list[Record]) -> tuple[str, pd.DataFrame]:
    """compare.md and compare.csv."""
    write(tmp_path / "old", before)
    write(tmp_path / "new", after)
    main(["--compare", str(tmp_path / "old"), str(tmp_path / "new")])
    return (tmp_path / "new" / "compare.md").read_text(encoding="utf-8"), pd.read_csv(tmp_path / "new" / "compare.csv")


def better(by: float = 0.05) -> list[float]:
    return [score + by + n / 1000 for n, score in enumerate(SCORES)]


# --- what is paired


@pytest.mark.parametrize("changed", [{}, {"versions": "9.0"}, {"threads": 8}, {"device": "cuda", "versions": "9.0"}])
def test_cells_are_paired_across_versions_threads_and_devices(changed: dict[str, Any]) -> None:
    found = changes(seeds(SCORES), seeds(better(), **changed))
    (change,) = found.changes
    assert len(change.pair.by_seed) == 5
    assert found.alone == ([], [])


def test_the_nearest_question_is_paired_first() -> None:
    before = [*seeds(SCORES), *seeds(SCORES, threads=8)]
    found = changes(before, [*seeds(better(), versions="9.0", threads=8), *seeds(better())])
    assert [change.circumstances for change in found.changes] == [[], ["torch 2.0 → torch 9.0"]]


@pytest.mark.parametrize("before", [["6.0"], ["6.0", "7.0"]])
def test_rows_that_several_could_pair_with_are_left_alone(before: list[str]) -> None:
    after = [*seeds(better(), versions="8.0"), *seeds(better(), versions="9.0")]
    found = changes([one for version in before for one in seeds(SCORES, versions=version)], after)
    assert found.changes == []
    assert [len(rows) for rows in found.alone] == [len(before), 2]


def test_other_recipes_are_other_questions() -> None:
    found = changes(seeds(SCORES, max_len=64), seeds(SCORES, max_len=32))
    assert found.changes == []
    assert [len(rows) for rows in found.alone] == [1, 1]


def test_copies_of_one_record_are_left_out(tmp_path: Path) -> None:
    same = seeds(SCORES)
    page, table = compare(tmp_path, same, [*same, *seeds(SCORES, max_len=32)])
    assert "5 cells are the same record in both, and are left out" in page
    assert table.empty


def test_only_common_seeds_are_compared() -> None:
    (change,) = changes(seeds(SCORES), seeds(better()[:3])).changes
    (accuracy, *_) = change.scores
    assert accuracy.differences == pytest.approx((0.05, 0.051, 0.052))


# --- what counts as a change


def test_tests_are_scipys_adjusted_over_the_table() -> None:
    before = [*seeds(SCORES, max_len=64), *seeds(SCORES, max_len=128)]
    slight = [score + d for score, d in zip(SCORES, (0.01, 0.02, 0.03, -0.01, 0.02), strict=True)]
    found = changes(before, [*seeds(better(), max_len=64), *seeds(slight, max_len=128)])
    p = [stats.ttest_rel(after, SCORES).pvalue for after in (better(), slight)]
    expected = holm(np.repeat(p, 3))  # accuracy, MCC and F1 of the factory move together
    assert [one.p_holm for change in found.changes for one in change.scores] == pytest.approx(expected)
    assert [len(change.beyond) for change in found.changes] == [3, 0]


def test_the_verdict_says_which_way(tmp_path: Path) -> None:
    page, table = compare(tmp_path, seeds(SCORES), seeds(better(-0.05)))
    accuracy = table[table["quantity"] == "test_accuracy"].iloc[0]
    assert (accuracy["verdict"], accuracy["test"], accuracy["is"]) == ("lower", "paired t-test", "difference")
    assert accuracy["after"] - accuracy["before"] == pytest.approx(accuracy["change"])
    assert accuracy["low"] < accuracy["change"] < accuracy["high"] < 0
    assert re.search(r"\| test accuracy \| +0.712 +\| +0.664 +\|.*lower", page)


@pytest.mark.parametrize(("factor", "pace"), [(1.0, ""), (1.09, ""), (1.2, "slower"), (0.8, "faster")])
def test_times_change_beyond_what_a_machine_may_drift(factor: float, pace: str) -> None:
    (change,) = changes(seeds(SCORES), seeds(better(), 10 * factor)).changes
    assert change.times == pytest.approx((factor,) * 3)
    assert change.pace == pace


def test_times_are_ratios_of_the_medians_beside_them(tmp_path: Path) -> None:
    page, table = compare(tmp_path, seeds(SCORES), seeds(better(), 13))
    times = table[table["quantity"] == "epoch_s"].iloc[0]
    assert times[["before", "after", "change", "low", "high"]].tolist() == pytest.approx([10, 13, 1.3, 1.3, 1.3])
    assert (times["is"], times["verdict"], times["disturbed"]) == ("ratio", "slower", False)
    assert re.search(r"\| epoch s +\| 10.0 +\| 13.0 +\| × 1.30 +\| – +\| slower", page)


def test_disturbed_or_few_times_decide_nothing() -> None:
    (disturbed,) = changes(seeds(SCORES), seeds(better(), 20, busy=0.5)).changes
    (few,) = changes(seeds(SCORES[:1]), seeds(better()[:1], 20)).changes
    assert (disturbed.pace, few.pace) == ("", "")


def test_times_of_several_machines_are_not_pooled(tmp_path: Path) -> None:
    other = Machine(cpu="Other CPU", cores=4, memory_bytes=2**34, system="Linux", gpus=[])
    mixed = [*seeds(better(), 20)[:2], *on(other, seeds(better(), 20)[2:])]
    (change,) = changes(seeds(SCORES), mixed).changes
    assert (change.times, change.pace) == (None, "")
    page, table = compare(tmp_path, seeds(SCORES), mixed)
    assert "HARDWARE DIFFERS" in page
    assert "epoch_s" not in set(table["quantity"])


def test_a_training_that_diverges_only_now_is_a_change(tmp_path: Path) -> None:
    after = seeds(better())
    end = replace(answer(), epochs=[], step_loss=[], kept_epoch=0, test=None, diverged=3)
    after[1] = replace(after[1], answer=end)
    page, table = compare(tmp_path, seeds(SCORES), after)
    assert re.search(r"\| seed 2 +\| finished +\| diverged at step 3 \|.*diverged", page)
    assert table["seeds"].tolist() == [4] * len(table)


def test_all_that_diverged_are_no_cells_of_one_folder_alone() -> None:
    end = replace(answer(), epochs=[], step_loss=[], kept_epoch=0, test=None, diverged=3)
    found = changes(seeds(SCORES[:1]), [replace(one, answer=end) for one in seeds(SCORES[:1])])
    (change,) = found.changes
    assert change.diverged == [(1, "finished", "diverged at step 3")]
    assert (change.scores, change.times, found.alone) == ((), None, ([], []))


# --- what the page says


def test_the_top_names_days_machines_and_versions(tmp_path: Path) -> None:
    page, _ = compare(tmp_path, seeds(SCORES), seeds(better(), versions="9.0"))
    top = page.partition("## ")[0]
    assert f"before: old, 5 cells of 2026-01-01, on {MACHINE.shown}" in top
    assert "torch 2.0 → torch 9.0" in top
    assert "HARDWARE DIFFERS" not in top
    assert "3 of 3 scores differ beyond noise, over 1 questions" in top


def test_cells_of_one_folder_alone_are_listed(tmp_path: Path) -> None:
    page, _ = compare(tmp_path, seeds(SCORES, max_len=64), seeds(SCORES, max_len=32))
    assert re.search(r"## Only in old\n\n.*\n.*\n\| cola +\| 64 ", page)
    assert re.search(r"## Only in new\n\n.*\n.*\n\| cola +\| 32 ", page)


def test_a_label_of_a_record_is_no_markup(tmp_path: Path) -> None:
    page, table = compare(tmp_path, [record(task="=a|<b>")], [record(task="=a|<b>", test=0.9)])
    assert "=a\\|\\<b>" in page
    assert set(table["task"]) == {"'=a|<b>"}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--compare", "old", "old"], "are one folder"),
        (["--compare", "old", "./new/../old"], "are one folder"),
        (["--compare", "old", "none"], "none/records holds no records"),
        (["--compare", "none", "old"], "none/records holds no records"),
        (["old", "--compare", "old", "new"], "pass one folder DIR, or --compare DIR1 DIR2"),
        (["--compare", "old"], "expected 2 arguments"),
        ([], "pass one folder DIR, or --compare DIR1 DIR2"),
        (["--compare", "old", "new", "--fail-if", "torch.epoch_s > 1"], "--compare makes no report"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    told: str,
) -> None:
    write(tmp_path / "old", seeds(SCORES[:1]))
    write(tmp_path / "new", seeds(SCORES[:1]))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert told in capsys.readouterr().err
