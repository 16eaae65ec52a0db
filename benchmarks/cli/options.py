"""Options that commands share, and what is made of them."""

from __future__ import annotations

import argparse
import re
from dataclasses import fields
from pathlib import Path

from backends import BACKENDS
from benchmarks.cli.parser import Parser
from benchmarks.cli.values import every, one_of, yes_or_no
from shared.batching import REPEATED_WIDTHS
from shared.errors import InputError
from shared.job import EMBEDDING_UPDATES, TRAINED
from shared.presets import Preset, get_preset, preset_names
from shared.recipe import Recipe
from shared.tasks import TASK_MODULES

TASK_HELP = (
    "a file, a folder or a task.toml of your own data, hub:OWNER/NAME or hub:OWNER/NAME:CONFIG, or "
    + ", ".join(TASK_MODULES)
)


def add_what_options(parser: argparse.ArgumentParser, task_required: bool = True) -> argparse._ArgumentGroup:
    """Adds `--backend`, `--task` and `--model`. Returns their group, to which a command may add more."""
    what = parser.add_argument_group("what to compare")
    add_backend_option(what, "all")
    what.add_argument("--task", nargs="+", required=task_required, metavar="NAME", help=TASK_HELP)
    what.add_argument(
        "--model",
        nargs="+",
        default=["google-bert/bert-base-uncased"],
        metavar="NAME",
        help="a folder in HuggingFace's layout, a hub id, minilm, or random:NAME with bert-tiny, minilm, distilbert, "
        "bert-base or bert-large",
    )
    return what


def add_preset_option(what: argparse._ArgumentGroup) -> None:
    """Adds `--recipe`, for `parse_with_preset`."""
    what.add_argument(
        "--recipe",
        metavar="NAME",
        help="a published recipe, with its task, model and every value below; other options override it: "
        + ", ".join(preset_names()),
    )


def parse_with_preset(parser: Parser, arguments: list[str] | None) -> tuple[argparse.Namespace, Preset | None]:
    """Reads the options. With `--recipe`, the preset's values are the defaults. Raises InputError for an unknown
    preset. Ends as argparse does for other bad input, and if neither a task nor a recipe is given."""
    early = Parser(prog=parser.prog, add_help=False)
    early.add_argument("--recipe")
    name = early.parse_known_args(arguments)[0].recipe
    preset = get_preset(name) if name else None
    if preset:
        values = {f.name: [getattr(preset.recipe, f.name)] for f in fields(Recipe)}
        parser.set_defaults(task=[preset.task], model=[preset.model], **values)
    options = parser.parse_args(arguments)
    if not options.task and not options.list:
        parser.error("the following arguments are required: --task, or --recipe")
    return options, preset


def add_backend_option(group: argparse._ActionsContainer, default: str) -> None:
    """Adds `--backend`, which `chosen_backends` reads."""
    group.add_argument("--backend", nargs="+", default=[default], metavar="NAME", help=f"{', '.join(BACKENDS)}, or all")


