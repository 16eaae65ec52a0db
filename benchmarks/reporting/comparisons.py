"""Comparisons in tables: paired differences with their intervals, tests and verdicts."""

from __future__ import annotations

from benchmarks.reporting.numbers import decimals, number, p_value
from benchmarks.statistics.intervals import CONFIDENCE
from benchmarks.statistics.paired import LEVEL, Comparison

STYLES = {
    "equivalent": "green",
    "equivalent, different": "green",
    "different": "bold red",
    "undecided": "yellow",
}


def comparison_cells(one: Comparison, mean: str = "mean") -> dict[str, str]:
    """The cells of one comparison. `mean` heads the mean difference."""
    signed = f"+z.{decimals(one.low, one.high, 4)}f"
    return {
        mean: number(one.mean, signed),
        "deviation": number(one.deviation, ".4f"),
        "low": number(one.low, signed),
        "high": number(one.high, signed),
        "margin": number(one.margin, ".4f"),
        "TOST p": p_value(one.p_equivalent),
        "t-test p": p_value(one.p_different),
        "Holm p": p_value(one.p_holm),
        "verdict": one.verdicts,
    }


def comparison_legend(tests: int) -> list[str]:
    """Notes on those cells, in a table of so many comparisons."""
    return [
        f"low, high: the mean difference's {100 * CONFIDENCE:.0f} % interval by Student's t; the digits are those it "
        "supports",
        "equivalent: two one-sided paired t-tests reject that the true mean difference is the margin or more (TOST p "
        f"below {LEVEL})",
        f"different: a paired t-test rejects that it is 0 (Holm p below {LEVEL}: its p-value, adjusted by Holm's "
        f"method for the {tests} tests of this table); a difference can be plain, and within the margin",
        "undecided: neither, and more seeds may tell",
    ]
