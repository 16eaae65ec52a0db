"""The page about third-party ports, made of what is known of each and of its committed verdict."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from benchmarks.port.check import Checked
from benchmarks.port.third_party import Port, port_names
from benchmarks.reporting.numbers import short
from benchmarks.reporting.page import Heading, Page, Table, Text
from shared.errors import InputError
from shared.files import from_json

INTRODUCTION = """# Third-party ports of BERT, checked

Each is taken as it comes from PyPI. It fine-tunes the default pack by its own model, loss, optimizer and clipping, in a
script of under 60 lines that does as the library's own documents do ([ports/](../ports)). `port check` says at which
rung it parts from transformers in float64, and which known mistakes explain that ([port.md](port.md)). One row of the
pack has the pad token as text, which few training sets have: whoever trains that token's embedding differs there alone.

```
tox run -e bench,torch
tox run -e ports -- google_bert
python -m benchmarks.port gallery --document docs/ports.md
```

The second line runs one port in an environment of its own, made of its locked requirements; `all` runs every one. The
third makes this page of the verdicts in [results/ports](../results/ports)."""


@dataclass(frozen=True)
class Verdict:
    """A port and its committed verdict."""

    port: Port
    checked: Checked

    @classmethod
    def read(cls, name: str, results: Path) -> Verdict:
        """Reads a verdict. Raises InputError."""
        file = results / name / "check.json"
        try:
            return cls(Port.find(name), from_json(file.read_bytes(), Checked))
        except (OSError, ValueError) as error:
            raise InputError(f"{file} is no verdict ({error}); run: tox run -e ports -- {name}") from None

    @property
    def wrong(self) -> list[str]:
        """Rungs that are wrong by themselves, each kind of arithmetic once."""
        names = [found.rung for found in self.checked.rungs if found.state in ("wrong", "parts")]
        return list(dict.fromkeys(name.removesuffix(", steep").replace("last step", "first step") for name in names))

    @property
    def explained(self) -> list[str]:
        """Mistakes that explain them, as ids of shared/hypotheses.py."""
        return self.checked.diagnosis.differences

    @property
    def first_step(self) -> str:
        """The error of the weights after one steep step, from the pack."""
        found = next(found.from_pack for found in self.checked.rungs if found.rung == "first step, steep")
        return "–" if found is None or found.error is None else f"{found.error:.1e} ({short(found.share)}×)"


def gallery_page(results: Path) -> Page:
    """The page. Raises InputError if a verdict is missing."""
    verdicts = [Verdict.read(name, results) for name in port_names()]
    rows = [
        {
            "port": verdict.port.name,
            "library": f"{verdict.port.facts.package} {verdict.port.version(verdict.port.facts.package)}",
            "on": f"{verdict.port.facts.framework} {verdict.port.version(verdict.port.facts.framework)}",
            "Python": verdict.port.facts.python,
            "wrong by itself": ", ".join(verdict.wrong) or "nothing",
            "told as": ", ".join(f"`{name}`" for name in verdict.explained) or "–",
            "a steep step": verdict.first_step,
        }
        for verdict in verdicts
    ]
    table = Table(pd.DataFrame(rows), "Third-party ports", heading=False, names=4)
    return Page([Heading(INTRODUCTION), table, *(Text(_about(verdict)) for verdict in verdicts)])


def _about(verdict: Verdict) -> list[str]:
    facts, diagnosis = verdict.port.facts, verdict.checked.diagnosis
    lines = [f"## {facts.title}", facts.cause.strip()]
    said = list(dict.fromkeys(cause.says[0] for cause in diagnosis.causes if cause.says))
    if said:
        lines.append(f"The diagnosis: {'; '.join(said)}.")
    if diagnosis.unexplained:
        lines.append(f"Nothing in the table explains: {', '.join(diagnosis.unexplained)}.")
    if facts.remedy:
        lines.append(f"**Remedy:** {facts.remedy}")
    lines.append(f"[The whole verdict](../results/ports/{verdict.port.name}/check.md)")
    return lines
