"""Data sets of the Hugging Face hub, for tasks whose files are not at hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from shared.errors import InputError
from shared.tasks import Rows

GLUE = "nyu-mll/glue"
SPLITS = {"train": "train", "validation": "dev", "test": "test"}
PROBE_SECONDS = 10.0


def load_glue(config: str, first: str, second: str | None) -> dict[str, Rows]:
    """GLUE's splits of one task, its texts in the columns `first` and `second`. Raises as `load_hub`."""
    return load_hub(config, GLUE, first, second, name=config)


def load_hub(
    task: str,
    repository: str,
    first: str,
    second: str | None = None,
    to_label: Callable[[Any], int] = int,
    **where: Any,
) -> dict[str, Rows]:
    """The splits of a data set with the hub's usual names for them, its texts in the columns `first` and `second`, and
    `to_label` of what is in its column `label`. `where` goes to `datasets.load_dataset`, to say which configuration,
    revision and files. The hub marks hidden labels with -1: such a split gets none.

    Raises InputError where the hub cannot be reached, or has no such splits or columns. With HF_HUB_OFFLINE=1 it is not
    asked, and the copy in the cache of `datasets` serves.
    """
    # huggingface_hub first: importing `datasets` and its retries would take longer to say that there is no hub.
    from huggingface_hub import HfApi, constants

    try:
        if not constants.HF_HUB_OFFLINE:
            HfApi().dataset_info(repository, timeout=PROBE_SECONDS)
        import datasets

        datasets.disable_progress_bars()
        loaded = datasets.load_dataset(repository, **where)
    except Exception as error:  # errors of httpx, huggingface_hub and datasets have no nearer base in common
        raise InputError(
            f"{task} cannot be taken from the hub's {repository} ({type(error).__name__}); pass --data-dir a folder "
            "that holds its files, or ask for a built-in task: acceptability, paraphrase"
        ) from error
    columns = [column for column in (first, second, "label") if column is not None]
    for split in SPLITS:
        lacking = [name for name in columns if name not in loaded[split].column_names] if split in loaded else [split]
        if lacking:
            raise InputError(
                f"{task} is not as expected in the hub's {repository}: no {', '.join(lacking)} among its "
                f"{'columns' if split in loaded else 'splits'}; pass --data-dir a folder that holds its files"
            )
    return {ours: _rows(loaded[theirs], first, second, to_label) for theirs, ours in SPLITS.items()}


def _rows(split, first: str, second: str | None, to_label: Callable[[Any], int]) -> Rows:  # type: ignore[no-untyped-def]
    labels = list(split["label"])
    return Rows(
        list(split[first]),
        None if second is None else list(split[second]),
        None if -1 in labels else [to_label(label) for label in labels],
    )
