"""The comparison of two variants over seeds, on made-up scores: which are called equivalent, and which different."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace
from scipy.stats import t as student

from benchmarks.parity.equivalence import Variants, compare, scores_by_seed
from benchmarks.statistics.paired import Comparison, difference_p, equivalence_p, verdict_of
from shared.recipe import Recipe
from tests.factories import epoch, record

NOISE = [0.013, -0.004, 0.021, -0.017, 0.002, -0.009, 0.011, 0.006, -0.012, 0.003]
"""Differences of ten seeds."""


@pytest.fixture(autouse=True)
def no_warnings() -> Iterator[None]:
    """Turns warnings into errors: numpy and scipy warn if a value is not defined."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def records(test: dict[str, Any], dev: dict[str, Any] | None = None) -> Variants:
    """Records with each backend's test and dev accuracies over seeds 1, 2, ...; mcc is 0.1 less, f1 0.1 more."""
    dev = dev or test
    return {
        backend: [
            record(Recipe(seed=seed), backend=backend, test=tested, epochs=[epoch(10.0, dev=dev[backend][seed - 1])])
            for seed, tested in enumerate(scores, 1)
        ]
        for backend, scores in test.items()
    }


def around(mean: float, noise: Any = NOISE) -> list[float]:
    return [mean + value for value in noise]


def only(comparisons: list[Comparison], split: str = "test", metric: str = "accuracy") -> Comparison:
    (found,) = [c for c in comparisons if (c.split, c.metric) == (split, metric)]
    return found


# --- comparisons


def test_every_pair_is_compared_on_every_metric_of_dev_and_test() -> None:
    """Pairs come in the order in which the variants are given."""
    found = compare(records({"torch": around(0.8), "gluon": around(0.8), "keras": around(0.8)}))
    pairs = [("torch", "gluon"), ("torch", "keras"), ("gluon", "keras")]
    assert [(c.first, c.second, c.split, c.metric) for c in found] == [
        (*pair, split, metric) for pair in pairs for split in ("dev", "test") for metric in ("accuracy", "mcc", "f1")
    ]


def test_differences_are_second_minus_first_paired_by_seed() -> None:
    found = only(compare(records({"torch": [0.70, 0.80, 0.90], "keras": [0.71, 0.79, 0.96]})))
    assert found.differences == pytest.approx((0.01, -0.01, 0.06))
    assert found.mean == pytest.approx(0.02)
    assert found.deviation == pytest.approx(np.std([0.01, -0.01, 0.06], ddof=1))


def test_dev_and_test_are_told_apart() -> None:
    test, dev = {"torch": [0.7, 0.8, 0.9], "gluon": [0.7, 0.8, 0.9]}, {"torch": [0.5, 0.6, 0.8], "gluon": [0.5] * 3}
    found = compare(records(test, dev))
    assert only(found, "test").mean == 0
    assert only(found, "dev").mean == pytest.approx(0.5 - 1.9 / 3)


def test_a_split_that_is_not_scored_is_not_compared() -> None:
    made = {b: [record(Recipe(seed=s), backend=b, test=None) for s in (1, 2, 3)] for b in ("torch", "gluon")}
    assert {c.split for c in compare(made, margin=0.1)} == {"dev"}


def test_the_order_of_the_records_changes_nothing() -> None:
    made = records({"torch": around(0.8), "gluon": around(0.8, NOISE[::-1]), "keras": around(0.81)})
    mixed = {name: [mine[i] for i in np.random.RandomState(0).permutation(len(mine))] for name, mine in made.items()}
    assert compare(mixed) == compare(made)


def test_the_margin_is_the_first_variants_deviation() -> None:
    """It is that of the same split and metric, unless a margin is given."""
    test = {"torch": around(0.8), "gluon": around(0.7, 3 * np.array(NOISE)), "keras": around(0.8)}
    dev = {name: around(0.6, 5 * np.array(NOISE)) for name in test}
    for found in compare(records(test, dev)):
        expected = np.std(NOISE, ddof=1) * (5 if found.split == "dev" else 1)
        assert found.margin == pytest.approx(expected)
    assert {found.margin for found in compare(records(test, dev), margin=0.02)} == {0.02}


def test_records_that_cannot_be_paired_are_refused() -> None:
    made = records({"torch": around(0.8), "gluon": around(0.8)})
    with pytest.raises(ValueError, match="gluon does not have each of the seeds"):
        compare(made | {"gluon": made["gluon"][:-1]})
    with pytest.raises(ValueError, match="torch does not have each of the seeds"):
        compare(made | {"torch": [*made["torch"], made["torch"][0]]})
    with pytest.raises(ValueError, match="two seeds"):
        compare({name: mine[:1] for name, mine in made.items()})


