"""Asks a fine-tuned model about texts: the label of each and its probability, as any of the backends computes them."""

from __future__ import annotations

from pathlib import Path

from benchmarks.cli.options import TASK_HELP, add_backend_option, add_worker_options
from benchmarks.cli.own_options import add_own_options
from benchmarks.cli.parser import Parser, one_line_errors

EXAMPLES = """examples:
  python -m benchmarks.predict --model SAVED/CELL "The kettle sings."
  python -m benchmarks.predict --model SAVED/CELL --backend all "A goose slept." "Nobody slept but a fox."
  python -m benchmarks.predict --model SAVED/CELL --backend keras --file texts.txt --format json
  python -m benchmarks.predict --model SAVED/CELL --task mnli --data-dir GLUE --submission answers
  cut -f4 dev.tsv | python -m benchmarks.predict --model SAVED/CELL > labels.tsv

Exit code: 0 if every text is answered, 1 if a backend fails, 2 for bad input."""


def main(arguments: list[str] | None = None) -> None:
    with one_line_errors("benchmarks.predict"):
        options = _parser().parse_args(arguments)
        from benchmarks.predict.ask import predict

        predict(options)


def _parser() -> Parser:
    parser = Parser(prog="benchmarks.predict", description=__doc__, epilog=EXAMPLES)
    what = parser.add_argument_group("what to ask")
    what.add_argument("texts", nargs="*", metavar="TEXT", help="one text, or two as a pair; --file has room for more")
    what.add_argument(
        "--file",
        metavar="FILE",
        help="UTF-8, a text a line, or two with a tab between; - is standard input, which is also read if there are "
        "neither texts nor a file and something is piped in",
    )
    what.add_argument(
        "--model",
        required=True,
        metavar="NAME",
        help="a fine-tuned folder in HuggingFace's layout, as benchmarks.run --save leaves it, or a hub id of one",
    )
    what.add_argument("--task", metavar="NAME", help=f"a split of a task, in place of texts: {TASK_HELP}")
    what.add_argument("--split", default="test", metavar="NAME", help="of the task; labelled ones are scored too")
    what.add_argument("--data-dir", type=Path, metavar="DIR", help="the task's files; without it, the hub's copy")
    what.add_argument(
        "--submission", type=Path, metavar="DIR", help="write the files of GLUE's server for the task's test into DIR"
    )
    add_backend_option(what, "torch")
    what.add_argument(
        "--max-len", type=int, metavar="N", help="tokens at which texts are cut (the number in the model's tokenizer)"
    )
    how = parser.add_argument_group("how to show it")
    how.add_argument("--all", action="store_true", help="every label's probability, in config.json's order")
    how.add_argument(
        "--format",
        choices=["table", "tsv", "json"],
        help="tsv: the backend if there are several, the label, its probability, with --all every label's, the text; "
        "json: an object a line (table on a terminal, else tsv)",
    )
    add_own_options(parser)
    add_worker_options(parser.add_argument_group("where"))
    return parser


if __name__ == "__main__":
    main()
