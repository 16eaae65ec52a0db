"""Intervals, tests and power: against scipy, published numbers and made-up data."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from benchmarks.reporting.numbers import decimals
from benchmarks.statistics.coverage import POPULATIONS, SEEDS, measure
from benchmarks.statistics.errors import over_rows, over_seeds
from benchmarks.statistics.intervals import (
    CORRELATION,
    SHARE,
    bounds_of,
    deviation,
    mean_interval,
    score_interval,
)
from benchmarks.statistics.paired import difference_p, equivalence_p, holm
from benchmarks.statistics.power import power_of, seeds_needed

SCORES = np.array([0.61, 0.74, 0.7, 0.69])


# --- intervals


def test_the_interval_of_differences_is_scipys() -> None:
    expected = stats.ttest_1samp(SCORES, 0).confidence_interval(0.95)
    assert mean_interval(SCORES) == pytest.approx((expected.low, expected.high))


def test_the_interval_of_a_correlation_is_students_on_fishers_z() -> None:
    """Written out by the inverse hyperbolic tangent, whose slope at r is 1 / (1 - r ** 2)."""
    mean = SCORES.mean()
    half = stats.t.ppf(0.975, 3) * stats.sem(SCORES) / (1 - mean**2)
    expected = np.tanh(np.arctanh(mean) + np.array([-half, half]))
    assert score_interval(SCORES, bounds_of("mcc")) == pytest.approx(tuple(expected))
    assert score_interval(SCORES, bounds_of("f1")) != pytest.approx(tuple(expected))


@given(st.lists(st.floats(0, 1), min_size=2, max_size=8), st.booleans())
def test_no_interval_leaves_the_scores_range(scores: list[float], correlation: bool) -> None:
    """It holds the mean, at the bounds too."""
    values, bounds = (2 * np.array(scores) - 1, CORRELATION) if correlation else (np.array(scores), SHARE)
    for found, (low, high) in (
        (score_interval(values, bounds), bounds),
        (mean_interval(values - values[::-1], bounds.of_difference), bounds.of_difference),
    ):
        if found is not None:
            assert low <= found.low <= found.high <= high
    found = score_interval(values, bounds)
    assert (found is None) == (deviation(values) == 0)
    assert found is None or found.low - 1e-12 <= values.mean() <= found.high + 1e-12


@pytest.mark.parametrize("scores", [[0.7], [0.7, 0.7, 0.1 + 0.6], [1.0, 1.0], [0.7, math.nan], []])
def test_what_has_no_spread_has_no_interval(scores: list[float]) -> None:
    assert score_interval(np.array(scores), SHARE) is None
    assert mean_interval(np.array(scores)) is None


def test_some_seeds_at_the_edge_still_have_an_interval() -> None:
    found = score_interval(np.array([1.0, 1.0, 0.98]), SHARE)
    assert found is not None
    assert found == pytest.approx((0.6620, 0.9999), abs=5e-5)


@pytest.mark.parametrize("place", range(len(POPULATIONS) - 1))
def test_intervals_hold_the_true_mean_as_often_as_they_say(place: int) -> None:
    """Scores of few rows near the edge are often equal, which makes intervals too wide. results/coverage has the same
    table by more samples."""
    population = POPULATIONS[place]
    for seeds in SEEDS:
        found = measure(population, seeds, "t, logit at the mean", samples=1500)
        assert 0.92 < found.covered < (0.975 if population.rows is None else 0.995), (population.name, seeds)
        assert found.outside == 0


@pytest.mark.parametrize("method", ["percentile", "BCa"])
def test_a_bootstrap_over_few_seeds_holds_it_too_seldom(method: str) -> None:
    found = [measure(POPULATIONS[1], seeds, method, samples=400).covered for seeds in (3, 5, 10)]
    assert found == pytest.approx([0.74, 0.83, 0.90], abs=0.06)


@pytest.mark.parametrize("seeds", SEEDS)
def test_paired_tests_err_as_seldom_as_they_say(seeds: int) -> None:
    found = over_seeds(POPULATIONS[2], seeds, samples=1500)
    assert found.covered == pytest.approx(0.95, abs=0.025)
    assert found.different == pytest.approx(0.05, abs=0.025)
    assert found.equivalent == pytest.approx(0.05, abs=0.025) or seeds <= 5  # with few seeds it has no power at all


def test_tests_over_rows_err_as_seldom_as_they_say() -> None:
    found = over_rows(400, 0.2, samples=1000)
    assert found.covered == pytest.approx(0.95, abs=0.025)
    assert found.different < 0.06


# --- tests


def test_values_that_are_equal_up_to_rounding_do_not_deviate() -> None:
    assert deviation(np.array([0.3, 0.1 + 0.2, 0.3])) == 0
    assert deviation(np.array([1.0, 2.0, 3.0])) == 1


SLEEP = np.array([1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4])
"""Extra hours of sleep by one drug over another, by patient (Student 1908, Biometrika 6:1-25)."""


def test_students_own_example_has_his_numbers() -> None:
    """As R's `t.test(extra ~ group, paired = TRUE)` gives them: p 0.002833, interval 0.7001 to 2.4599."""
    assert difference_p(SLEEP) == pytest.approx(0.002833, abs=5e-7)
    assert mean_interval(SLEEP) == pytest.approx((0.7001142, 2.4598858), abs=5e-7)