def test_scores_come_by_rising_seed() -> None:
    found = scores_by_seed({"torch": records({"torch": [0.7, 0.8, 0.9]})["torch"][::-1]})
    assert found["torch"]["test", "accuracy"].tolist() == [0.7, 0.8, 0.9]
    assert found["torch"]["dev", "f1"] == pytest.approx([0.8, 0.9, 1.0])


# --- the tests


@pytest.mark.parametrize("margin", [0.001, 0.005, 0.02, 0.3])
@pytest.mark.parametrize("mean", [-0.02, 0.0, 0.004, 0.02])
@pytest.mark.parametrize("seeds", [3, 10])
def test_p_values_are_those_of_the_paired_t_statistic(seeds: int, mean: float, margin: float) -> None:
    d = np.array(NOISE[:seeds]) + mean
    error = np.sqrt(np.sum((d - d.mean()) ** 2) / (seeds - 1) / seeds)
    not_below = 1 - student.cdf((d.mean() + margin) / error, df=seeds - 1)
    not_above = student.cdf((d.mean() - margin) / error, df=seeds - 1)
    assert equivalence_p(d, margin) == pytest.approx(max(not_below, not_above), abs=1e-12)
    assert difference_p(d) == pytest.approx(2 * student.sf(abs(d.mean() / error), df=seeds - 1), abs=1e-12)


def test_equivalent_means_a_90_percent_interval_in_the_margin() -> None:
    """It is the interval of the mean by Student's t."""
    d = np.array(NOISE) + 0.004
    half = student.ppf(0.95, df=9) * np.std(d, ddof=1) / np.sqrt(10)
    edge = d.mean() + half
    assert verdict_of(equivalence_p(d, edge * 1.001), difference_p(d)) == "equivalent"
    assert verdict_of(equivalence_p(d, edge * 0.999), difference_p(d)) == "undecided"


@pytest.mark.parametrize(
    ("p_equivalent", "p_different", "verdict"),
    [
        (0.04, 0.5, "equivalent"),
        (0.04, 0.01, "equivalent"),
        (0.06, 0.04, "different"),
        (0.05, 0.05, "undecided"),
        (0.5, 0.5, "undecided"),
    ],
)
def test_a_verdict_needs_its_test_to_reject_at_5_percent(p_equivalent: float, p_different: float, verdict: str) -> None:
    assert verdict_of(p_equivalent, p_different) == verdict


def draws(difference: float, seeds: int, number: int) -> np.ndarray:
    """Differences of deviation 1 around a true one. [number, seeds]"""
    return np.random.default_rng(0).normal(difference, 1.0, (number, seeds))


def equivalents(drawn: np.ndarray, margin: float) -> float:
    """The share of draws that is called equivalent."""
    return float(np.mean([verdict_of(equivalence_p(d, margin), difference_p(d)) == "equivalent" for d in drawn]))


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("margin", [1.0, 3.0])
def test_a_difference_of_two_margins_is_never_called_equivalent(sign: int, margin: float) -> None:
    assert equivalents(draws(sign * 2 * margin, seeds=10, number=1000), margin) == 0


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("seeds", [5, 20])
def test_a_difference_of_the_margin_is_seldom_called_equivalent(sign: int, seeds: int) -> None:
    """It is as rare as the level says."""
    share = equivalents(draws(sign * 3.0, seeds, number=1000), margin=3.0)
    assert share == pytest.approx(0.05, abs=4 * np.sqrt(0.05 * 0.95 / 1000))


def test_a_difference_far_within_the_margin_is_equivalent() -> None:
    assert equivalents(draws(0.0, seeds=10, number=200), margin=3.0) == 1


def test_two_of_torchs_deviations_are_not_called_equivalent() -> None:
    """The margin is torch's own deviation here, measured on the same seeds."""
    random = np.random.default_rng(1)
    verdicts = []
    for _ in range(40):
        torch = random.normal(0.8, 0.01, 10)
        made = records({"torch": torch.tolist(), "gluon": (torch + 0.02 + random.normal(0, 0.01, 10)).tolist()})
        verdicts.append(only(compare(made)).verdict)
    assert "equivalent" not in verdicts
    assert verdicts.count("different") > 30


def test_a_plain_but_small_difference_has_both_verdicts() -> None:
    found = only(compare(records({"torch": around(0.8), "gluon": around(0.805, 1.01 * np.array(NOISE))})))
    assert found.p_holm < 0.05
    assert (found.verdict, found.verdicts) == ("equivalent", "equivalent, different")


