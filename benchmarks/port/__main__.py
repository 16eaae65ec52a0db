"""Checks a port of a fine-tuning from outside: packs what it is to be given, and says at which rung what it recorded
parts from the reference.

  pack     makes the pack, a folder that your script reads
  check    compares what your script recorded, rung by rung, and names the known mistakes that explain it
  run      runs your script on the pack, then checks
  gallery  runs third-party ports of ports/, each in an environment of its own, and this project's adapters, then checks
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.cli.engine_options import add_engine_options, chosen_cluster
from benchmarks.cli.options import add_interpreter_options, chosen_pythons
from benchmarks.cli.parser import Parser, check_writable, one_line_errors
from benchmarks.cli.recipe_options import add_recipe_options, recipes
from benchmarks.port.check_options import DESCRIPTION, add_check_forms, form_of, report_folders
from benchmarks.port.generated import STEPS
from benchmarks.workers.machine import choose_threads
from shared.errors import InputError

if TYPE_CHECKING:
    from benchmarks.port.check import Asked

EXAMPLES = """examples:
  python -m benchmarks.port pack --out pack
  python -m benchmarks.port run --pack pack --out recording -- python my_train.py
  python -m benchmarks.port check recording --pack pack --cost
  python -m benchmarks.port check one two three --pack pack --engine ray --address auto
  python -m benchmarks.port check losses.csv --pack pack
  python -m benchmarks.port check --scores mine.csv --records runs --task mrpc --model minilm
  python -m benchmarks.port gallery pytorch_transformers
  python -m benchmarks.port pack --task mrpc --data-dir DATA --model minilm --steps 5 --out pack-minilm

