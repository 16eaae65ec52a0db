"""Whether cost grows as the work does: one epoch on growing numbers of training rows, time a real token and peak memory
beside each other, and the time that encoding takes."""

from __future__ import annotations

import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.cells.plan import Question
from benchmarks.reporting.tables import print_table
from benchmarks.speed.modes import Mode
from benchmarks.workers.attempts import DISTURBED, attempts
from benchmarks.workers.environments import Environment
from benchmarks.workers.launcher import ModeFailed, run_worker
from benchmarks.workers.progress import RunProgress, terminal
from shared.checkpoint.config import read_architecture
from shared.encoding import read_encoded, write_encoded, write_rows
from shared.errors import InputError
from shared.files import write_whole
from shared.job import Job
from shared.records import cell_id, steady_epoch_seconds

Size = dict[str, Any]
"""What one backend took for one number of rows: what `_measure` gives, and `busy_cores`."""

LEGEND = (
    "`µs a token`: an epoch's training time, its first step as long as the mean of the others, by the real tokens",
    "`× fewest rows`: by the same backend's at the smallest number of rows; 1 where cost grows as the work does",
    "`encode s`: text to arrays on disk for the training rows, from nothing",
)


def measure_scaling(
    questions: list[Question],
    mode: Mode,
    environments: dict[str, Environment],
    common: dict[str, Any],
    out: Path,
    rerun: bool,
) -> int:
    """One epoch a question, which differ in `train_rows` alone, on every backend, in this mode's precision. `common`
    is what benchmarks.speed asks in any case. What is measured is kept, under `out`, and with `rerun` measured anew.
    Prints and writes; returns the exit code. Raises InputError."""
    asked = {"kind": "scaling", "mode": mode.of_job()} | common
    device, threads, machine = common["device"], common["threads"], common["machine"]
    file = out / "rounds" / f"{cell_id(asked)}.json"
    if rerun:
        file.unlink(missing_ok=True)
    sizes: list[Size] = json.loads(file.read_text(encoding="utf-8"))["sizes"] if file.is_file() else []
    todo = [
        (backend, q)
        for q in questions
        for backend in environments
        if not any((size["backend"], size["rows"]) == (backend, len(q.splits["train"])) for size in sizes)
    ]
    console = terminal()
    failed = False
    with RunProgress(console, len(todo)) as progress:
        for backend, question in todo:
            progress.begin(f"{backend} {len(question.splits['train']):,} rows")
            job = question.job(backend, device, threads, **mode.of_job())
            try:
                size = _measure(job, question, environments[backend].python, progress)
            except ModeFailed as failure:
                failed = True
                progress.end(f"FAILED: {failure}")
                for line in failure.tail:
                    progress.line(f"      | {line}")
                continue
            sizes.append(size)
            write_whole(file, json.dumps({"asked": asked, "sizes": sizes}, indent=1))
            progress.end(f"{size['epoch_seconds']:.1f} s, {size['peak_memory_bytes'] / 2**20:.0f} MiB")
    if sizes:
        table = scaling_table(sizes)
        write_whole(out / "scaling.csv", pd.DataFrame(sizes).to_csv(index=False, float_format="%.6g"))
        recipe = questions[0].recipe
        note = (
            f"{common['model']} on {common['task']}, {mode.padding}, {mode.precision}, batch {recipe.batch_size}, "
            f"max_len {recipe.max_len}; {machine['cpu']}, {machine['cores']} cores, {threads} threads, {device}"
        )
        text = table.to_markdown(index=False, disable_numparse=True)
        lines = "\n".join(f"- {line}" for line in (*LEGEND, note))
        write_whole(out / "scaling.md", f"{text}\n\n{lines}\n")
        print_table(console, "Growing work", table)
        for line in (*LEGEND, note):
            console.print(f"- {line}", style="dim", highlight=False, markup=False)
        console.print(f"\n{out}: scaling.md, scaling.csv", style="dim")
    return 1 if failed else 0


def scaling_table(sizes: list[Size]) -> pd.DataFrame:
    """By backend and rows, every cell a string."""
    rows = []
    for size in sorted(sizes, key=lambda s: (s["backend"], s["rows"])):
        least = min((s for s in sizes if s["backend"] == size["backend"]), key=lambda s: s["rows"])
        rows.append(
            {
                "backend": size["backend"] + (" !" if size["busy_cores"] > DISTURBED else ""),
                "rows": f"{size['rows']:,}",
                "real tokens": f"{size['tokens']:,}",
                "encode s": f"{size['encode_seconds']:.2f}",
                "µs a row": f"{1e6 * size['encode_seconds'] / size['rows']:.1f}",
                "epoch s": f"{size['epoch_seconds']:.1f}",
                "µs a token": f"{1e6 * _by_token(size):.1f}",
                "× fewest rows": f"{_by_token(size) / _by_token(least):.3f}",
                "peak MiB": f"{size['peak_memory_bytes'] / 2**20:.0f}",
                "peak × fewest rows": f"{size['peak_memory_bytes'] / least['peak_memory_bytes']:.3f}",
                "others' cores": f"{size['busy_cores']:.2f}",
            }
        )
    return pd.DataFrame(rows)


def _by_token(size: Size) -> float:
    return float(size["epoch_seconds"] / size["tokens"])


def _measure(job: Job, question: Question, python: Path, progress: RunProgress) -> Size:
    """The least disturbed attempt. Raises InputError where the backend refuses the job, and ModeFailed."""
    architecture = read_architecture(question.checkpoint, job.recipe, len(job.labels))
    train = {"train": question.splits["train"]}

    def once() -> Size:
        with tempfile.TemporaryDirectory() as scratch:
            start = time.perf_counter()
            (fresh := Path(scratch) / "encoded").mkdir()
            write_encoded(train, question.checkpoint, job.recipe.max_len, architecture.pad_id, fresh)
            encode_seconds = time.perf_counter() - start
            encoded, data = read_encoded(question.data), Path(scratch) / "data"
            write_rows(data, {name: encoded[name] for name in ("train", "dev")})  # there is no test to wait for
            folder = Path(scratch) / "job"
            folder.mkdir()
            replace(job, data=str(data)).write(folder)
            outcome = run_worker(python, folder, job.threads, progress.event)
        if outcome.bad_input:
            raise InputError(outcome.error)
        if outcome.answer is None:
            raise ModeFailed(outcome.error, outcome.tail)
        (epoch,) = outcome.answer["epochs"]
        return {
            "backend": job.backend,
            "rows": epoch["rows"],
            "tokens": epoch["tokens"],
            "encode_seconds": encode_seconds,
            "epoch_seconds": steady_epoch_seconds(outcome.answer)[0],
            "start_seconds": outcome.answer["start_seconds"],
            "peak_memory_bytes": outcome.answer["peak_memory_bytes"],
        }

    size, busy = min(attempts(once), key=lambda attempt: attempt[1])
    return size | {"busy_cores": busy}
