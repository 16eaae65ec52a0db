"""Shows at which rung two frameworks part, by how much, and what usually causes it; or whether they score the same.

With one seed, each backend writes down what it computes over the first steps of one training: parameters, batches,
hidden states, loss, gradients, parameters after each stage. These are compared, rung by rung, with torch in float64;
dropout is off where each framework would draw other numbers.

With several seeds, each backend is fine-tuned once a seed, and every two of them are compared by their paired
differences of dev and test metrics: equivalent within a margin, different, or undecided. With one backend and several
values of an option, those are compared in the same way.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from benchmarks.cli.options import add_what_options, add_where_options
from benchmarks.cli.parser import Parser, one_line_errors
from benchmarks.cli.recipe_options import add_recipe_options
from benchmarks.parity.many_seeds import compare_seeds
from benchmarks.parity.one_seed import FIXED, STEPS, climb_ladder

EXAMPLES = """examples:
  python -m benchmarks.parity --task paraphrase --model random:bert-tiny --max-len 32 --steps 10
  python -m benchmarks.parity --backend gluon --task mrpc --data-dir DATA --model minilm --precision float32 float64
  python -m benchmarks.parity --backend keras --task mrpc --data-dir DATA --model minilm --against stock
  python -m benchmarks.parity --task mrpc --data-dir DATA --model minilm --epochs 3 --seed 1 2 3 4 5 6 7 8 9 10
  python -m benchmarks.parity --backend torch --task cola --data-dir DATA --model minilm --max-len 48 96 --seed 1 2 3

Exit code: 0 when every rung holds, or every comparison over the seeds is equivalent; 1 when one is not, or a run fails;
2 for bad input."""


def main(arguments: list[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    options.seed = list(dict.fromkeys(options.seed))
    if len(options.seed) > 1:
        with one_line_errors("benchmarks.parity", "what is answered is kept, and the same command goes on"):
            sys.exit(compare_seeds(options))
    with one_line_errors("benchmarks.parity"):
        command = shlex.join(["python", "-m", "benchmarks.parity", *(arguments or sys.argv[1:])])
        sys.exit(climb_ladder(options, command))


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
        help=f"training steps of the one epoch that is followed, warm-up and decay of the rate in it ({STEPS}); for "
        "one seed only",
    )
    what.add_argument(
        "--precision",
        nargs="+",
        choices=["float32", "float64"],
        help="float64 shows what rounding hides (float32); for one seed only",
    )
    what.add_argument(
        "--margin",
        type=float,
        metavar="X",
        help="the difference of a score from which on two are not equivalent (torch's own deviation over the seeds, of "
        "each split and metric, or the first value's); for several seeds only",
    )
    what.add_argument(
        "--against",
        choices=["stock"],
        help="let each framework's own standard parts climb in place of this project's, all and one by one; for one "
        "seed only",
    )
    where = add_where_options(parser)
    where.add_argument("--document", type=Path, metavar="FILE", help="what --against stock found (OUT/divergences.md)")
    where.add_argument("--out", type=Path, default=Path("runs/parity"), metavar="DIR", help="(runs/parity)")
    add_recipe_options(parser, **FIXED)
    return parser


if __name__ == "__main__":
    main()
