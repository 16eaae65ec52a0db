"""Options that say how own data is read."""

from __future__ import annotations

import argparse

from shared.errors import InputError
from shared.tasks import TASK_MODULES, Reading

OPTIONS = {
    "text": "--text-column",
    "pair": "--pair-column",
    "label": "--label-column",
    "id": "--id-column",
    "encoding": "--encoding",
    "dev_share": "--dev-share",
    "share_seed": "--share-seed",
}
"""The option of each field of Reading."""


def add_own_options(parser: argparse.ArgumentParser) -> None:
    """Adds an option for each field of Reading."""
    group = parser.add_argument_group(
        "own data", "How a --task that is a file or folder is read; docs/tasks.md has the kinds of files."
    )
    for field, about in (
        ("text", "the texts (text, sentence, sentence1 and other usual names)"),
        ("pair", "the second texts of pairs (sentence2, hypothesis and other usual names)"),
        ("label", "the labels, words or whole numbers (label and other usual names)"),
        ("id", "names of the rows, shown beside predictions (id, idx, index)"),
    ):
        group.add_argument(OPTIONS[field], dest=field, metavar="NAME", help=about)
    group.add_argument("--encoding", metavar="NAME", help="of CSV, TSV and JSON (utf-8)")
    group.add_argument(
        "--dev-share",
        type=float,
        metavar="X",
        help="share of the training rows that becomes dev, the same of every label; for data without a dev file",
    )
    group.add_argument("--share-seed", type=int, metavar="N", help="seed of that draw (0)")


def chosen_reading(options: argparse.Namespace, tasks: list[str]) -> Reading | None:
    """How own data is read; None if no option says so. Raises InputError if an option is given and no task is own
    data."""
    given = {field: value for field in OPTIONS if (value := getattr(options, field)) is not None}
    if not given:
        return None
    option = OPTIONS[next(iter(given))]
    if not tasks:
        raise InputError(f"{option} is for own data; pass --task a file or folder")
    if all(name in TASK_MODULES for name in tasks):
        raise InputError(f"{option} is for own data, and {', '.join(tasks)} is none; pass --task a file or folder")
    if not 0 <= given.get("dev_share", 0) < 1:
        raise InputError(f"--dev-share {given['dev_share']}: pass a share from 0 to below 1")
    if given.get("share_seed", 0) < 0:
        raise InputError(f"--share-seed {given['share_seed']}: pass 0 or more")
    return Reading(**given)
