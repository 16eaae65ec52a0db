"""GLUE from the Hugging Face hub, for tasks whose files are not at hand."""

from __future__ import annotations

from shared.errors import InputError
from shared.tasks import Rows

REPOSITORY = "nyu-mll/glue"
SPLITS = {"train": "train", "validation": "dev", "test": "test"}
PROBE_SECONDS = 10.0


def load_glue(config: str, first: str, second: str | None) -> dict[str, Rows]:
    """GLUE's splits of one task, its texts in the columns `first` and `second`. The hub marks hidden labels with -1:
    such a split gets none. Raises InputError where the hub cannot be reached; with HF_HUB_OFFLINE=1 it is not asked,
    and the copy in the cache of `datasets` serves."""
    # huggingface_hub first: importing `datasets` and its retries would take longer to say that there is no hub.
    from huggingface_hub import HfApi, constants

    try:
        if not constants.HF_HUB_OFFLINE:
            HfApi().dataset_info(REPOSITORY, timeout=PROBE_SECONDS)
        import datasets

        datasets.disable_progress_bars()
        loaded = datasets.load_dataset(REPOSITORY, config)
    except Exception as error:  # errors of httpx, huggingface_hub and datasets have no nearer base in common
        raise InputError(
            f"{config} cannot be taken from the hub's {REPOSITORY} ({type(error).__name__}); pass --data-dir a folder "
            "that holds its files, or ask for a built-in task: acceptability, paraphrase"
        ) from error
    return {ours: _rows(loaded[theirs], first, second) for theirs, ours in SPLITS.items()}


def _rows(split, first: str, second: str | None) -> Rows:  # type: ignore[no-untyped-def]
    labels = list(split["label"])
    return Rows(
        list(split[first]),
        None if second is None else list(split[second]),
        None if -1 in labels else labels,
    )