def add_where_options(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Adds `--data-dir`, `--device`, `--threads` and `--python`. Returns their group, to which a command may add
    more."""
    where = parser.add_argument_group("where")
    where.add_argument("--data-dir", type=Path, metavar="DIR", help="the tasks' files; without it, the hub's copy")
    add_worker_options(where)
    return where


def add_worker_options(group: argparse._ArgumentGroup) -> None:
    """Adds `--device`, `--threads` and `--python`: what a worker runs on."""
    group.add_argument("--device", default="auto", metavar="NAME", help="auto, cpu, cuda or cuda:N")
    add_interpreter_options(group)


def add_interpreter_options(group: argparse._ActionsContainer) -> None:
    """Adds `--threads` and `--python`."""
    group.add_argument("--threads", type=int, metavar="N", help="CPU threads of each worker (all processors)")
    group.add_argument(
        "--python",
        action="append",
        default=[],
        metavar="BACKEND=PATH",
        help="the interpreter that has the backend's framework (tox's environment of that name)",
    )


def add_computing_options(parser: argparse.ArgumentParser) -> None:
    """Adds `--precision`, `--compile` and `--embedding-update`, each for one value or several."""
    group = parser.add_argument_group(
        "computing", "How a backend computes what the recipe says. Several values are compared, like the recipe's."
    )
    group.add_argument(
        "--precision",
        nargs="+",
        type=one_of(TRAINED),
        default=["float32"],
        metavar="|".join(TRAINED),
        help="of matrix products and what lies between them; parameters, the optimizer's moments, the last layer and "
        "the loss are float32. On a CPU all but gluon have bfloat16 too, on a GPU also tf32, and torch float16",
    )
    group.add_argument(
        "--compile",
        nargs="+",
        type=yes_or_no,
        default=[False],
        metavar="yes|no",
        help="torch.compile, XLA for keras, static shapes for gluon; keras-jax always compiles, and refuses yes. The "
        "first step costs a compilation, with torch also the first batch of another size, with the others every new "
        f"shape; those others pad batches to a multiple of {REPEATED_WIDTHS} tokens",
    )
    add_embedding_update_option(group, None, "; without it the quicker one: rows if they are at most half of the table")


def add_embedding_update_option(
    group: argparse._ActionsContainer, default: list[str] | None, without: str = "; dense without it"
) -> None:
    """Adds `--embedding-update`, for one value or several. `without` says what holds without it."""
    group.add_argument(
        "--embedding-update",
        nargs="+",
        type=one_of(EMBEDDING_UPDATES),
        default=default,
        metavar="|".join(EMBEDDING_UPDATES),
        help="update all of the word embedding at every step, or only the rows of the training split's words, while "
        f"the others' decay waits until they are read: the same to rounding{without}",
    )


def add_limit_options(parser: argparse.ArgumentParser) -> None:
    """Adds `--timeout`, `--patience`, `--memory` and `--max-failures`."""
    group = parser.add_argument_group(
        "limits", "A time is a number of seconds, or one like 90m and 1h30m; a size is one like 800M or 6G."
    )
    group.add_argument(
        "--timeout", type=duration, metavar="TIME", help="longest time of a cell; it fails after that (no limit)"
    )
    group.add_argument(
        "--patience",
        type=patience,
        default="1h",
        metavar="TIME",
        help="longest time in which a worker neither tells of a step or of a batch of an evaluation, nor prints; its "
        "cell fails after that. It tells nothing while it loads and while it compiles; 0 for no limit",
    )
    group.add_argument(
        "--memory",
        type=size,
        metavar="SIZE",
        help="most memory of a worker, with all that it started, looked at ten times a second; its cell fails beyond "
        "that (no limit)",
    )
    group.add_argument(
        "--max-failures",
        type=int,
        default=3,
        metavar="N",
        help="a backend's other cells are left out after N of its cells, one after another, failed for the same "
        "reason; 0 for no limit",
    )


def duration(text: str) -> float:
    """Reads a time in seconds: 5400, 5400s, 90m, 1h30m or 2.5."""
    parts = re.fullmatch(r"(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,9}(?:\.\d{1,3})?)s?)?", text, re.ASCII)
    hours, minutes, seconds = parts.groups(default="0") if parts else ("0",) * 3
    found = 3600 * int(hours) + 60 * int(minutes) + float(seconds)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is no time like 5400, 90m or 1h30m")
    return found


def patience(text: str) -> float | None:
    """Reads such a time, or 0 for no limit."""
    return None if text == "0" else duration(text)


def size(text: str) -> int:
    """Reads a number of bytes with its unit: 800M or 6.5G, of 2**20 and 2**30 bytes."""
    parts = re.fullmatch(r"(\d{1,6}(?:\.\d{1,3})?)([MG])", text, re.ASCII)
    found = round(float(parts[1]) * {"M": 2**20, "G": 2**30}[parts[2]]) if parts else 0
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is no size like 800M or 6G")
    return found


def add_checkpoint_option(group: argparse._ActionsContainer) -> None:
    """Adds `--checkpoint-every`."""
    group.add_argument(
        "--checkpoint-every",
        type=every,
        metavar="epoch|N",
        help="keep a checkpoint in OUT/jobs/CELL after each epoch, or after every N steps: weights, moments, dropout's "
        "stream, and what was measured. The same command then goes on with a cell that was killed, to the same result. "
        "It has 3 times the size of the weights (4 with --keep best); its time is no part of an epoch's. gluon starts "
        "dropout's stream again at each, which is another question than without",
    )


def add_allocator_option(group: argparse._ActionsContainer) -> None:
    """Adds `--allocator`, which `choose_allocator` (benchmarks.workers.allocator) reads."""
    group.add_argument(
        "--allocator",
        metavar="jemalloc|PATH",
        help="the allocator of every worker's memory, a library of the system that is loaded first. Results are the "
        "same, memory differs; docs/performance.md has figures (glibc's)",
    )


def chosen_backends(names: list[str]) -> list[str]:
    """The backends named, without repeats; `all` names every one. Raises InputError."""
    for name in names:
        if name != "all" and name not in BACKENDS:
            raise InputError(f"unknown backend {name!r}; known: {', '.join(BACKENDS)}, all")
    return list(BACKENDS) if "all" in names else list(dict.fromkeys(names))


def chosen_pythons(pairs: list[str]) -> dict[str, Path]:
    """The interpreters given as BACKEND=PATH. Raises InputError."""
    given = {}
    for pair in pairs:
        name, _, path = pair.partition("=")
        if name not in BACKENDS or not path:
            raise InputError(f"--python {pair}: pass BACKEND=PATH with a backend of {', '.join(BACKENDS)}")
        given[name] = Path(path).expanduser()
    return given
