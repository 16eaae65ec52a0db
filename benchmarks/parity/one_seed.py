"""Parity with one seed: every variant answers the same pack, and the recordings climb the ladder."""

from __future__ import annotations

import shutil
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks.parity.climb import Truth, climb
from benchmarks.parity.divergences import Divergences, divergences_page
from benchmarks.parity.ladder import Climb
from benchmarks.parity.ladder_report import LadderReport, ladder_page, write_report
from benchmarks.parity.plan import LadderPlan
from benchmarks.parity.rungs import STEEP_STEPS
from benchmarks.parity.variants import LadderVariant, noise_of
from benchmarks.port.answers import MOST, Answers, truth_bytes
from benchmarks.port.pack import Source, make_pack
from benchmarks.port.reference import Reference
from benchmarks.port.task_rows import of_task
from benchmarks.port.values import Values
from benchmarks.workers.beside import AT_ONCE, Beside, asking
from benchmarks.workers.launcher import Turns
from benchmarks.workers.progress import RunProgress, terminal
from shared.answer import Event, OneRecorded, Recorded, Scores
from shared.errors import ProcessFailed
from shared.files import scratch_folder
from shared.job import EmbeddingUpdate, Precision, recording_folder
from shared.pack import Pack

REFERENCE = "the reference: transformers in float64 and float32"


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
    dropout = question.architecture.dropout
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
    """Records variants, each process those of one backend."""

    plan: LadderPlan
    pack: Pack
    folder: Path
    progress: RunProgress
    made: dict[LadderVariant, Recording] = field(default_factory=dict)
    """Recordings by variant, as far as they are made."""

    def record(self, variants: list[LadderVariant]) -> Turns[None]:
        """The worker that records the variants one after another: they differ in their parts alone. Raises
        ProcessFailed."""
        first, folder, left = variants[0], self.folder / variants[0].name.replace(" ", "-"), deque(variants)
        cells = [self.progress.beside(first.name)]
        job = replace(
            self.plan.question.job(first.backend, first.place(self.plan.device), self.plan.threads),
            kind="record",
            precision=first.precision,
            embedding_update=first.embedding_update,
            pack=str(self.pack.folder),
            parts=first.parts,
            then=tuple(variant.parts for variant in variants[1:]),
        )

        def recorded(dev: Scores) -> None:
            place = recording_folder(folder, len(variants) - len(left))
            self.made[left.popleft()] = Recording(Values(place, self.pack), dev)
            cells.pop().end("recorded")

        def on_event(event: Event) -> None:
            if not isinstance(event, OneRecorded):
                cells[-1].event(event)
            elif len(left) == 1:
                raise ProcessFailed("the worker records more than it was asked to")
            else:
                recorded(event.dev)
                cells.append(self.progress.beside(left[0].name))

        python = self.plan.environments[first.backend].python
        try:
            answer = yield from asking(job, python, folder, Recorded, on_event)
        except ProcessFailed as failure:
            raise failure.of(left[0].name) from None
        if len(left) > 1:
            raise ProcessFailed(f"{left[0].name}: the worker ended without this recording")
        recorded(answer.dev)


def _climb_each(plan: LadderPlan, folder: Path, progress: RunProgress) -> dict[LadderVariant, Climb]:
    """Every variant's climb. Raises ProcessFailed."""
    with Beside(AT_ONCE if plan.device == "cpu" else 1) as beside:  # a GPU's memory has room for one
        reference = Reference(plan.environments["torch"], plan.threads, beside.run)
        with rung_source(plan) as source:
            pack = make_pack(source, folder / "pack", reference, plan.rerun)
        recorder = Recorder(plan, pack, folder, progress)
        for variants in _by_process(plan):
            beside.add(recorder.record(variants))
        cell = progress.beside(REFERENCE)
        if not (kept := truth_bytes(pack) <= MOST):
            progress.note("the truth is too large to be kept for the next run")
        answers = Answers.to(pack, reference, None if kept else folder / "reference", again=plan.rerun, ladder=True)
        cell.end("recorded")
        beside.until(lambda: recorder.made.keys() >= {*plan.noises})
        truths: dict[LadderVariant | None, Truth] = {None: Truth.of(answers)}
        for variant in plan.noises:
            truths[variant] = Truth.with_noise(answers.exact, recorder.made[variant].values)
        climbs: dict[LadderVariant, Climb] = {}

        def next_made() -> LadderVariant | None:
            left = (variant for variant in plan.variants if variant in recorder.made and variant not in climbs)
            return next(left, None)

        while len(climbs) < len(plan.variants):
            made = beside.until(next_made)
            mine = recorder.made[made]
            climbs[made] = climb(truths[noise_of(made, plan.device)], mine.values, mine.dev)
            shutil.rmtree(mine.values.folder)  # several times the model's size
        return climbs


def _by_process(plan: LadderPlan) -> Iterator[list[LadderVariant]]:
    """The variants that share a process, those first whose errors others are held to. A backend's own parts take
    AT_ONCE processes: each imports the framework once."""
    groups: dict[tuple[str, Precision, EmbeddingUpdate], list[LadderVariant]] = {}
    for variant in dict.fromkeys([*plan.noises, *plan.variants]):
        groups.setdefault((variant.backend, variant.precision, variant.embedding_update), []).append(variant)
    for group in groups.values():
        yield from (part for start in range(AT_ONCE) if (part := group[start::AT_ONCE]))
