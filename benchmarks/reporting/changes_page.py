"""The page of a comparison of two folders: compare.md, compare.csv and the terminal."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.reporting.changes import FEWEST, Change, Changes, Side
from benchmarks.reporting.numbers import MISSING, around_median, decimals, number, p_value
from benchmarks.reporting.page import Block, Heading, Notes, Page, Table, write_csv
from benchmarks.reporting.rows import METRICS, SHOWN, Row, Speed
from benchmarks.statistics.paired import LEVEL, Comparison
from benchmarks.statistics.times import DRIFT
from benchmarks.workers.progress import terminal
from shared.errors import InputError
from shared.limits import PRINTED_ROWS
from shared.records import SPLITS, Records

STYLES = {
    **dict.fromkeys(("lower", "slower", "diverged"), "bold red"),
    **dict.fromkeys(("higher", "faster", "mended"), "bold green"),
}

COLUMNS = (
    *("seeds", "versions before", "versions after", "quantity", "before", "after", "change", "is", "low", "high"),
    *("test", "p", "holm_p", "verdict", "disturbed"),
)
"""Columns of compare.csv, after those that name a row."""

LEGEND = (
    "a change is after minus before, the mean over the seeds that both have [95 % interval by Student's t, paired by "
    "seed; of one seed by a paired bootstrap over rows, which says nothing of other seeds]",
    "`=`: equivalent within the deviation over the seeds before, by two one-sided paired t-tests at 5 %",
    "`≠`: different at 5 % by a paired t-test (of one seed: McNemar's exact test), adjusted by Holm's method over the "
    "table; without a mark: undecided, which is no proof of equality",
    "`epoch time ×`: median (quartiles) of an epoch's time after by that before, paired by seed and epoch; `–` if a "
    "side's times are of several machines; `!`: a run was disturbed",
    f"slower, faster: the quartiles of at least {FEWEST} undisturbed ratios lie more than {100 * DRIFT:.0f} % away "
    "from 1; no test is made of times",
)


def compare_folders(before: Path, after: Path) -> None:
    """Compares two folders: prints what changed, and writes compare.md and compare.csv into the second. Raises
    InputError if they are one folder, or one holds no records."""
    if before.resolve() == after.resolve():
        raise InputError(f"--compare: {before} and {after} are one folder; pass two")
    changes = Changes.of(_side(before), _side(after))
    page = changes_page(changes)
    page.write(after / "compare.md")
    write_csv(after / "compare.csv", changes_frame(changes), form=None)
    console = terminal()
    page.print(console)
    console.print(f"\n{after}/compare.md and compare.csv hold this", style="dim", soft_wrap=True)


def _side(folder: Path) -> Side:
    records = Records(folder)
    if not records:
        raise InputError(f"{folder}/records holds no records; pass the --out folder of a run")
    return Side.of(folder, records)


def changes_page(changes: Changes) -> Page:
    """The page: what differs about the folders, what changed beyond noise, every pair, and what only one has."""
    names = {id(row): cells for row, cells in zip(changes.rows.rows, changes.rows.names, strict=True)}
    shown = partial(Table, names=len(next(iter(names.values()), {})), most=PRINTED_ROWS)
    blocks: list[Block] = [
        Heading(f"# {changes.sides[1].folder.name} compared with {changes.sides[0].folder.name}"),
        Notes(_about(changes)),
    ]
    changed = [line for change in changes.changes for line in _changed(change, names[id(change.before)])]
    if changed:
        blocks.append(shown(pd.DataFrame(changed), "Changed beyond noise", styles=STYLES))
    if changes.changes:
        lines = [_line(change, names[id(change.before)]) for change in changes.changes]
        frame = pd.DataFrame(lines).fillna(MISSING)
        blocks.append(shown(frame.loc[:, (frame != MISSING).any()], "Every question that both have"))
        blocks.append(Notes(LEGEND))
    for side, rows in zip(changes.sides, changes.alone, strict=True):
        if rows:
            alone = [names[id(row)] | {"seeds": _seeds(row), "versions": row.versions()} for row in rows]
            blocks.append(shown(pd.DataFrame(alone), f"Only in {side.folder.name}"))
    return Page(blocks)


def changes_frame(changes: Changes) -> pd.DataFrame:
    """A row for each score of each pair, and one for its times: raw values."""
    names = {id(row): cells for row, cells in zip(changes.rows.rows, changes.rows.names, strict=True)}
    lines: list[dict[str, Any]] = []
    for change in changes.changes:
        before, after = change.before, change.after
        about: dict[str, Any] = dict(names[id(before)]) | {"seeds": len(change.pair.by_seed)}
        about |= {"versions before": before.versions(), "versions after": after.versions()}
        lines += [about | _score_values(change, one) for one in change.scores]
        if change.times:
            low, median, high = change.times
            before_s, after_s = _epoch_seconds(change)
            lines.append(
                about
                | {"quantity": "epoch_s", "before": before_s, "after": after_s}
                | {"change": median, "is": "ratio", "low": low, "high": high}
                | {"verdict": change.pace or "undecided", "disturbed": change.pair.disturbed()}
            )
    naming = list(next(iter(names.values()), {}))
    return pd.DataFrame(lines, columns=[*naming, *COLUMNS])


def _score_values(change: Change, one: Comparison) -> dict[str, Any]:
    before, after = _means(change, one)
    return {
        "quantity": f"{one.split}_{one.metric}",
        "before": before,
        "after": after,
        "change": one.mean,
        "is": "difference",
        "low": one.low,
        "high": one.high,
        "test": _test(one),
        "p": one.p_different,
        "holm_p": one.p_holm,
        "verdict": _verdict(one),
    }


def _about(changes: Changes) -> list[str]:
    """Lines on what the folders hold, and on what they were measured."""
    before, after = changes.sides
    lines = [
        f"{word}: {side.folder.name}, {len(side.keys):,} cells of "
        f"{' to '.join(dict.fromkeys((side.days[0], side.days[-1])))}, on {'; '.join(side.machines)}"
        for word, side in (("before", before), ("after", after))
    ]
    if before.machines != after.machines or len(before.machines) > 1:
        lines.append("HARDWARE DIFFERS: ratios of times are of different machines, and each is shown by itself")
    if changes.same:
        lines.append(f"{changes.same:,} cells are the same record in both, and are left out")
    if not changes.changes:
        return [*lines, "no question was asked in both folders with the same seed"]
    told = dict.fromkeys(words for change in changes.changes for words in change.circumstances)
    lines.append(f"what differs besides: {'; '.join(told)}" if told else "versions, threads and devices are the same")
    beyond = sum(len(change.beyond) for change in changes.changes)
    tests = sum(not math.isnan(one.p_holm) for change in changes.changes for one in change.scores)
    return [*lines, f"{beyond} of {tests} scores differ beyond noise, over {len(changes.changes)} questions"]


def _changed(change: Change, names: Mapping[str, str]) -> list[dict[str, str]]:
    """A line for each score that differs beyond noise, and one for times that do."""
    about = dict(names) | {"seeds": str(len(change.pair.by_seed))}
    lines = []
    for one in change.beyond:
        values = dict(zip(("before", "after"), (f"{mean:.3f}" for mean in _means(change, one)), strict=True))
        scored = {"what": f"{one.split} {SHOWN[one.metric]}"} | values | {"change": _difference(one)}
        lines.append(about | scored | {"Holm p": p_value(one.p_holm), "verdict": _verdict(one)})
    for seed, before, after in change.diverged:
        ends = {"what": f"seed {seed}", "before": before, "after": after, "change": MISSING, "Holm p": MISSING}
        lines.append(about | ends | {"verdict": "diverged" if before == "finished" else "mended"})
    if change.pace and change.times:
        before, after = (f"{seconds:.1f}" for seconds in _epoch_seconds(change))
        times = {"what": "epoch s", "before": before, "after": after, "change": f"× {around_median(change.times, 2)}"}
        lines.append(about | times | {"Holm p": MISSING, "verdict": change.pace})
    return lines


def _line(change: Change, names: Mapping[str, str]) -> dict[str, str]:
    line = dict(names) | {"seeds": str(len(change.pair.by_seed))}
    scores = {(one.split, one.metric): one for one in change.scores}
    for split, metric in itertools.product(SPLITS, METRICS):
        one = scores.get((split, metric))
        line[f"{split} {SHOWN[metric]}"] = _difference(one, marked=True) if one else MISSING
    marks = " !" * change.pair.disturbed()
    line["epoch time ×"] = around_median(change.times, 2) + marks if change.times else MISSING
    return line


def _difference(one: Comparison, marked: bool = False) -> str:
    form = f"+z.{decimals(one.low, one.high, 3)}f"
    text = number(one.mean, form)
    if not math.isnan(one.low):
        text += f" [{one.low:{form}}, {one.high:{form}}]"
    return text + (" =" * (one.p_equivalent < LEVEL) + " ≠" * (one.p_holm < LEVEL) if marked else "")


def _means(change: Change, one: Comparison) -> tuple[float, float]:
    """The score before and after, over the seeds that both have."""
    split = next(split for split in SPLITS if split == one.split)
    both = [[(record.scores(split) or {})[one.metric] for record in pair] for pair in change.pair.by_seed.values()]
    before, after = (sum(side) / len(side) for side in zip(*both, strict=True))
    return before, after


def _epoch_seconds(change: Change) -> tuple[float, float]:
    """The median time of an epoch before and after, over the seeds that both have."""
    before, after = (Speed.of(side).epoch_seconds for side in zip(*change.pair.by_seed.values(), strict=True))
    return before, after


def _verdict(one: Comparison) -> str:
    """How the score changed, beyond noise; else whether it is equivalent."""
    if one.p_holm < LEVEL:
        return "higher" if one.mean > 0 else "lower"
    return "equivalent" if one.p_equivalent < LEVEL else "undecided"


def _test(one: Comparison) -> str:
    if math.isnan(one.p_different):
        return ""
    return "paired t-test" if len(one.differences) > 1 else "McNemar, exact"


def _seeds(row: Row) -> str:
    return ", ".join(str(seed) for seed in sorted(record.recipe.seed for record in row.records))
