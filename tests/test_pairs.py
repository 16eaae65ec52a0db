"""Rows side by side: which are compared, on what, and what the table of comparisons shows."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace
from scipy import stats

from benchmarks.reporting.comparisons import pairs_frame, pairs_legend
from benchmarks.reporting.pairs import Pair, pairs_of
from benchmarks.reporting.rows import Rows
from benchmarks.statistics.over_rows import Discordant, discordant, mcnemar_p, row_intervals
from benchmarks.statistics.times import disturbed, epoch_ratios, quartiles
from shared.metrics import METRICS, details
from shared.recipe import Recipe
from shared.records import Record, Records, write_record
from tests.factories import answer, circumstances, epoch, record

TORCH = [0.70, 0.74, 0.71, 0.69, 0.72]


def seeds(backend: str, scores: Sequence[float], **recipe: object) -> list[Record]:
    """A record for each seed, which scores this on test."""
    return [record(Recipe(seed=n, **recipe), backend, test=score) for n, score in enumerate(scores, 1)]  # type: ignore[arg-type]


def only(records: list[Record]) -> Pair:
    (pair,) = pairs_of(Rows.of(records))
    return pair


def table(records: Sequence[Record]) -> list[dict[str, str]]:
    rows = Rows.of(records)
    return [dict(line) for _, line in pairs_frame(pairs_of(rows), rows).iterrows()]


# --- which rows are compared


def test_every_two_backends_of_one_question_are_compared() -> None:
    records = [one for b in ("torch", "gluon", "keras") for n in (64, 128) for one in seeds(b, TORCH, max_len=n)]
    found = [(line["max_len"], line["difference"]) for line in table(records)]
    pairs = ["gluon − torch", "keras − torch", "keras − gluon"]
    assert found == [(length, pair) for length in ("64", "128") for pair in pairs]


def test_a_stream_that_starts_again_at_checkpoints_is_the_backends_own() -> None:
    records = [record(), record(backend="gluon", reseeded="epoch")]
    assert len(pairs_of(Rows.of(records))) == 1


def test_of_one_backend_alone_rows_that_differ_in_one_setting_are_compared() -> None:
    records = [one for n in (64, 96) for b in (16, 32) for one in seeds("torch", TORCH, max_len=n, batch_size=b)]
    assert [line["difference"] for line in table(records)] == [
        *["max_len 96 − 64"] * 2,
        *["batch 32 − 16"] * 2,
    ]


def test_other_tasks_devices_and_threads_are_not_compared() -> None:
    records = [record(), record(backend="keras", task="mrpc"), record(backend="gluon", threads=1)]
    assert pairs_of(Rows.of(records)) == []
    assert pairs_legend([], 0) == []


def test_seeds_that_one_lacks_or_with_which_one_diverged_are_left_out() -> None:
    ours, theirs = seeds("torch", TORCH), seeds("gluon", [0.8, *TORCH[1:]])
    ours[0] = replace(ours[0], answer=answer(test=None, diverged=3))
    pair = only([*ours, *theirs[:-1]])
    assert list(pair.by_seed) == [2, 3, 4]
    found = pair.compare("test", "accuracy")
    assert found is not None
    assert found.differences == pytest.approx((0, 0, 0))


# --- over seeds


def test_differences_are_paired_by_seed() -> None:
    near = np.array([0.01, -0.01, 0.005, 0.0, 0.02])
    records = [*seeds("torch", TORCH), *seeds("gluon", (TORCH + near).tolist())[::-1]]
    found = only(records).compare("test", "mcc")
    assert found is not None
    expected = stats.ttest_rel(TORCH + near, TORCH)
    assert found.p_different == pytest.approx(expected.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval(0.95)))
    assert found.margin == pytest.approx(np.std(TORCH, ddof=1))


def test_a_line_shows_differences_intervals_and_marks() -> None:
    near = np.array([0.001, -0.001, 0.0005, 0.0, -0.0005])
    (line,) = table([*seeds("torch", TORCH), *seeds("gluon", (TORCH + near).tolist())])
    assert (line["seeds"], line["test accuracy"]) == ("5", "+0.000 [-0.001, +0.001] =")
    (line,) = table([*seeds("torch", TORCH), *seeds("gluon", (TORCH + near + 0.1).tolist())])
    assert line["test MCC"] == "+0.100 [+0.099, +0.101] ≠"
    assert line["dev accuracy"] == "+0.000"
    (line,) = table([*seeds("torch", TORCH), *seeds("gluon", (TORCH + near + 0.005).tolist())])
    assert line["test F1"] == "+0.005 [+0.004, +0.006] = ≠"


# --- over rows


def predicting(backend: str, labels: np.ndarray, predicted: np.ndarray, kept: bool = False) -> Record:
    """A record of these predictions on test. Older ones keep no true labels."""
    made = record(backend=backend)
    count = int(max(labels.max(), predicted.max())) + 1
    names = ("accuracy", "mcc", "f1") if count == 2 else ("accuracy", "mcc", "macro_f1")
    scores = {"loss": 0.5} | {name: METRICS[name](labels, predicted) for name in names}
    more = {"test": details(labels, predicted, tuple(map(str, range(count))), 32)} if kept else {}
    found = replace(made.answer, predictions={"test": predicted.tolist()}, test=scores, details=more)
    return replace(made, answer=found)


@pytest.mark.parametrize("kept", [False, True])
def test_rows_that_only_one_has_right_follow_from_predictions(kept: bool) -> None:
    labels, ours, theirs = np.random.default_rng(0).integers(0, 2, (3, 200))
    pair = predicting("torch", labels, ours, kept), predicting("gluon", labels, theirs, kept)
    right, right_second = ours == labels, theirs == labels
    assert discordant(*pair, "test") == (sum(right & ~right_second), sum(~right & right_second), 200)
    found = only(list(pair)).compare("test", "accuracy")
    assert found is not None
    assert found.mean == pytest.approx(right_second.mean() - right.mean())
    assert found.p_different == mcnemar_p(Discordant(sum(right & ~right_second), sum(~right & right_second), 200))


@pytest.mark.parametrize(("labels", "metric"), [(2, "accuracy"), (2, "mcc"), (2, "f1"), (4, "macro_f1"), (4, "mcc")])
def test_intervals_over_rows_are_scipys(labels: int, metric: str) -> None:
    """A paired bootstrap of the metric itself, on other resamples."""
    random = np.random.default_rng(1)
    truth = random.integers(0, labels, 150)
    ours, theirs = (np.where(random.random(150) < 0.7, truth, random.integers(0, labels, 150)) for _ in range(2))
    pair = predicting("torch", truth, ours, kept=True), predicting("gluon", truth, theirs, kept=True)
    found = only(list(pair)).compare("test", metric)
    score = METRICS[metric]
    assert found is not None
    assert found.mean == pytest.approx(score(truth, theirs) - score(truth, ours))
    again = stats.bootstrap(
        (truth, ours, theirs),
        lambda truth, ours, theirs: score(truth, theirs) - score(truth, ours),
        paired=True,
        vectorized=False,
        n_resamples=600,
        method="percentile",
        random_state=0,
    ).confidence_interval
    assert (found.low, found.high) == pytest.approx((again.low, again.high), abs=0.025)


def test_of_more_labels_nothing_follows_unless_they_are_kept() -> None:
    labels = np.array([0, 1, 1, 0])
    spare = np.array([2, 1, 1, 0])
    assert discordant(predicting("torch", labels, labels), predicting("gluon", labels, spare), "test") is None
    first, second = (predicting(b, labels, each, kept=True) for b, each in (("torch", labels), ("gluon", spare)))
    assert discordant(first, second, "test") == (1, 0, 4)
    assert discordant(record(), record(backend="gluon"), "test") is None
    assert discordant(record(test=None), record(backend="gluon", test=None), "test") is None


def test_mcnemars_test_is_exact() -> None:
    """It is the sign test on the rows that only one has right."""
    for fewer, more in itertools.product((0, 1, 4, 9), (9, 15)):
        expected = stats.binomtest(fewer, fewer + more).pvalue
        assert mcnemar_p(Discordant(fewer, more, 100)) == pytest.approx(expected)
        assert mcnemar_p(Discordant(more, fewer, 100)) == pytest.approx(expected)
    assert mcnemar_p(Discordant(0, 0, 100)) == 1


def test_mcnemars_test_is_statsmodels() -> None:
    """`mcnemar([[1000, 20], [40, 500]], exact=True).pvalue` of statsmodels 0.15."""
    assert mcnemar_p(Discordant(20, 40, 1560)) == pytest.approx(0.01348929373119186)


def test_equal_predictions_have_no_interval() -> None:
    assert row_intervals(Discordant(0, 0, 100).counts, ["accuracy"]) == {}
    counts = Discordant(30, 10, 400).counts
    found = row_intervals(counts, ["accuracy", "loss"])
    assert found == row_intervals(counts, ["accuracy"])
    assert found["accuracy"] == pytest.approx((-0.05 - 0.030, -0.05 + 0.030), abs=0.004)


def test_a_line_of_one_seed_is_of_rows() -> None:
    labels = np.arange(400) % 2
    ours, theirs = labels.copy(), labels.copy()
    ours[:60] ^= 1
    theirs[:20] ^= 1
    old, new = ([predicting("torch", labels, ours, k), predicting("gluon", labels, theirs, k)] for k in (False, True))
    assert [line["test accuracy"] for line in table(old) + table(new)] == ["+0.10 [+0.07, +0.13] ≠"] * 2
    assert [line["test MCC"] for line in table(old) + table(new)] == ["+0.200", "+0.20 [+0.14, +0.26]"]
    pairs = pairs_of(Rows.of(old))
    assert "McNemar's exact test" in "".join(pairs_legend(pairs, 1))
    assert pairs_legend(pairs, 250)[0] == "comparisons: the first 1 of 250 pairs"


def test_records_of_a_folder_are_compared_as_those_in_memory(tmp_path: Path) -> None:
    """They are read again for their predictions."""
    labels = np.arange(400) % 2
    made = [predicting(b, labels, labels ^ (np.arange(400) < n), kept=True) for b, n in (("torch", 60), ("gluon", 20))]
    for one in made:
        write_record(tmp_path, one, {})
    assert table(Records(tmp_path)) == table(made)
    assert table(made)[0]["test accuracy"] == "+0.10 [+0.07, +0.13] ≠"


# --- times


def test_ratios_of_times_are_paired_by_seed_and_epoch() -> None:
    ours = {n: answer([epoch(10.0 * n), epoch(20.0)], first_step=n) for n in (1, 2)}
    theirs = {n: answer([epoch(15.0 * n), epoch(20.0)], first_step=1.5 * n) for n in (2, 1, 3)}
    assert epoch_ratios(ours, theirs).tolist() == pytest.approx([1.5, 1, 1.5, 1])
    assert quartiles(np.array([1.5, 1, 1.5, 1])) == (1, 1.25, 1.5)


@pytest.mark.parametrize(
    ("busy", "after", "expected"), [(0.0, 1e11, False), (0.11, 1e11, True), (0.0, 0.9e11, True), (0.0, 1.09e11, False)]
)
def test_a_run_is_disturbed_by_others_or_by_a_rate_that_moves(busy: float, after: float, expected: bool) -> None:
    assert disturbed(circumstances(busy, matrix_product_flops_after=after)) == expected


def test_a_disturbed_ratio_is_marked() -> None:
    (line,) = table([record(), record(backend="gluon", busy=0.5)])
    assert line["epoch time ×"] == "1.00 !"
    (line,) = table([record(), record(backend="gluon", epochs=[epoch(12.0), epoch(11.0)])])
    assert not line["epoch time ×"].endswith("!")
