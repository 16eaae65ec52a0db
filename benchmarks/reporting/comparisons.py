"""Comparisons in tables: paired differences with their intervals, tests and verdicts."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import pandas as pd

from benchmarks.reporting.numbers import MISSING, around_median, decimals, number, p_value
from benchmarks.reporting.pairs import Pair
from benchmarks.reporting.rows import METRICS, SHOWN, Rows
from benchmarks.statistics.intervals import CONFIDENCE
from benchmarks.statistics.paired import LEVEL, Comparison, as_table
from benchmarks.statistics.times import quartiles
from shared.records import SPLITS

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


def pairs_frame(pairs: Sequence[Pair], rows: Rows) -> pd.DataFrame:
    """A line for each pair: the difference of every score that both have, and the ratio of their epochs' times. Its
    cells are strings; `pairs_legend` explains them."""
    compared = {
        (n, split, metric): found
        for n, pair in enumerate(pairs)
        for split, metric in itertools.product(SPLITS, METRICS)
        if (found := pair.compare(split, metric))
    }
    tabled = dict(zip(compared, as_table(list(compared.values())), strict=True))
    names = {id(row): cells for row, cells in zip(rows.rows, rows.names, strict=True)}
    lines = []
    for n, pair in enumerate(pairs):
        line = {name: cell for name, cell in names[id(pair.first)].items() if name not in ("backend", pair.heading)}
        line |= {"difference": pair.shown, "seeds": str(len(pair.by_seed))}
        for split, metric in itertools.product(SPLITS, METRICS):
            one = tabled.get((n, split, metric))
            line[f"{split} {SHOWN[metric]}"] = _difference(one) if one else MISSING
        ratios = pair.epoch_ratios()
        line["epoch time ×"] = around_median(quartiles(ratios), 2) + " !" * pair.disturbed() if len(ratios) else MISSING
        lines.append(line)
    frame = pd.DataFrame(lines).fillna(MISSING)
    return frame.loc[:, (frame != MISSING).any()]


def pairs_legend(pairs: Sequence[Pair], of: int) -> list[str]:
    """Notes on the table of pairs, which are the first of so many."""
    if not pairs:
        return []
    seeds = {len(pair.by_seed) for pair in pairs}
    tests = [*(["a paired t-test"] if seeds != {1} else []), *(["McNemar's exact test"] if 1 in seeds else [])]
    notes = [f"comparisons: the first {len(pairs)} of {of:,} pairs"] if len(pairs) < of else []
    if seeds != {1}:
        notes.append(
            "comparisons: mean difference [95 % interval by Student's t], paired by seed; `=`: equivalent within the "
            "first's deviation over the seeds, by two one-sided paired t-tests at 5 %"
        )
    if 1 in seeds:
        notes.append(
            "comparisons of one seed: difference [95 % interval by a paired bootstrap over rows, which says nothing of "
            "other seeds; of older records, whose true labels are not kept, for accuracy alone]"
        )
    return [
        *notes,
        f"`≠`: different at 5 % by {' or '.join(tests)}, adjusted by Holm's method over the table; without a mark: "
        "undecided",
        "`epoch time ×`: median (quartiles) of an epoch's time by the other's, paired by seed and epoch",
    ]


def _difference(one: Comparison) -> str:
    form = f"+z.{decimals(one.low, one.high, 3)}f"
    text = number(one.mean, form)
    if not math.isnan(one.low):
        text += f" [{one.low:{form}}, {one.high:{form}}]"
    return text + " =" * (one.p_equivalent < LEVEL) + " ≠" * (one.p_holm < LEVEL)