@pytest.mark.parametrize("margin", [1.0, 2.0, 3.0])
def test_equivalence_is_the_larger_of_scipys_one_sided_tests(margin: float) -> None:
    above = stats.ttest_1samp(SLEEP, -margin, alternative="greater").pvalue
    below = stats.ttest_1samp(SLEEP, margin, alternative="less").pvalue
    assert equivalence_p(SLEEP, margin) == pytest.approx(max(above, below))


def test_equivalence_is_statsmodels() -> None:
    """`ttost_paired(sleep, zeros, -2, 2)` of statsmodels 0.15, and with 3."""
    assert equivalence_p(SLEEP, 2.0) == pytest.approx(0.1541572356690974)
    assert equivalence_p(SLEEP, 3.0) == pytest.approx(0.002655570292658671)


def test_holms_method_multiplies_and_never_falls() -> None:
    """As `multipletests(p, method="holm")` of statsmodels 0.15 gives it. What is not known does not count."""
    found = holm(np.array([0.01, 0.04, math.nan, 0.03, 0.005, 0.9]))
    assert found == pytest.approx([0.04, 0.09, math.nan, 0.09, 0.025, 0.9], nan_ok=True)


# --- power


def simulated(seeds: int, mean: float, spread: float, margin: float) -> tuple[float, float]:
    """Shares of drawn samples in which each test rejects, by their definitions."""
    drawn = np.random.default_rng(1).normal(mean, spread, (20_000, seeds))
    error = drawn.std(1, ddof=1) / math.sqrt(seeds)
    one, two = stats.t.ppf(0.95, seeds - 1), stats.t.ppf(0.975, seeds - 1)
    both = ((drawn.mean(1) + margin) / error > one) & ((drawn.mean(1) - margin) / error < -one)
    return float(both.mean()), float((abs(drawn.mean(1)) / error > two).mean())


@pytest.mark.parametrize("case", [(12, 0.0, 0.02, 0.02), (20, 0.01, 0.03, 0.03), (30, 0.02, 0.04, 0.025)])
def test_power_is_that_of_drawn_samples(case: tuple[int, float, float, float]) -> None:
    equivalent, different = simulated(*case)
    assert power_of(*case)[0] == pytest.approx(equivalent, abs=0.015)
    assert power_of(*case)[1] == pytest.approx(different, abs=0.015)


@pytest.mark.parametrize("case", [(0.0, 0.02, 0.02), (0.01, 0.05, 0.03), (0.03, 0.05, 0.01)])
def test_the_seeds_needed_are_the_least_with_the_power(case: tuple[float, float, float]) -> None:
    needed = seeds_needed(*case)
    assert needed is not None
    assert max(power_of(needed, *case)) >= 0.8 > max(power_of(needed - 1, *case))


def test_no_number_of_seeds_decides_without_a_margin() -> None:
    assert seeds_needed(0.0, 0.02, 0.0) is None
    assert seeds_needed(0.0, 1.0, 1e-4) is None  # more than 100,000


def test_a_known_sample_size_is_found() -> None:
    """Cohen's medium effect, 0.5, needs 34 pairs at 80 %; `TTestPower().power(0.5, 12, 0.05)` of statsmodels 0.15."""
    assert seeds_needed(0.5, 1.0, 1e-9) == 34
    assert power_of(12, 0.5, 1.0, 1e-9)[1] == pytest.approx(0.3528241493273385)


def test_among_many_tests_a_difference_needs_more_seeds() -> None:
    assert [seeds_needed(0.5, 1.0, 1e-9, tests) for tests in (1, 10)] == [34, 58]


# --- digits


@pytest.mark.parametrize(
    ("half", "digits"),
    [(0.5, 1), (0.12, 2), (0.09, 2), (0.05, 2), (0.02, 2), (0.019, 3), (0.004, 3), (1e-6, 3), (7, 0)],
)
def test_digits_end_where_the_interval_does(half: float, digits: int) -> None:
    assert decimals(0.3 - half, 0.3 + half, 3) == digits
    assert decimals(None, None, 3) == 3
