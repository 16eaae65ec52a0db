"""A data set of the Hugging Face hub as own data: hub:OWNER/NAME, or hub:OWNER/NAME:CONFIG."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.errors import InputError
from shared.tasks.hub import load_dataset
from shared.tasks.table_files import AT_ONCE, Piece, TableFile

PREFIX = "hub:"


@dataclass(frozen=True)
class HubTables:
    """A data set of the hub."""

    content: str
    """A hash of its content."""
    commit: str | None
    """None if it is not known, of a copy in the cache."""
    tables: dict[str, tuple[TableFile, ...]]
    """The table of each split that has one of the usual names."""


def hub_tables(name: str, split_names: Mapping[str, Sequence[str]]) -> HubTables:
    """Loads a data set by its name after PREFIX. With HF_HUB_OFFLINE=1 the cache of `datasets` is read. Raises
    InputError if the hub cannot be reached or has no such data set or configuration, and if the data set has no
    train."""
    repository, _, config = name.removeprefix(PREFIX).partition(":")
    try:
        loaded, commit = load_dataset(repository, name=config or None)
    except Exception as error:  # errors of httpx, huggingface_hub and datasets have no nearer base in common
        said = (str(error).splitlines() or [""])[0]
        raise InputError(
            f"{name} cannot be taken from the hub ({type(error).__name__}: {said}); pass {PREFIX}OWNER/NAME, with a "
            "configuration after another colon if it has several, or its files"
        ) from None
    tables: dict[str, tuple[TableFile, ...]] = {
        split: (_table(f"{name} {theirs}", loaded[theirs]),)
        for split, names in split_names.items()
        for theirs in [next((one for one in names if one in loaded), None)]
        if theirs is not None
    }
    if "train" not in tables:
        raise InputError(f"{name} has no split train; it has {', '.join(loaded)}: pass its files")
    return HubTables(" ".join(loaded[split]._fingerprint for split in sorted(loaded)), commit, tables)


def _table(shown: str, split: Any) -> TableFile:
    def pieces(names: Sequence[str]) -> Iterator[Piece]:
        columns = split.select_columns(list(names))
        start = 1
        for batch in columns.iter(AT_ONCE):
            found = [list(batch[name]) for name in names]
            yield Piece(range(start, start + len(found[0])), found)
            start += len(found[0])

    labels = {name: tuple(about.names) for name, about in split.features.items() if hasattr(about, "names")}
    return TableFile(Path(shown), tuple(split.column_names), "row", pieces, labels)
