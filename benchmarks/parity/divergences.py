"""What `benchmarks.parity --against stock` found: each standard part of a framework by itself, where it first shows and
what it comes to."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from rich.console import Console

from backends.parts import Part
from benchmarks.parity.ladder import Finding
from benchmarks.parity.ladder_report import Report, short, shown_versions
from benchmarks.parity.rungs import RUNG
from benchmarks.reporting.tables import print_table
from shared.files import write_whole

Divergences = dict[Part, list[Finding]]
"""What the ladder found of each part when it alone stood in the adapter's place."""
HOLDS = "none"
AFTER = ("losses", "last step", "dev")
"""The rungs that tell what a part comes to after all the steps, at the recipe's own settings."""


def print_divergences(console: Console, divergences: Divergences) -> None:
    """The table."""
    print_table(console, "One by one", _frame(divergences), names=2)


def write_divergences(path: Path, report: Report, divergences: Divergences, command: str) -> None:
    """A Markdown page: the table, and for each part what it does, how this project repairs it, and a check."""
    asked = report.asked
    sections = "\n\n".join(_section(part, findings, asked["steps"]) for part, findings in divergences.items())
    write_whole(
        path,
        f"""# What a straightforward port meets

Written by

```
{command}
```

which lets each framework's own standard parts climb the ladder of [parity.md](parity.md), one at a time, all else
being this project's repaired adapter: {asked["model"]} on {asked["task"]}, {asked["steps"]} steps of
{asked["recipe"]["batch_size"]} rows, length {asked["recipe"]["max_len"]}, {asked["device"]}, float32, against torch in
float64, dropout off. Row order and the head's first weights are given: what frameworks draw at random is not in here.
{shown_versions(report.versions)}.

`size` is the largest difference on the first rung that fails, `times its bound` how far that is beyond what rounding
explains. The last columns are what it comes to at the recipe's own settings: the largest difference of a step's loss,
and of a parameter after all steps, and the predictions on dev that come out otherwise. A part that shows on no rung
makes no difference to this checkpoint and data.

{_frame(divergences).to_markdown(index=False, disable_numparse=True)}

{sections}
""",
    )


def _frame(divergences: Divergences) -> pd.DataFrame:
    rows = []
    for part, findings in divergences.items():
        first = next((finding for finding in findings if not finding.holds), None)
        after = {finding.rung: finding for finding in findings if finding.rung in AFTER}
        rows.append(
            {
                "backend": part.backend,
                "part": part.name,
                "first rung": first.rung if first else HOLDS,
                "size": _size(first),
                "times its bound": short(first.share) if first else "–",
                "losses": _size(after["losses"]),
                "parameters": _size(after["last step"]),
                "dev": after["dev"].note.removesuffix(" predictions differ"),
            }
        )
    return pd.DataFrame(rows)


def _size(finding: Finding | None) -> str:
    return "–" if finding is None or finding.error is None else f"{finding.error:.1e}"


def _section(part: Part, findings: list[Finding], steps: int) -> str:
    first = next((finding for finding in findings if not finding.holds), None)
    after = {finding.rung: finding for finding in findings}
    if first is None:
        shows = "It shows on no rung here."
    else:
        where = f"{RUNG[first.rung].what}, {first.worst}" if first.worst != "value" else RUNG[first.rung].what
        shows = f"It shows at rung '{first.rung}' ({where}): {first.note or _size(first)}."
    return f"""## {part.backend}: {part.name}

{part.what} {shows} After {steps} steps losses are up to {_size(after["losses"])} and parameters up to
{_size(after["last step"])} apart.

{part.repair}

To see it, in `.tox/{part.backend}`:

```python
{part.check.rstrip()}
```"""
