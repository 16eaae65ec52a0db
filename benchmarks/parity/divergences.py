"""The page of `benchmarks.parity --against stock`: each of the frameworks' own parts by itself, the rung where it first
shows, and its effect after all steps."""

from __future__ import annotations

import pandas as pd

from backends.parts import Part
from benchmarks.parity.ladder import Climb, Finding
from benchmarks.parity.ladder_report import LadderReport, shown_versions
from benchmarks.parity.rungs import RUNG
from benchmarks.reporting.numbers import MISSING, short
from benchmarks.reporting.page import Heading, Page, Table

Divergences = dict[Part, Climb]
"""Climbs by part: that of its backend with the part alone in place of the adapter's."""
HOLDS = "none"
"""Stands for the first rung that fails if none does."""


def divergences_page(report: LadderReport, divergences: Divergences, command: str) -> Page:
    """A table, and for each part its description, this project's repair, and a check. The terminal shows the table
    only."""
    sections = (_section(part, climb, report.asked.steps) for part, climb in divergences.items())
    table = Table(_frame(divergences), "One by one", heading=False, names=2)
    return Page([Heading(_introduction(report, command)), table, *map(Heading, sections)])


def _introduction(report: LadderReport, command: str) -> str:
    asked = report.asked
    return f"""# What a straightforward port meets

Written by

```
{command}
```

Each framework's own standard parts climb the ladder of [parity.md](parity.md), one at a time. Everything else is this
project's repaired adapter. The training is {asked.model} on {asked.task}, {asked.steps} steps of
{asked.recipe.batch_size} rows, length {asked.recipe.max_len}, {asked.device}, float32, compared with torch in
float64, dropout off. Row order and the head's first weights are given: a framework's own random choice
of these is not compared.
{shown_versions(report.versions)}.

`size` is the largest difference on the first rung that fails, and `times its bound` the same as a multiple of the
rung's bound. The last columns show the effect at the recipe's own settings: the largest difference of a step's loss,
the largest difference of a parameter after all steps, and the number of predictions on dev that differ. A part that
shows on no rung makes no difference to this checkpoint and data."""


def _frame(divergences: Divergences) -> pd.DataFrame:
    rows = []
    for part, climb in divergences.items():
        first = climb.first_failure
        rows.append(
            {
                "backend": part.backend,
                "part": part.name,
                "first rung": first.rung if first else HOLDS,
                "size": _size(first),
                "times its bound": short(first.share) if first else MISSING,
                "losses": _size(climb.at("losses")),
                "parameters": _size(climb.at("last step")),
                "dev": climb.at("dev").note.removesuffix(" predictions differ"),
            }
        )
    return pd.DataFrame(rows)


def _size(finding: Finding | None) -> str:
    return MISSING if finding is None or finding.error is None else f"{finding.error:.1e}"


def _section(part: Part, climb: Climb, steps: int) -> str:
    first = climb.first_failure
    if first is None:
        shows = "It shows on no rung here."
    else:
        where = f"{RUNG[first.rung].what}, {first.worst}" if first.worst != "value" else RUNG[first.rung].what
        shows = f"It shows at rung '{first.rung}' ({where}): {first.note or _size(first)}."
    return f"""## {part.backend}: {part.name}

{part.what} {shows} After {steps} steps losses are up to {_size(climb.at("losses"))} and parameters up to
{_size(climb.at("last step"))} apart.

{part.repair}

To see it, in `.tox/{part.backend}`:

```python
{part.check.rstrip()}
```"""
