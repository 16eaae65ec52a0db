"""Asks a fine-tuned model about texts: the label of each and its probability, as any of the backends computes them."""

from __future__ import annotations

import argparse
import io
import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from backends import BACKENDS
from benchmarks.cli.options import add_backend_option, add_worker_options, chosen_backends, chosen_pythons
from benchmarks.cli.parser import Parser, one_line_errors
from benchmarks.predict.texts import read_texts
from shared.errors import InputError

if TYPE_CHECKING:  # slow to import, and --help needs none of it
    import numpy as np

    from benchmarks.workers.environments import Environment
    from shared.job import Job
    from shared.tasks import Rows

EXAMPLES = """examples:
  python -m benchmarks.predict --model SAVED/CELL "The kettle sings."
  python -m benchmarks.predict --model SAVED/CELL --backend all "A goose slept." "Nobody slept but a fox."
  python -m benchmarks.predict --model SAVED/CELL --backend keras --file texts.txt --format json
  cut -f4 dev.tsv | python -m benchmarks.predict --model SAVED/CELL > labels.tsv

Exit code: 0 when all is answered, 1 when a backend fails, 2 for bad input."""

BATCH = 32
"""Rows of a batch. They are of similar length, so that little of it is padding."""

SPLIT = "texts"
"""What the encoded texts are called between here and the workers."""


def main(arguments: list[str] | None = None) -> None:
    with one_line_errors("benchmarks.predict"):
        sys.exit(predict(_parser().parse_args(arguments)))


def predict(options: argparse.Namespace) -> int:
    """Reads, checks and encodes the texts, asks each backend, prints. Returns the exit code. Raises InputError."""
    names, texts = _names_and_texts(options)
    backends, pythons = chosen_backends(names), chosen_pythons(options.python)
    rows = read_texts(texts, options.file)

    from benchmarks.workers.environments import find_environments

    with tempfile.TemporaryDirectory(prefix="concord.") as made:
        folder = Path(made)
        job = plan_job(rows, options, backends, pythons, folder)
        environments = find_environments(backends, pythons)

        from benchmarks.workers.launcher import WorkerFailed

        try:
            logits = _ask_each(job, environments, folder)
        except WorkerFailed as failure:
            print(f"benchmarks.predict: {failure}", file=sys.stderr)
            return failure.code
    _print(options, rows, job.labels, logits)
    return 0


def plan_job(rows: Rows, options: argparse.Namespace, backends: list[str], pythons: dict[str, Path], to: Path) -> Job:
    """The question for the first backend, with the texts encoded in a new folder below `to`. Raises InputError for all
    that can be refused before anything runs."""
    from benchmarks.cells.plan import check_pairs, check_token_ids
    from benchmarks.workers.environments import find_python, torch_converter
    from benchmarks.workers.machine import choose_device, choose_threads
    from shared.checkpoint.config import read_architecture
    from shared.checkpoint.saved import read_saved
    from shared.checkpoint.sources import resolve_model
    from shared.checkpoint.weights import check_weights
    from shared.encoding import write_encoded
    from shared.job import Job
    from shared.recipe import Recipe

    device, threads = choose_device(options.device), choose_threads(options.threads)
    for backend in backends:
        find_python(backend, pythons)
    checkpoint = resolve_model(options.model, torch_converter(pythons))
    _refuse_a_folder_of_models(checkpoint)
    saved = read_saved(checkpoint)
    max_len = saved.max_len if options.max_len is None else options.max_len
    recipe = Recipe(max_len=max_len, padding="longest", batch_size=BATCH)
    architecture = read_architecture(checkpoint, recipe, len(saved.labels))
    if rows.second is not None:
        check_pairs(architecture, options.model, "the input", "single texts")
    check_weights(checkpoint, architecture, head=True)
    data = to / "encoded"
    data.mkdir()
    write_encoded({SPLIT: rows}, checkpoint, max_len, architecture.pad_id, data)
    check_token_ids(data, options.model, architecture)
    return Job(
        kind="predict",
        backend=backends[0],
        task=saved.task_name or "",
        labels=saved.labels,
        metrics=(),
        data=str(data),
        checkpoint=str(checkpoint),
        recipe=recipe,
        device=device,
        threads=threads,
    )


