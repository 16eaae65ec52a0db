"""Growing work: one epoch on growing numbers of training rows, to see whether time a real token, peak memory and the
time of encoding stay flat."""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
from msgspec import UNSET, Struct, UnsetType, structs

from benchmarks.cells.plan import Question
from benchmarks.reporting.page import Notes, Page, Table, write_csv
from benchmarks.speed.asked import Computing, ScalingAsked
from benchmarks.speed.prepare import prepare
from benchmarks.speed.variants import Variant
from benchmarks.speed.wanted import Wanted
from benchmarks.workers.attempts import DISTURBED, attempts
from benchmarks.workers.launcher import check_finished, run_worker
from benchmarks.workers.machine import with_node
from benchmarks.workers.progress import RunProgress, terminal
from shared.answer import Trained
from shared.checkpoint.config import read_architecture
from shared.encoding import read_encoded, write_encoded, write_rows
from shared.errors import InputError, ProcessFailed
from shared.files import from_json, to_json, write_whole
from shared.job import Job
from shared.recipe import Recipe

LEGEND = (
    "`µs a token`: an epoch's training time, its first step as long as the mean of the others, by the real tokens",
    "`× fewest rows`: by the same backend's at the smallest number of rows; 1 where cost grows as the work does",
    "`encode s`: text to arrays on disk for the training rows, from nothing",
)


