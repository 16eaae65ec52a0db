"""Measures variants side by side, prints the tables and writes them."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from msgspec import structs

from backends import BACKENDS
from benchmarks.cells.plan import Question
from benchmarks.speed.asked import SpeedAsked
from benchmarks.speed.prepare import prepare
from benchmarks.speed.report import write_report
from benchmarks.speed.results import Results
from benchmarks.speed.rounds import Conditions, measure_variants
from benchmarks.speed.sample import Sample, make_sample
from benchmarks.speed.summary import summarize
from benchmarks.speed.variants import Variant
from benchmarks.speed.wanted import Wanted
from benchmarks.workers.progress import RunProgress, terminal
from shared.architecture import Architecture
from shared.checkpoint.config import read_architecture
from shared.encoding import read_encoded
from shared.errors import InputError, tell


def measure_side_by_side(wanted: Wanted) -> int:
    """Measures what is not measured yet, prints and writes. Returns the exit code. Raises InputError, and ProcessFailed
    if a framework's rates cannot be measured."""
    if all("probes" in BACKENDS[backend].lacks for backend in wanted.backends):
        BACKENDS[wanted.backends[0]].module("probes")  # refuses: without any rate there is no floor
    prepared = prepare(wanted)
    (question,) = prepared.questions
    architecture = read_architecture(question.checkpoint, question.recipe, len(question.labels))
    asked = SpeedAsked(wanted.steps, wanted.variants, **structs.asdict(prepared.asked))
    file = asked.file(wanted.out)
    if wanted.rerun:
        file.unlink(missing_ok=True)
    results = Results.read(file, asked)
    left = sum(not results.has(variant, n) for variant in wanted.variants for n in range(1, wanted.rounds + 1))
    console = terminal()
    console.print(
        f"{len(wanted.variants)} variants x {wanted.rounds} rounds: {left} measurements to make; {file} holds the "
        "others (--rerun makes them again)",
        highlight=False,
        soft_wrap=True,
    )
    with tempfile.TemporaryDirectory() as scratch:
        samples = make_samples(question, architecture, wanted.variants, wanted.steps, Path(scratch), asked.device)
        conditions = Conditions(question, samples, prepared.environments, asked.device, asked.threads)
        with RunProgress(console, left) as progress:
            failed = measure_variants(conditions, wanted.variants, wanted.rounds, results, file, progress)
    rows = summarize(results, wanted.variants, samples, architecture)
    if rows:
        page, names = write_report(wanted.out, results, rows, samples, architecture)
        page.print(console)
        console.print(f"\n{wanted.out}: {', '.join(names)}", style="dim")
    for name, reason in failed.items():
        tell(f"benchmarks.speed: {name} failed: {reason}")
    if not rows and not failed:
        raise InputError("every variant was refused: " + "; ".join(f"{n}: {r}" for n, r in results.refused.items()))
    return 1 if failed else 0


def make_samples(
    question: Question, architecture: Architecture, variants: list[Variant], steps: int, folder: Path, device: str
) -> dict[str, Sample]:
    """The samples of the variants by their widths, each in a folder of its own below `folder`."""
    train = read_encoded(question.data)["train"]
    return {
        widths: make_sample(
            train,
            architecture,
            replace(question.recipe, padding=variant.padding),
            steps,
            folder / f"{variant.padding}-{variant.width_multiple}-{variant.attention_groups}",
            variant.width_multiple,
            variant.attention_groups if device == "cpu" else 1,
        )
        for widths, variant in {variant.widths: variant for variant in variants}.items()
    }
