"""What parity shows: a table on the terminal, parity.json, parity.md and a picture."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from benchmarks.cells.plan import Question
from benchmarks.parity.ladder import Finding, Trace, likely_causes
from benchmarks.parity.rungs import NOISE_FACTOR, RUNG
from benchmarks.workers.environments import Environment
from shared.checkpoint.sources import shown_model
from shared.files import write_whole

FAILS = "FAILS"


@dataclass
class Report:
    """The findings of every climber, with what was asked."""

    asked: dict[str, Any]
    versions: dict[str, dict[str, str]]
    findings: dict[str, list[Finding]] = field(default_factory=dict)
    """By climber, from the ground up."""
    dev: dict[str, dict[str, float]] = field(default_factory=dict)
    """Each climber's scores after the last step."""

    @classmethod
    def of(
        cls, question: Question, steps: int, device: str, threads: int, environments: dict[str, Environment]
    ) -> Report:
        """An empty one."""
        asked = {
            "task": question.task.name,
            "model": shown_model(question.model),
            "rows": {name: len(question.splits[name]) for name in ("train", "dev")},
            "steps": steps,
            "recipe": question.recipe.to_json(),
            "device": device,
            "threads": threads,
        }
        return cls(asked, {backend: environment.versions for backend, environment in environments.items()})

    def add(self, climber: str, trace: Trace, findings: list[Finding]) -> None:
        self.findings[climber] = findings
        self.dev[climber] = trace.summary["dev"]

    @property
    def holds(self) -> bool:
        return all(finding.holds for findings in self.findings.values() for finding in findings)

    def first_failures(self) -> dict[str, Finding]:
        """Of each climber that fails, the lowest rung."""
        failing = {climber: [f for f in findings if not f.holds] for climber, findings in self.findings.items()}
        return {climber: findings[0] for climber, findings in failing.items() if findings}


def print_report(console: Console, report: Report) -> None:
    """The table, and a line for each climber that fails."""
    frame = _frame(report)
    table = Table(title="Parity", title_justify="left", title_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in frame.columns:
        table.add_column(name, no_wrap=name != "compared")
    for row in frame.itertuples(index=False):
        table.add_row(*(f"[bold red]{cell}[/]" if FAILS in cell else cell for cell in row))
    console.print(table)
    for line in _notes(report):
        console.print(f"- {line}", style="dim", highlight=False, markup=False, soft_wrap=True)
    console.print()
    for line in _verdicts(report):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def write_report(out: Path, report: Report) -> None:
    """`parity.json`, `parity.md` and `parity.png` under `out`."""
    failures = report.first_failures()
    values = {
        "asked": report.asked,
        "versions": report.versions,
        "holds": report.holds,
        "climbers": {
            climber: {
                "holds": climber not in failures,
                "first_failure": failures[climber].rung if climber in failures else None,
                "dev": report.dev[climber],
                "rungs": [_plain(finding) for finding in findings],
            }
            for climber, findings in report.findings.items()
        },
    }
    write_whole(out / "parity.json", json.dumps(values, indent=1))
    asked = report.asked
    head = (
        f"# Parity: {asked['model']} on {asked['task']}\n\n{asked['steps']} steps, batch "
        f"{asked['recipe']['batch_size']}, length {asked['recipe']['max_len']}, {asked['device']}; "
        + shown_versions(report.versions)
    )
    table = _frame(report).to_markdown(index=False, disable_numparse=True)
    notes = "\n".join(f"- {line}" for line in _notes(report))
    verdicts = "\n\n".join(_verdicts(report))
    write_whole(out / "parity.md", f"{head}\n\n{table}\n\n{notes}\n\n{verdicts}\n\n![error by rung](parity.png)\n")
    _draw(out / "parity.png", report)


def shown_versions(versions: dict[str, dict[str, str]]) -> str:
    """Each backend with the versions behind its modules, on one line."""
    return "; ".join(f"{b} ({', '.join(f'{m} {v}' for m, v in found.items())})" for b, found in versions.items())


def _frame(report: Report) -> pd.DataFrame:
    rows = []
    for n, rung in enumerate(RUNG.values()):
        findings = {climber: found[n] for climber, found in report.findings.items()}
        cells = {climber: _cell(f, "float64" not in climber) for climber, f in findings.items()}
        rows.append({"rung": rung.name, "compared": rung.what} | cells)
    return pd.DataFrame(rows)


def _cell(finding: Finding, in_noise: bool) -> str:
    if finding.error is None:
        shown = "equal" if finding.holds else "differs"
    elif finding.times_noise is None or not in_noise:
        shown = f"{finding.error:.1e}"
    else:
        shown = f"{finding.error:.1e} ({short(finding.times_noise)}×)"
    return shown if finding.holds else f"{FAILS} {shown}"


def short(value: float) -> str:
    """A ratio, in few characters."""
    return f"{value:.1f}" if value < 100 else f"{value:.0f}" if value < 1e5 else f"{value:.0e}"


def _notes(report: Report) -> list[str]:
    return [
        "largest difference from torch in float64 (×: in units of torch's own float32 error, where there is one)",
        f"a rung fails where an error exceeds {NOISE_FACTOR} times torch's own and the rung's floor "
        "(benchmarks/parity/ladder.py)",
        "steep: learning rate 1e-3, decay 0.1, eps 1e-6, clip at a tenth of the norm, where mistakes show",
        *(
            f"{climber}: dev {_scores(report.dev[climber])}; {found[-1].note}"
            for climber, found in report.findings.items()
        ),
    ]


def _scores(dev: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in dev.items())


def _verdicts(report: Report) -> list[str]:
    failures = report.first_failures()
    lines = []
    for climber in report.findings:
        if climber not in failures:
            lines.append(f"{climber}: every rung holds.")
            continue
        finding = failures[climber]
        size = f", {short(finding.share)} times its bound" if finding.error is not None else ""
        note = f" ({finding.note})" if finding.note else ""
        lines.append(
            f"{climber} parts at '{finding.rung}', in {finding.worst}{size}{note}. The rungs below hold, so the likely "
            f"causes are: {likely_causes(finding)}."
        )
    return lines


def _plain(finding: Finding) -> dict[str, Any]:
    """JSON has no infinity."""
    return asdict(finding) | {"share": finding.share if finding.share < float("inf") else None}


def _draw(path: Path, report: Report) -> None:
    """Error against rung on a logarithmic scale, one line a climber."""
    # Imported here: most of a second, and only this needs it.
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rungs = [name for name in RUNG if name not in ("batches", "dropout")]
    figure, axes = pyplot.subplots(figsize=(10, 5), layout="constrained")
    for (climber, findings), marker in zip(report.findings.items(), "osD^vP", strict=False):
        by_name = {finding.rung: finding for finding in findings}
        errors = [by_name[name].error for name in rungs]
        axes.plot(rungs, [e or float("nan") for e in errors], marker=marker, label=climber, linewidth=1)
        failed = [name for name in rungs if not by_name[name].holds]
        axes.plot(failed, [by_name[name].error or float("nan") for name in failed], "x", color="red", markersize=12)
    axes.set_yscale("log")
    axes.set_ylabel("largest difference from float64")
    axes.tick_params(axis="x", labelrotation=45)
    for label in axes.get_xticklabels():
        label.set_horizontalalignment("right")
    axes.set_title(
        f"{report.asked['model']} on {report.asked['task']}, {report.asked['steps']} steps; zero errors are not drawn"
    )
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
