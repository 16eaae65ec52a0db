"""Shows at which rung two frameworks part, by how much, and the usual causes; or whether they score the same.

With one seed, each backend records its computation over the first steps of one training: parameters, batches, hidden
states, loss, gradients, parameters after each stage. These are compared, rung by rung, with torch in float64. Dropout
is off from the loss on, since each framework draws different numbers.

With several seeds, each backend is fine-tuned once with each seed, and every two of them are compared by their paired
differences of dev and test metrics: equivalent within a margin, different, or undecided. With one backend and several
values of an option, those are compared in the same way.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import typing
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.cli.engine_options import add_engine_options, chosen_cluster, chosen_engine
from benchmarks.cli.options import (
    add_embedding_update_option,
    add_what_options,
    add_where_options,
    chosen_backends,
    chosen_pythons,
)
from benchmarks.cli.parser import Parser, check_writable, one_line_errors
from benchmarks.cli.recipe_options import add_recipe_options
from benchmarks.parity.plan import ONE_EPOCH, STEPS, check_one_seed, plan_ladder, plan_seeds
from shared.errors import InputError
from shared.job import Precision

if TYPE_CHECKING:
    from benchmarks.cluster.engine import RayEngine

EXAMPLES = """examples:
  python -m benchmarks.parity --task paraphrase --model random:bert-tiny --max-len 32 --steps 10
  python -m benchmarks.parity --backend gluon --task mrpc --data-dir DATA --model minilm --precision float32 float64
  python -m benchmarks.parity --backend keras --task mrpc --data-dir DATA --model minilm --against stock
  python -m benchmarks.parity --task mrpc --data-dir DATA --model minilm --epochs 3 --seed 1 2 3 4 5 6 7 8 9 10
  python -m benchmarks.parity --backend torch --task cola --data-dir DATA --model minilm --max-len 48 96 --seed 1 2 3
  python -m benchmarks.parity --task mrpc --data-dir DATA --model minilm --margin 0.01 --seed 1 2 3 --power
  python -m benchmarks.parity --task mrpc --data-dir DATA --model minilm --against stock --engine ray --address auto

Exit code: 0 if every rung holds, or every comparison over the seeds is equivalent; 1 if one is not, or a run fails; 2
for bad input."""


def main(arguments: list[str] | None = None) -> None:
    with one_line_errors("benchmarks.parity"):
        options = _parser().parse_args(arguments)
        options.seed = list(dict.fromkeys(options.seed))
        check_writable("--out", options.out)
        if len(options.seed) > 1:
            kept = "what is answered is kept, and the same command goes on"
            with one_line_errors("benchmarks.parity", kept), chosen_engine(options) as engine:
                cells = plan_seeds(options, engine)
                if options.power:
                    from benchmarks.parity.power_report import show_power

                    show_power(cells, options.margin, options.out)
                    sys.exit()

                from benchmarks.parity.many_seeds import compare_seeds  # slow: pandas, scipy, matplotlib

                sys.exit(compare_seeds(cells, options.margin, options.out, engine))
        with chosen_cluster(options) as cluster:
            if cluster is not None:
                sys.exit(_climb_there(options, cluster))
        plan = plan_ladder(options)

        from benchmarks.parity.one_seed import climb_ladder  # slow: pandas, scipy, matplotlib

        typed = shlex.join(["python", "-m", "benchmarks.parity", *(arguments or sys.argv[1:])])
        document = options.document or options.out / "divergences.md"
        sys.exit(climb_ladder(plan, options.out, document, os.environ.get("CONCORD_COMMAND", typed)))


def _climb_there(options: argparse.Namespace, cluster: RayEngine) -> int:
    """Has one node climb the ladder. Returns the exit code. Raises InputError."""
    if options.document is not None:
        raise InputError("--document is for this machine; with --engine ray the page is OUT/divergences.md")
    from benchmarks.cluster.arguments import arguments_of
    from benchmarks.cluster.commands import Command, run_commands

    check_one_seed(options)
    backends = dict.fromkeys([*chosen_backends(options.backend), "torch"])
    arguments = arguments_of(cluster, _parser(), options, but={"out"})
    pythons = chosen_pythons(options.python)
    command = Command("parity", "benchmarks.parity", arguments, list(backends), pythons, options.out)
    return run_commands(cluster, [command])[0].code


def _parser() -> Parser:
    parser = Parser(prog="benchmarks.parity", description=__doc__, epilog=EXAMPLES)
    what = add_what_options(parser)
    what.add_argument(
        "--limit", type=int, metavar="N", help="the first N rows only: of dev, or with several seeds of every split"
    )
    what.add_argument(
        "--steps",
        type=int,
        metavar="N",
        help="training steps to follow, in one epoch that has no others; the rate warms up and decays within them; "
        f"for one seed only ({STEPS})",
    )
    what.add_argument(
        "--precision",
        nargs="+",
        choices=typing.get_args(Precision),
        help="float64 shows differences that rounding hides; each other one is held to ten times torch's own error in "
        "it; for one seed only (float32)",
    )
    add_embedding_update_option(what, None)
    what.add_argument(
        "--margin",
        type=float,
        metavar="X",
        help="a difference of scores from which two variants are not equivalent; for several seeds only (the deviation "
        "over the seeds, of each split and metric: torch's, or that of an option's first value)",
    )
    what.add_argument(
        "--power",
        action="store_true",
        help="train nothing, and say how many seeds the margin needs: by the deviation of the seeds that --out has, or "
        "by assumed ones",
    )
    what.add_argument(
        "--against",
        choices=["stock"],
        help="compare each framework's own standard parts in place of this project's, all together and one by one; for "
        "one seed only",
    )
    _add_where_options(parser)
    add_engine_options(parser)
    add_recipe_options(parser, **ONE_EPOCH)
    return parser


def _add_where_options(parser: Parser) -> None:
    where = add_where_options(parser)
    where.add_argument(
        "--document", type=Path, metavar="FILE", help="the page that --against stock writes (OUT/divergences.md)"
    )
    where.add_argument(
        "--rerun",
        action="store_true",
        default=None,
        help="compute the truth and the errors of torch's float32 again, which the cache keeps by a hash of all that "
        "they follow from (weights, batches, settings, versions, threads, processor, code); for one seed only",
    )
    where.add_argument(
        "--out", type=Path, default=Path("runs/parity"), metavar="DIR", help="records, tables and pictures"
    )


if __name__ == "__main__":
    main()