class Size(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The cost of one epoch on so many rows."""

    backend: str
    rows: int
    tokens: int
    """Real ones."""
    encode_seconds: float
    epoch_seconds: float
    """Training alone, the first step as long as the mean of the others."""
    start_seconds: float
    """Time from the worker's first line to the first step."""
    peak_memory_bytes: int
    busy_cores: float
    """Cores that other processes kept busy meanwhile."""

    @property
    def by_token(self) -> float:
        """Seconds a real token."""
        return self.epoch_seconds / self.tokens


class Sizes(Struct, forbid_unknown_fields=True):
    """All that was measured for one question, in one file."""

    asked: ScalingAsked
    sizes: list[Size]
    nodes: list[str] | UnsetType = UNSET
    """The nodes of a cluster that measured."""

    @classmethod
    def read(cls, file: Path, asked: ScalingAsked) -> Sizes:
        """The file's sizes, or none yet if there is no file. Raises InputError if it holds something else."""
        if not file.is_file():
            return cls(asked, [])
        try:
            return from_json(file.read_bytes(), cls)
        except ValueError:
            raise InputError(
                f"{file} holds no sizes of benchmarks.speed --scale; delete it and measure again"
            ) from None

    def has(self, backend: str, rows: int) -> bool:
        """Whether the backend was measured on so many rows."""
        return any((size.backend, size.rows) == (backend, rows) for size in self.sizes)


def measure_scaling(wanted: Wanted) -> int:
    """Measures what is not measured yet, each backend on each number of rows; prints and writes. Returns the exit code.
    Raises InputError, also if a backend refuses."""
    prepared = prepare(wanted)
    variant = wanted.variants[0]
    computing = Computing(
        precision=variant.precision, compile=variant.compile, embedding_update=variant.embedding_update
    )
    asked = ScalingAsked(computing, **structs.asdict(prepared.asked))
    file = asked.file(wanted.out)
    if wanted.rerun:
        file.unlink(missing_ok=True)
    found = Sizes.read(file, asked)
    left = [
        (variant, question)
        for question in prepared.questions
        for variant in wanted.variants
        if not found.has(variant.backend, len(question.splits["train"]))
    ]
    if left:
        found.nodes = with_node(found.nodes)
    console, failed = terminal(), False
    with RunProgress(console, len(left)) as progress:
        for variant, question in left:
            progress.begin(f"{variant.backend} {len(question.splits['train']):,} rows")
            python = prepared.environments[variant.backend].python
            try:
                size = _measure(_job(variant, question, asked), question, python, progress)
            except ProcessFailed as failure:
                if failure.refused:
                    raise InputError(str(failure)) from None
                failed = True
                progress.failed("FAILED", failure)
                continue
            found.sizes.append(size)
            write_whole(file, to_json(found, indent=1))
            progress.end(f"{size.epoch_seconds:.1f} s, {size.peak_memory_bytes / 2**20:.0f} MiB")
    if found.sizes:
        write_report(wanted.out, found).print(console)
        console.print(f"\n{wanted.out}: scaling.md, scaling.csv", style="dim")
    return 1 if failed else 0


def _job(variant: Variant, question: Question, asked: ScalingAsked) -> Job:
    job = question.job(variant.backend, asked.device, asked.threads)
    return replace(job, precision=variant.precision, compile=variant.compile, embedding_update=variant.update)


def _measure(job: Job, question: Question, python: Path, progress: RunProgress) -> Size:
    """The least disturbed attempt. Raises ProcessFailed."""
    architecture = read_architecture(question.checkpoint, job.recipe, len(job.labels))
    train = {"train": question.splits["train"]}

    def once() -> tuple[float, Trained]:
        with tempfile.TemporaryDirectory() as scratch:
            start = time.perf_counter()
            (fresh := Path(scratch) / "encoded").mkdir()
            write_encoded(train, question.checkpoint, job.recipe.max_len, architecture.pad_id, fresh)
            encode_seconds = time.perf_counter() - start
            encoded, data = read_encoded(question.data), Path(scratch) / "data"
            write_rows(data, {name: encoded[name] for name in ("train", "dev")})  # without a test split to wait for
            folder = Path(scratch) / "job"
            folder.mkdir()
            replace(job, data=str(data)).write(folder)
            return encode_seconds, run_worker(python, folder, job.threads, progress.event, Trained)

    (encode_seconds, answer), busy = min(attempts(once), key=lambda attempt: attempt[1])
    check_finished(answer)
    (epoch,) = answer.epochs
    return Size(
        backend=job.backend,
        rows=epoch.rows,
        tokens=epoch.tokens,
        encode_seconds=encode_seconds,
        epoch_seconds=answer.steady_epoch_seconds()[0],
        start_seconds=answer.start_seconds,
        peak_memory_bytes=answer.peak_memory_bytes,
        busy_cores=busy,
    )


def write_report(out: Path, found: Sizes) -> Page:
    """Writes scaling.csv and scaling.md under `out`. Returns the page, to be printed."""
    asked = found.asked
    recipe = Recipe.from_json(asked.recipes[0])
    note = (
        f"{asked.model} on {asked.task}, {recipe.padding}, {asked.computing.precision}, batch {recipe.batch_size}, "
        f"max_len {recipe.max_len}; {asked.machine.shown}, {asked.workers_shown}, {asked.device}"
    )
    nodes = [f"measured on {', '.join(found.nodes)}"] if found.nodes else []
    page = Page([Table(scaling_table(found.sizes), "Growing work", heading=False), Notes([*LEGEND, note, *nodes])])
    write_csv(out / "scaling.csv", pd.DataFrame([structs.asdict(size) for size in found.sizes]))
    page.write(out / "scaling.md")
    return page


def scaling_table(sizes: list[Size]) -> pd.DataFrame:
    """The sizes by backend and rows, every cell a string."""
    rows = []
    for size in sorted(sizes, key=lambda s: (s.backend, s.rows)):
        least = min((s for s in sizes if s.backend == size.backend), key=lambda s: s.rows)
        rows.append(
            {
                "backend": size.backend + (" !" if size.busy_cores > DISTURBED else ""),
                "rows": f"{size.rows:,}",
                "real tokens": f"{size.tokens:,}",
                "encode s": f"{size.encode_seconds:.2f}",
                "µs a row": f"{1e6 * size.encode_seconds / size.rows:.1f}",
                "epoch s": f"{size.epoch_seconds:.1f}",
                "µs a token": f"{1e6 * size.by_token:.1f}",
                "× fewest rows": f"{size.by_token / least.by_token:.3f}",
                "peak MiB": f"{size.peak_memory_bytes / 2**20:.0f}",
                "peak × fewest rows": f"{size.peak_memory_bytes / least.peak_memory_bytes:.3f}",
                "others' cores": f"{size.busy_cores:.2f}",
            }
        )
    return pd.DataFrame(rows)
