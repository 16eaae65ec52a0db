"""The tables of the simulation: coverage.md and coverage.csv."""

from __future__ import annotations

import itertools
from pathlib import Path

import pandas as pd

from benchmarks.reporting.page import Heading, Notes, Page, Table, write_csv
from benchmarks.statistics.coverage import METHODS, POPULATIONS, RESAMPLES, SEEDS, Covered, measure
from benchmarks.statistics.errors import Errors, over_rows, over_seeds
from benchmarks.workers.progress import terminal

ROWS = (100, 400, 1000)
DISCORDANT = (0.05, 0.2)
"""Shares of rows that only one of two variants has right."""

INTRODUCTION = """# Coverage of intervals

How often a 95 % interval holds the true value, and how often a test at 5 % errs, in %, on made-up scores."""


PAIRED = (
    "coverage: the interval by Student's t holds the true difference, 0; different: the paired t-test calls variants "
    "different that are the same; equivalent: two one-sided tests call variants equivalent that are a margin apart, "
    "here the scores' deviation"
)
OVER_ROWS = (
    "discordant: share of the rows that only one of two variants has right; coverage: the paired bootstrap's interval "
    "holds the true difference, 0; different: McNemar's exact test calls variants different that are the same"
)


def simulate(samples: int, out: Path) -> None:
    """Measures every method on every population, prints the tables and writes them."""
    asked = itertools.product(POPULATIONS, SEEDS, METHODS)
    found = [measure(population, seeds, method, samples) for population, seeds, method in asked]
    write_csv(out / "coverage.csv", _raw(found))
    page = Page(
        [
            Heading(INTRODUCTION),
            Table(coverage_frame(found), "Means over seeds: coverage of their intervals, %", names=2),
            Notes(_notes(samples)),
            Table(_paired(samples), "Differences paired by seed, %", names=2),
            Notes([PAIRED]),
            Table(_over_rows(samples), "Differences of accuracies over rows, %", names=2),
            Notes([OVER_ROWS]),
        ]
    )
    page.write(out / "coverage.md")
    page.print(terminal())


def _paired(samples: int) -> pd.DataFrame:
    lines = []
    for population, seeds in itertools.product(POPULATIONS, SEEDS):
        errors = over_seeds(population, seeds, samples)
        lines.append({"scores": population.name, "seeds": str(seeds)} | _shown(errors))
    return pd.DataFrame(lines)


def _over_rows(samples: int) -> pd.DataFrame:
    lines = []
    for rows, discordant in itertools.product(ROWS, DISCORDANT):
        errors = over_rows(rows, discordant, samples)
        lines.append({"rows": str(rows), "discordant": f"{discordant:.0%}"} | _shown(errors))
    return pd.DataFrame(lines)


def _shown(errors: Errors) -> dict[str, str]:
    shares = {"coverage": errors.covered, "different": errors.different, "equivalent": errors.equivalent}
    return {name: f"{100 * share:.1f}" for name, share in shares.items() if share is not None}


def coverage_frame(found: list[Covered]) -> pd.DataFrame:
    """A row for each population and number of seeds, a column for each method. Every cell is a string."""
    rows: dict[tuple[str, int], dict[str, str]] = {}
    for one in found:
        row = rows.setdefault((one.population.name, one.seeds), {})
        row[one.method] = f"{100 * one.covered:.1f}" + ("!" if one.outside > 0 else "")
    return pd.DataFrame({"scores": name, "seeds": str(seeds)} | row for (name, seeds), row in rows.items())


def _raw(found: list[Covered]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "population": one.population.name,
            "seeds": one.seeds,
            "method": one.method,
            "covered": one.covered,
            "outside": one.outside,
            "without": one.without,
            "width": one.width,
        }
        for one in found
    )


def _notes(samples: int) -> list[str]:
    error = 100 * (0.95 * 0.05 / samples) ** 0.5
    return [
        f"{samples:,} samples of each kind, so that a true 95 % is measured with a standard error of {error:.1f} %",
        "scores: beta-distributed between 0 and 1, or between -1 and 1 for MCC, mean ± standard deviation; `of 100 "
        "rows`: each row right with the seed's chance; `a tenth fail`: seeds that score 0.5",
        "`!`: some intervals reach beyond the score's range",
        "`t, logit at the mean`: in use for scores; `t`: in use for differences, cut off at their range there",
        "`t of logits`: of the mean of each score's logit, which is not the logit of the mean",
        f"`percentile`, `BCa`: bootstrap over seeds, {RESAMPLES:,} resamples, by scipy",
        "samples whose scores are all the same have no interval and are left out (coverage.csv has their share)",
    ]
