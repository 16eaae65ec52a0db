"""Options of `check`, and which of its three forms a command line asks for: a recording, losses or scores."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import Literal

from benchmarks.cli.parser import check_writable
from shared.errors import InputError

Form = Literal["recording", "losses", "scores"]

DESCRIPTION = """Checks a recording of a pack, rung by rung; or the training losses alone, or the scores alone.

  check RECORDING ... --pack PACK      a folder that your script recorded into, or several: each has a report of its
                                       own, in its folder or under --report. With --engine ray each goes to a node
  check LOSSES.csv --pack PACK         columns step and loss, of the pack's run train (dropout off, its batches and
                                       rates); the names in the first line may be left out. With a column run, of train
                                       and steep. As many digits as you have: few tell few mistakes apart
  check --scores SCORES.csv            column seed, and one for each metric, by its name (accuracy, mcc, f1), as shares
                                       of 1; compared with the records that benchmarks.run --backend torch made

--cost trains 2 models for each seed if there is one difference, n + 2 if there are n. MiniLM on the built-in task, 750
steps, takes about 2 minutes a model on two idle cores, so that one difference takes 20 minutes with 5 seeds; about five
times that if one is of gradients, clipping or optimizer, which numpy then computes. Interrupted, it shows the seeds
that are done, and the same command goes on."""

OF_COST = ("seeds", "data_dir", "rows", "epochs", "learning_rate")
OF_SCORES = ("records", "split", "margin")
OF_BOTH = ("task", "model")
OF_RECORDING = ("map", "require", "cost")


def add_check_forms(parser: argparse.ArgumentParser) -> None:
    """Adds what `check` has beyond `run`."""
    parser.add_argument(
        "recordings",
        type=Path,
        nargs="*",
        metavar="RECORDING|LOSSES.csv",
        help="folders that scripts recorded into, or a CSV file of training losses; not with --scores",
    )
    cost = parser.add_argument_group("what differences cost")
    cost.add_argument(
        "--cost",
        action="store_true",
        help="train the reference with each difference that is found and without, and tell the effect on loss and "
        "scores",
    )
    cost.add_argument("--seeds", type=int, metavar="N", help="seeds of each (5)")
    cost.add_argument("--rows", type=int, metavar="N", help="the first N rows to train on (all)")
    cost.add_argument("--epochs", type=int, metavar="N", help="passes over them (2)")
    cost.add_argument(
        "--learning-rate", type=float, metavar="X", help="peak (the pack's; 5e-5 if the pack has no text)"
    )
    cost.add_argument("--data-dir", type=Path, metavar="DIR", help="the task's files; without it, the hub's copy")
    scores = parser.add_argument_group("scores alone")
    scores.add_argument("--scores", type=Path, metavar="FILE", help="a CSV file of scores by seed")
    scores.add_argument("--records", type=Path, metavar="DIR", help="folder of torch's records (runs)")
    scores.add_argument("--split", choices=("dev", "test"), help="that was scored (dev)")
    scores.add_argument(
        "--margin",
        type=float,
        metavar="X",
        help="a difference of scores from which they are not equivalent (torch's deviation over the seeds)",
    )
    both = parser.add_argument_group("both")
    both.add_argument(
        "--task", metavar="NAME", help="to train on (the pack's, else acceptability), or that the records are of"
    )
    both.add_argument(
        "--model",
        metavar="NAME",
        help="the checkpoint to train (the pack's own if it has a tokenizer, else minilm), or that the records are of",
    )


def form_of(options: argparse.Namespace) -> Form:
    """The form that the options ask for. Raises InputError for none or several, and for an option of another."""
    files = [recording for recording in options.recordings if recording.is_file() or recording.suffix == ".csv"]
    if options.scores is not None:
        if options.recordings:
            raise InputError(f"pass {options.recordings[0]} or --scores, one at a time")
        _refuse(options, "--scores", (*OF_RECORDING, *OF_COST))
        form: Form = "scores"
    elif not options.recordings:
        raise InputError("nothing to check; pass a recording's folder, a CSV file of losses, or --scores FILE")
    elif files:
        if len(options.recordings) > 1:
            raise InputError(f"{files[0]} is a file of losses; pass it by itself")
        _refuse(options, "a file of losses", (*OF_RECORDING, *OF_COST, *OF_SCORES, *OF_BOTH))
        form = "losses"
    else:
        given = (*OF_SCORES, *(() if options.cost else (*OF_COST, *OF_BOTH)))
        _refuse(options, "a recording without --cost" if not options.cost else "a recording", given)
        form = "recording"
    if form != "recording" and options.precision != "float32":
        raise InputError("--precision is for a recording")
    if form != "recording" and options.engine != "local":
        raise InputError("--engine ray is for recordings; leave it out")
    check_writable("--report", options.report)
    return form


def report_folders(recordings: list[Path], report: Path | None) -> dict[Path, Path]:
    """The folder of each recording's report: its own, or `report`, or of several one of its name there. Raises
    InputError if two have the same."""
    if report is None:
        return {recording: recording for recording in recordings}
    if len(recordings) == 1:
        return {recordings[0]: report}
    folders = {recording: report / recording.absolute().name for recording in recordings}
    twice = [folder for folder, count in Counter(folders.values()).items() if count > 1]
    if twice:
        raise InputError(f"two recordings would have their report in {twice[0]}; rename one, or leave --report out")
    return folders


def _refuse(options: argparse.Namespace, form: str, names: tuple[str, ...]) -> None:
    for name in names:
        if getattr(options, name) not in (None, False, []):
            raise InputError(f"--{name.replace('_', '-')} is not for {form}; leave it out (see --help)")