def _ask_each(job: Job, environments: dict[str, Environment], folder: Path) -> dict[str, np.ndarray]:
    """Each backend's logits, [texts, labels], telling of progress on standard error. Raises WorkerFailed, and
    InputError where logits are no numbers."""
    import numpy as np

    from benchmarks.workers.launcher import ask
    from benchmarks.workers.progress import RunProgress, terminal
    from shared.encoding import read_encoded
    from shared.job import ARRAYS

    logits = {}
    with RunProgress(terminal(stderr=True), len(environments)) as progress:
        longest, lengths = job.recipe.max_len, read_encoded(Path(job.data))[SPLIT].lengths
        if filled := int((lengths == longest).sum()):
            progress.line(f"{filled} of {len(lengths)} inputs fill {longest} tokens: longer ones are cut (--max-len)")
        for backend, environment in environments.items():
            answer = ask(backend, replace(job, backend=backend), environment.python, folder / backend, progress)
            with np.load(folder / backend / ARRAYS) as arrays:
                logits[backend] = arrays[SPLIT]
            if not np.isfinite(logits[backend]).all():
                raise InputError(f"{job.checkpoint}: {backend} computes NaN or infinity with its weights; mend them")
            progress.end(f"loaded in {answer['import_seconds'] + answer['load_seconds']:.1f} s")
    return logits


def _print(options: argparse.Namespace, rows: Rows, labels: tuple[str, ...], logits: dict[str, np.ndarray]) -> None:
    from benchmarks.predict.output import PRINT, Shown, largest_difference, predictions
    from shared.metrics import probabilities

    found = {backend: probabilities(array) for backend, array in logits.items()}
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")
    form = options.format or ("table" if sys.stdout.isatty() else "tsv")
    shown = Shown(backend=len(found) > 1, every_label=options.all)
    try:
        PRINT[form](predictions(rows, labels, found), shown)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, such as `head`, has enough; Python would complain again as it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if len(found) > 1:
        print(
            f"largest difference of a probability between {', '.join(found)}: {largest_difference(found):.1e}",
            file=sys.stderr,
        )


def _names_and_texts(options: argparse.Namespace) -> tuple[list[str], list[str]]:
    """--backend's values as the command line has them, and the texts, which argparse counts among these where they come
    right behind. Raises InputError where texts stand in two places."""
    values = options.backend
    end = next((n for n, value in enumerate(values) if n and value not in (*BACKENDS, "all")), len(values))
    if options.texts and values[end:]:
        raise InputError(f"{values[end]!r} and {options.texts[0]!r} stand apart; pass the texts side by side")
    return values[:end], options.texts or values[end:]


def _refuse_a_folder_of_models(folder: Path) -> None:
    """Raises InputError for what --save was given, which holds a folder a cell."""
    inside = sorted(path.parent for path in folder.glob("*/config.json"))
    if inside and not (folder / "config.json").is_file():
        raise InputError(f"{folder} holds {len(inside)} models; pass one of them, such as {inside[0]}")


def _parser() -> Parser:
    parser = Parser(prog="benchmarks.predict", description=__doc__, epilog=EXAMPLES)
    what = parser.add_argument_group("what to ask")
    what.add_argument("texts", nargs="*", metavar="TEXT", help="one text, or two as a pair; --file has room for more")
    what.add_argument(
        "--file",
        metavar="FILE",
        help="UTF-8, a text a line or two with a tab between; - is standard input, which is read too where there are "
        "neither texts nor a file and something is piped in",
    )
    what.add_argument(
        "--model",
        required=True,
        metavar="NAME",
        help="a fine-tuned folder in HuggingFace's layout, as benchmarks.run --save leaves it, or a hub id of one",
    )
    add_backend_option(what, "torch")
    what.add_argument(
        "--max-len", type=int, metavar="N", help="tokens at which texts are cut (what the model's tokenizer says)"
    )
    how = parser.add_argument_group("how to show it")
    how.add_argument("--all", action="store_true", help="every label's probability, in config.json's order")
    how.add_argument(
        "--format",
        choices=["table", "tsv", "json"],
        help="tsv: the backend if there are several, the label, its probability, with --all every label's, the text; "
        "json: an object a line (table on a terminal, else tsv)",
    )
    add_worker_options(parser.add_argument_group("where"))
    return parser


if __name__ == "__main__":
    main()
