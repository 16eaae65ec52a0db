"""Reads data sets of the Hugging Face hub, for tasks whose files are not at hand."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from shared.errors import InputError
from shared.tasks import Rows

GLUE_REPOSITORY = "nyu-mll/glue"
OUR_NAMES = {"train": "train", "validation": "dev", "test": "test"}
"""This project's name of each of the hub's splits."""
COMMIT = re.compile("[0-9a-f]{40}")
PROBE_SECONDS = 10.0
"""Longest wait for the hub's first answer."""


def load_glue(config: str, first: str, second: str | None, splits: Mapping[str, str] = OUR_NAMES) -> dict[str, Rows]:
    """Reads the splits of one of GLUE's tasks. Its texts are in the columns `first` and `second`. Raises InputError as
    `load_hub` does."""
    return load_hub(config, GLUE_REPOSITORY, first, second, splits=splits, name=config)


def load_hub(
    task: str,
    repository: str,
    first: str,
    second: str | None = None,
    to_label: Callable[[Any], int] = int,
    splits: Mapping[str, str] = OUR_NAMES,
    **where: Any,
) -> dict[str, Rows]:
    """Reads the splits of a data set that `splits` maps to this project's names.

    Texts are in the columns `first` and `second`, and `to_label` converts the column `label`. The hub marks hidden
    labels with -1: such a split gets no labels. `where` (configuration, revision, files) goes to
    `datasets.load_dataset`. With HF_HUB_OFFLINE=1 the hub is not asked, and the cache of `datasets` is read.

    Raises InputError if the hub cannot be reached, or lacks these splits or columns.
    """
    try:
        loaded, commit = load_dataset(repository, **where)
    except Exception as error:  # errors of httpx, huggingface_hub and datasets have no nearer base in common
        raise InputError(
            f"{task} cannot be taken from the hub's {repository} ({type(error).__name__}); pass --data-dir a folder "
            "that holds its files, or ask for a built-in task: acceptability, paraphrase"
        ) from error
    columns = [column for column in (first, second, "label") if column is not None]
    for split in splits:
        lacking = [name for name in columns if name not in loaded[split].column_names] if split in loaded else [split]
        if lacking:
            raise InputError(
                f"{task} is not as expected in the hub's {repository}: no {', '.join(lacking)} among its "
                f"{'columns' if split in loaded else 'splits'}; pass --data-dir a folder that holds its files"
            )
    return {ours: _rows(loaded[theirs], first, second, to_label, commit) for theirs, ours in splits.items()}


def load_dataset(repository: str, **where: Any) -> tuple[Any, str | None]:
    """Loads a data set with `datasets`, and returns the commit that it is of too. The hub is asked for that first, and
    gives the files of this commit. With HF_HUB_OFFLINE=1 the commit is that of the copy in the cache, or None if its
    place does not tell. Raises what huggingface_hub, its HTTP library and `datasets` raise."""
    # huggingface_hub comes first: without a hub, importing `datasets` and waiting for its retries would take longer.
    from huggingface_hub import HfApi, constants

    if not constants.HF_HUB_OFFLINE:
        about = HfApi().dataset_info(repository, revision=where.get("revision"), timeout=PROBE_SECONDS)
        where["revision"] = about.sha
    import datasets

    datasets.disable_progress_bars()
    loaded = datasets.load_dataset(repository, **where)
    return loaded, _commit_of_copy(loaded) if constants.HF_HUB_OFFLINE else where["revision"]


def _commit_of_copy(loaded: Any) -> str | None:
    """The commit in the path of the copy's files, which lie in the folder of their commit."""
    folders = (Path(file["filename"]).parent.name for files in loaded.cache_files.values() for file in files)
    return next((name for name in folders if COMMIT.fullmatch(name)), None)


def _rows(split, first: str, second: str | None, to_label: Callable[[Any], int], commit: str | None) -> Rows:  # type: ignore[no-untyped-def]
    labels = list(split["label"])
    return Rows(
        list(split[first]),
        None if second is None else list(split[second]),
        None if -1 in labels else [to_label(label) for label in labels],
        [str(index) for index in split["idx"]] if "idx" in split.column_names else None,
        commit,
    )
