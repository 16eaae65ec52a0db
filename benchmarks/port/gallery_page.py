"""The page about third-party ports and this project's own, made of what is known of each and of its committed
verdict."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from backends.parts import Part
from benchmarks.port.check import Checked
from benchmarks.port.gallery import AnyPort, find_ports, wrong_rungs
from benchmarks.port.own_ports import OwnPort
from benchmarks.port.third_party import Port
from benchmarks.reporting.numbers import short
from benchmarks.reporting.page import Heading, Page, Table, Text
from shared.errors import InputError
from shared.files import from_json

INTRODUCTION = """# Ports of BERT, checked

Each third-party port is taken as it comes from PyPI. It fine-tunes the default pack by its own model, loss, optimizer
and clipping, in a script of under 60 lines that does as the library's own documents do ([ports/](../ports)). `port
check` says at which rung it parts from transformers in float64, and which known mistakes explain that
([port.md](port.md)). One row of the pack has the pad token as text, which few training sets have: whoever trains that
token's embedding differs there alone.

This project's own adapters answer the same pack (`concord_NAME`), each also with one part of its framework as it comes,
in place of what the adapter repairs (`stock_NAME_PART`); the rest of such a row is the adapter.

```
tox run -e bench,torch
tox run -e ports -- google_bert
tox run -e ports -- stock_keras_clipping
python -m benchmarks.port gallery --document docs/ports.md
```

The second line runs one port in an environment of its own, made of its locked requirements; `all` runs every one. The
third runs in the environment `keras`; `own` stands for every adapter and part. The last makes this page of the verdicts
in [results/ports](../results/ports)."""

STOCK = """## Stock parts of the frameworks

Where every rung holds, the part shows elsewhere: the pack's LayerNorm has the usual epsilon, and sums over as few
numbers as here are exact enough. [divergences.md](divergences.md) has a check of each in ten lines."""


@dataclass(frozen=True)
class Verdict:
    """A port and its committed verdict."""

    port: AnyPort
    checked: Checked

    @classmethod
    def read(cls, port: AnyPort, results: Path) -> Verdict:
        """Reads a verdict. Raises InputError."""
        file = results / port.name / "check.json"
        try:
            return cls(port, from_json(file.read_bytes(), Checked))
        except (OSError, ValueError) as error:
            raise InputError(f"{file} is no verdict ({error}); run: tox run -e ports -- {port.name}") from None

    @property
    def wrong(self) -> list[str]:
        """Rungs that are wrong by themselves, each kind of arithmetic once."""
        names = (name.removesuffix(", steep") for name in wrong_rungs(self.checked))
        return list(dict.fromkeys(name.replace("last step", "first step") for name in names))

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
    verdicts = [Verdict.read(port, results) for port in find_ports(["all", "own"])]
    rows = [
        {
            "port": verdict.port.name,
            "library": verdict.port.library,
            "on": verdict.port.computes_with,
            "Python": verdict.port.python_version,
            "wrong by itself": ", ".join(verdict.wrong) or "nothing",
            "told as": ", ".join(f"`{name}`" for name in verdict.explained) or "–",
            "a steep step": verdict.first_step,
        }
        for verdict in verdicts
    ]
    table = Table(pd.DataFrame(rows), "Ports", heading=False, marked=True, names=4)
    foreign = [_about(verdict, verdict.port) for verdict in verdicts if isinstance(verdict.port, Port)]
    own = [(verdict, verdict.port) for verdict in verdicts if isinstance(verdict.port, OwnPort)]
    stock = [_about_part(verdict, port.part) for verdict, port in own if port.part]
    return Page([Heading(INTRODUCTION), table, *map(Text, foreign), Text([STOCK, *stock])])


def _about(verdict: Verdict, port: Port) -> list[str]:
    lines = [f"## {port.facts.title}", port.facts.cause.strip(), *_diagnosis(verdict)]
    if port.facts.remedy:
        lines.append(f"**Remedy:** {port.facts.remedy}")
    lines.append(f"[The whole verdict](../results/ports/{port.name}/check.md)")
    return lines


def _about_part(verdict: Verdict, part: Part) -> str:
    said = [part.what, *_diagnosis(verdict), f"This project: {part.repair}"]
    return f"[{verdict.port.name}](../results/ports/{verdict.port.name}/check.md): {' '.join(said)}"


def _diagnosis(verdict: Verdict) -> Iterator[str]:
    diagnosis = verdict.checked.diagnosis
    said = list(dict.fromkeys(cause.says[0] for cause in diagnosis.causes if cause.says))
    if said:
        yield f"The diagnosis: {'; '.join(said)}."
    if verdict.checked.holds:
        yield "Every rung holds on this pack."
    if diagnosis.unexplained:
        yield f"Nothing in the table explains: {', '.join(diagnosis.unexplained)}."
