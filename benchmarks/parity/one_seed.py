"""Parity with one seed: every variant answers the same pack, and the recordings climb the ladder."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.parity.climb import Truth, climb
from benchmarks.parity.divergences import Divergences, divergences_page
from benchmarks.parity.ladder import Climb
from benchmarks.parity.ladder_report import LadderReport, ladder_page, write_report
from benchmarks.parity.plan import LadderPlan
from benchmarks.parity.rungs import STEEP_STEPS
from benchmarks.parity.variants import LadderVariant, noise_of
from benchmarks.port.answers import Answers
from benchmarks.port.pack import Source, make_pack
from benchmarks.port.reference import Reference
from benchmarks.port.task_rows import of_task
from benchmarks.port.values import Values
from benchmarks.workers.launcher import ask
from benchmarks.workers.progress import RunProgress, terminal
from shared.answer import Recorded, Scores
from shared.checkpoint.config import read_architecture
from shared.files import scratch_folder
from shared.job import RECORDING
from shared.pack import Pack


def climb_ladder(plan: LadderPlan, out: Path, document: Path, command: str) -> int:
    """Records, compares, prints and writes. `document` is the page about the frameworks' own parts, which shows the
    command. Returns the exit code. Raises ProcessFailed."""
    console = terminal()
    with scratch_folder(out.absolute() / "recordings") as folder, RunProgress(console, plan.recordings) as progress:
        climbs = _climb_each(plan, folder, progress)
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


@contextmanager
def rung_source(plan: LadderPlan) -> Iterator[Source]:
    """The source of the pack that every variant answers: the plan's steps, all of dev, and no more wanted than rungs
    compare."""
    question = plan.question
    dropout = read_architecture(question.checkpoint, question.recipe, len(question.labels)).dropout
    with of_task(question, plan.steps, dev_batches=None) as source:
        yield replace(source, dropout=dropout.embeddings, steep_steps=STEEP_STEPS, compared_alone=True)


@dataclass(frozen=True)
class Recording:
    """A variant's answer to the pack."""

    values: Values
    dev: Scores
    """Scores after the last step."""


@dataclass(frozen=True)
class Recorder:
    """Runs record jobs, each in a fresh process."""

    plan: LadderPlan
    pack: Pack
    folder: Path
    progress: RunProgress

    def record(self, variant: LadderVariant) -> Recording:
        """The variant's recording. Raises ProcessFailed."""
        folder = self.folder / variant.name.replace(" ", "-")
        job = replace(
            self.plan.question.job(variant.backend, variant.place(self.plan.device), self.plan.threads),
            kind="record",
            precision=variant.precision,
            pack=str(self.pack.folder),
            parts=variant.parts,
        )
        python = self.plan.environments[variant.backend].python
        recorded = ask(variant.name, job, python, folder, Recorded, self.progress)
        self.progress.end("recorded")
        return Recording(Values(folder / RECORDING, self.pack), recorded.dev)


def _climb_each(plan: LadderPlan, folder: Path, progress: RunProgress) -> dict[LadderVariant, Climb]:
    """Every variant's climb. Raises ProcessFailed."""
    progress.begin("the reference: transformers in float64 and float32")
    reference = Reference(plan.environments["torch"], plan.threads)
    with rung_source(plan) as source:
        pack = make_pack(source, folder / "pack", reference)
    answers = Answers.to(pack, reference, folder / "reference")
    progress.end("recorded")
    recorder = Recorder(plan, pack, folder, progress)
    noises = {variant: recorder.record(variant) for variant in plan.noises}
    truths: dict[LadderVariant | None, Truth] = {None: Truth.of(answers)}
    truths |= {variant: Truth.with_noise(answers.exact, torch.values) for variant, torch in noises.items()}
    climbs = {}
    for variant in plan.variants:
        mine = noises.get(variant) or recorder.record(variant)
        climbs[variant] = climb(truths[noise_of(variant, plan.device)], mine.values, mine.dev)
        if variant not in noises:
            shutil.rmtree(mine.values.folder)  # several times the model's size
    return climbs
