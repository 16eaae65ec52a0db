"""Parity with one seed: every variant traces the same first steps, and the traces climb the ladder."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.parity.divergences import Divergences, divergences_page
from benchmarks.parity.ladder import Climb, Trace, Truth, climb
from benchmarks.parity.ladder_report import LadderReport, ladder_page, write_report
from benchmarks.parity.plan import LadderPlan
from benchmarks.parity.variants import TRUTH, LadderVariant, noise_of
from benchmarks.workers.launcher import ask
from benchmarks.workers.progress import RunProgress, terminal
from shared.answer import Traced
from shared.job import TRACE


def climb_ladder(plan: LadderPlan, out: Path, document: Path, command: str) -> int:
    """Traces, compares, prints and writes. `document` is the page about the frameworks' own parts, which shows the
    command. Returns the exit code. Raises ProcessFailed."""
    console = terminal()
    out.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".traces.", dir=out)).absolute()
    try:
        with RunProgress(console, plan.traced) as progress:
            climbs = _climb_each(plan.variants, Tracer(plan, folder, progress))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    report = LadderReport.of(plan, climbs)
    ladder_page(report).print(console)
    write_report(out, report)
    console.print(f"\n{out}/parity.md, parity.json and parity.png hold this", style="dim")
    if plan.alone:
        divergences: Divergences = {part: climbs[variant] for part, variant in plan.alone.items()}
        page = divergences_page(report, divergences, command)
        page.print(console)
        page.write(document)
        console.print(f"\n{document} tells of each", style="dim")
    return 0 if report.holds else 1


@dataclass(frozen=True)
class Tracer:
    """Runs trace jobs, each in a fresh process."""

    plan: LadderPlan
    folder: Path
    progress: RunProgress

    def trace(self, variant: LadderVariant, steep_clip: float | None) -> Trace:
        """The variant's trace. Raises ProcessFailed."""
        folder = self.folder / variant.name.replace(" ", "-")
        job = replace(
            self.plan.question.job(variant.backend, variant.place(self.plan.device), self.plan.threads),
            kind="trace",
            precision=variant.precision,
            steep_clip=steep_clip,
            parts=variant.parts,
        )
        python = self.plan.environments[variant.backend].python
        summary = ask(variant.name, job, python, folder, Traced, self.progress)
        self.progress.end("traced")
        return Trace(folder / TRACE, summary)


def _climb_each(variants: list[LadderVariant], tracer: Tracer) -> dict[LadderVariant, Climb]:
    """Every variant's climb. Raises ProcessFailed."""
    exact = tracer.trace(TRUTH, None)
    clip = exact.summary.steep_clip  # every variant clips at the truth's tenth of a norm
    noises = {noise: tracer.trace(noise, clip) for noise in dict.fromkeys(map(noise_of, variants))}
    climbs = {}
    for variant in variants:
        trace = noises.get(variant) or tracer.trace(variant, clip)
        climbs[variant] = climb(Truth(exact, noises[noise_of(variant)]), trace)
        if variant not in noises:
            shutil.rmtree(trace.folder)  # several times the model's size
    return climbs