def test_a_difference_is_judged_among_the_others_of_its_table() -> None:
    """A p-value just below the level shows nothing if it is one of 36."""
    shift = 2.4 * np.std(NOISE, ddof=1) / np.sqrt(10) - np.mean(NOISE)
    torch = around(0.8, 0.01 * np.array(NOISE))
    made = records({"torch": torch, "gluon": (torch + shift + NOISE).tolist()})
    alone = only(compare(made))
    assert alone.p_different < 0.05
    assert alone.p_holm == pytest.approx(min(1, 6 * alone.p_different))
    assert alone.verdict == "undecided"


# --- no deviation, no score


def test_equal_scores_are_equivalent() -> None:
    for found in compare(records({"torch": around(0.8), "gluon": around(0.8)})):
        assert found.verdict == "equivalent"
        assert (found.mean, found.deviation) == (0, 0)
        assert np.isnan([found.low, found.high]).all()
        assert (found.p_equivalent, found.p_different) == (0, 1)
        assert found.note == "the same scores at every seed"


@pytest.mark.parametrize(
    ("difference", "verdict"),
    [(0.004, "equivalent"), (-0.004, "equivalent"), (0.01, "different"), (-0.01, "different"), (0.02, "different")],
)
def test_a_constant_difference_is_judged_by_its_size(difference: float, verdict: str) -> None:
    found = only(compare(records({"torch": around(0.8), "gluon": around(0.8 + difference)}), margin=0.01))
    assert found.verdict == verdict
    assert (found.mean, found.deviation) == (pytest.approx(difference), 0)
    assert found.note == "the same difference at every seed"


def test_the_margin_up_to_rounding_is_not_within_the_margin() -> None:
    assert equivalence_p(np.full(5, 0.01 - 1e-15), 0.01) == 1
    assert equivalence_p(np.full(5, 0.0099), 0.01) == 0


def test_without_a_deviation_of_torch_nothing_is_equivalent() -> None:
    """Torch scores the same at every seed, and gives no margin."""
    majority = [0.684, 0.1 + 0.584, 0.684]  # equal up to rounding
    found = only(compare(records({"torch": majority, "gluon": majority, "keras": [0.684, 0.69, 0.684]}))[:6])
    assert found.margin == 0
    assert found.verdict == "undecided"
    assert "torch scored the same at every seed, which gives no margin; pass --margin" in found.note
    other = only(compare(records({"torch": majority, "keras": [0.684, 0.69, 0.684]})))
    assert (other.verdict, other.margin) == ("undecided", 0)
    given = only(compare(records({"torch": majority, "gluon": majority}), margin=0.01))
    assert given.verdict == "equivalent"


def test_without_a_deviation_of_torch_others_can_be_different() -> None:
    """Gluon has clearly learned, and torch has not."""
    found = only(compare(records({"torch": [0.684] * 10, "gluon": around(0.75)})))
    assert (found.verdict, found.margin) == ("different", 0)


def with_diverged(made: Variants, variant: str, seed: int, step: int) -> Variants:
    """The same, but this training diverged."""
    one = made[variant][seed - 1]
    answer = replace(one.answer, diverged=step, kept_epoch=0, test=None)
    made[variant][seed - 1] = replace(one, answer=answer)
    return made


def test_a_seed_that_diverged_is_named_and_shows_nothing() -> None:
    scores = [0.7, 0.8, 0.9]
    made = with_diverged(records({"torch": scores, "gluon": scores, "keras": scores}), "gluon", seed=2, step=7)
    for found in compare(made, margin=0.5):
        sound = "gluon" not in (found.first, found.second)
        assert found.verdict == ("equivalent" if sound else "undecided")
        assert found.note == ("the same scores at every seed" if sound else "gluon diverged at step 7, seed 2")
        assert np.isnan([found.mean, found.low, found.high, found.p_equivalent]).all() == (not sound)


def test_if_every_training_diverged_nothing_is_compared() -> None:
    made = records({"torch": [0.7, 0.8], "gluon": [0.7, 0.8]})
    for variant, seed in itertools.product(made, (1, 2)):
        with_diverged(made, variant, seed, step=1)
    assert compare(made) == []


def test_if_a_seed_of_torch_diverged_there_is_no_margin() -> None:
    scores = [0.7, 0.8, 0.9]
    made = with_diverged(records({"torch": scores, "gluon": scores, "keras": scores}), "torch", seed=2, step=7)
    found = only([c for c in compare(made) if (c.first, c.second) == ("gluon", "keras")])
    assert (found.verdict, found.note) == ("undecided", "torch diverged at step 7, seed 2")
    assert np.isnan(found.margin)