docs/port.md goes from a script to a verdict. Exit code: 0 if every rung that was seen holds, 1 if one does not or a
process fails, 2 for bad input."""


def main(arguments: list[str] | None = None) -> None:
    with one_line_errors("benchmarks.port"):
        options = _parser().parse_args(arguments)
        sys.exit(options.run(options))


def pack(options: argparse.Namespace) -> int:
    """Makes a pack. Returns the exit code. Raises InputError and ProcessFailed."""
    from benchmarks.port.packing import pack_for

    (recipe, *others) = recipes(options)
    if others:
        raise InputError("a pack has one recipe; pass one value of each option")
    if options.task is not None and options.model is None:
        raise InputError("--task needs --model, whose tokenizer makes ids of its rows; pass both")
    check_writable("--out", options.out)
    return pack_for(options, recipe, chosen_pythons(options.python), choose_threads(options.threads))


def check(options: argparse.Namespace) -> int:
    """Checks a recording, or losses or scores alone. Returns the exit code. Raises InputError and ProcessFailed."""
    form = form_of(options)
    if form == "losses":
        from benchmarks.port.alone import by_losses

        pythons, threads = chosen_pythons(options.python), choose_threads(options.threads)
        return 0 if by_losses(options.recordings[0], options.pack, options.report, pythons, threads) else 1
    if form == "scores":
        from benchmarks.port.alone import by_scores
        from benchmarks.port.scores import Wanted

        wanted = Wanted(options.records or Path("runs"), options.split or "dev", options.task, options.model)
        return 0 if by_scores(options.scores, wanted, options.margin, options.report) else 1
    from benchmarks.port.cost import CostAsked
    from benchmarks.port.many import check_each, check_there

    names = ("seeds", "task", "model", "data_dir", "rows", "epochs", "learning_rate")
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    cost = CostAsked(**given)
    cost.check()
    asked, pythons = _asked(options), chosen_pythons(options.python)
    reports = report_folders(options.recordings, options.report)
    for report in reports.values():
        check_writable("--report", report)
    with chosen_cluster(options, exclusive=False) as cluster:
        if cluster is not None:
            return check_there(options, reports, cluster)
    threads = choose_threads(options.threads)
    return check_each(options.pack, reports, asked, cost if options.cost else None, pythons, threads)


def run(options: argparse.Namespace) -> int:
    """Runs the command on the pack, then checks. Returns the exit code. Raises InputError and ProcessFailed."""
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not command:
        raise InputError("no command to run; pass it after --, as in: run --pack pack -- python my_train.py")
    from benchmarks.port.map_file import find_file
    from shared.pack import Pack

    Pack.read(options.pack)
    if options.map is not None:
        find_file(options.map)
    if options.recording.is_dir() and any(options.recording.iterdir()):
        raise InputError(f"--out {options.recording} is not empty; remove it, or pass another folder")
    check_writable("--out", options.recording)
    from benchmarks.port.running import run_and_check

    out, pythons = options.report or options.recording, chosen_pythons(options.python)
    check_writable("--report", out)
    threads = choose_threads(options.threads)
    return run_and_check(command, options.pack, options.recording, out, _asked(options), pythons, threads)


def _asked(options: argparse.Namespace) -> Asked:
    """The options that the check is told."""
    from benchmarks.port.check import Asked

    return Asked(options.map, tuple(options.require), options.precision)


def gallery(options: argparse.Namespace) -> int:
    """Runs third-party ports and this project's, or lists them. Returns the exit code. Raises InputError and
    ProcessFailed."""
    from benchmarks.port.gallery import list_ports, run_ports

    if options.document is not None:
        from benchmarks.port.gallery_page import gallery_page

        check_writable("--document", options.document.parent)
        gallery_page(options.out).write(options.document)
        return 0
    if not options.names:
        list_ports()
        return 0
    check_writable("--pack", options.pack)
    check_writable("--out", options.out)
    pythons, threads = chosen_pythons(options.python), choose_threads(options.threads)
    return run_ports(options.names, options.pack, options.out, options.again, pythons, threads)


def _parser() -> Parser:
    parser = Parser(prog="benchmarks.port", description=__doc__, epilog=EXAMPLES)
    commands = parser.add_subparsers(dest="what", required=True, metavar="pack|check|run|gallery", parser_class=Parser)
    _add_pack_options(commands.add_parser("pack", help="make a pack", description="Makes a pack."))
    checking = commands.add_parser(
        "check", help="check a recording, or losses or scores alone", description=DESCRIPTION
    )
    add_check_forms(checking)
    _add_check_options(checking)
    add_engine_options(checking, exclusive="no")
    checking.set_defaults(run=check, parser=checking)
    running = commands.add_parser("run", help="run a command, then check", description="Runs a command, then checks.")
    running.add_argument(
        "--out",
        type=Path,
        dest="recording",
        default=Path("recording"),
        metavar="DIR",
        help="folder that the command records into",
    )
    _add_check_options(running)
    running.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND", help="your script")
    running.set_defaults(run=run)
    _add_gallery_options(
        commands.add_parser("gallery", help="run third-party ports", description="Runs known ports, then checks.")
    )
    return parser


def _add_gallery_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help="folders of ports/, or all of them; concord_NAME, an adapter of this project, stock_NAME_PART, the same "
        "with a part of its framework, or own for all of these; without a name, a list",
    )
    parser.add_argument("--pack", type=Path, default=Path("pack"), metavar="DIR", help="the pack; made if missing")
    parser.add_argument(
        "--out", type=Path, default=Path("results/ports"), metavar="DIR", help="folder of a folder for each report"
    )
    parser.add_argument(
        "--document",
        type=Path,
        metavar="FILE",
        help="write the page about all ports of the verdicts there; runs nothing",
    )
    parser.add_argument("--again", action="store_true", help="make each environment again, even if it is there")
    add_interpreter_options(parser)
    parser.set_defaults(run=gallery)


def _add_pack_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, default=Path("pack"), metavar="DIR", help="folder of the pack")
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="config.json of another network that transformers builds a classifier of, with random weights (a small "
        "BERT's)",
    )
    parser.add_argument("--task", metavar="NAME", help="a task's rows, in place of generated ids; needs --model")
    parser.add_argument(
        "--model",
        metavar="NAME",
        help="a checkpoint, as benchmarks.run takes it; without --task, any classifier that transformers reads, with "
        "generated ids",
    )
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help="the task's files; without it, the hub's copy")
    parser.add_argument("--steps", type=int, metavar="N", help=f"training steps of a task's pack ({STEPS})")
    parser.add_argument(
        "--shows",
        choices=("yes", "no"),
        help="tell which known mistakes the pack shows; takes minutes for a large model (yes without --model)",
    )
    parser.add_argument(
        "--sketches",
        choices=("yes", "no"),
        help="parameters and gradients are recorded as sketches, 66 numbers each (if whole they would be over 1 GiB)",
    )
    add_interpreter_options(parser)
    add_recipe_options(parser, epochs=1)
    parser.set_defaults(run=pack)


def _add_check_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--pack", type=Path, default=Path("pack"), metavar="DIR", help="the pack")
    parser.add_argument(
        "--map",
        type=Path,
        metavar="MAP",
        help="a map.toml of your names, in place of one by value; or one that is shipped: flax, gluonnlp, google, "
        "keras-hub, paddlenlp",
    )
    parser.add_argument(
        "--precision",
        choices=("float32", "tf32", "bfloat16", "float16"),
        default="float32",
        help="of the port's arithmetic, which bounds follow from",
    )
    parser.add_argument("--require", nargs="+", default=[], metavar="RUNG", help="fail if one of these was not seen")
    parser.add_argument(
        "--report",
        type=Path,
        metavar="DIR",
        help="folder of check.md, check.json, check.png and map.toml; without it, the recording's",
    )
    add_interpreter_options(parser)


if __name__ == "__main__":
    main()
