"""Encoding of text as token ids with the checkpoint's tokenizer. The arrays are kept on disk, and used again as long as
text, tokenizer and length are the same."""

from __future__ import annotations

import hashlib
import itertools
import json
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from shared.arrays import ArrayWriter
from shared.cache import cache_dir
from shared.checkpoint.tokenizer import gives_types, read_tokenizer, tokenizer_files, tokens_version
from shared.errors import InputError
from shared.kept import is_sealed, keep, seal
from shared.prefetch import prefetch
from shared.tasks import Rows


@dataclass(frozen=True)
class Sizes:
    """Sizes of an encoded folder's rows, told without their ids."""

    train: np.ndarray
    """Number of tokens of each training row, int64 [n]."""
    cut: dict[str, int]
    """Number of rows that were cut, by split."""


@dataclass(frozen=True)
class Encoded:
    """Encoded rows of one split, end to end without padding: `n` rows with `t` tokens in all."""

    ids: np.ndarray
    """int32 [t]."""
    types: np.ndarray
    """uint8 [t]: 0 in the first segment, 1 in the second."""
    offsets: np.ndarray
    """int64 [n + 1]: row i is ids[offsets[i]:offsets[i + 1]]."""
    labels: np.ndarray
    """int64 [n]; -1 in every row if the split has no labels."""
    pad_id: int
    cut: int = 0
    """Number of rows that were longer than max_len."""

    @cached_property
    def lengths(self) -> np.ndarray:
        """Number of tokens of each row, int64 [n]."""
        return np.diff(self.offsets)

    @property
    def labelled(self) -> bool:
        """Whether every row has a label."""
        return bool((self.labels >= 0).all())

    def __len__(self) -> int:
        return len(self.labels)


def encode(splits: dict[str, Rows], folder: Path, max_len: int, pad_id: int) -> Path:
    """Encodes every split as `write_encoded` does, unless the cache has the result already. What is damaged there is
    made again. Returns the folder in the cache, which `read_encoded` reads. Raises InputError as `write_encoded` and
    `keep` do."""
    question: dict[str, int] = {"format": 1, "max_len": max_len, "pad_id": pad_id}
    version = tokens_version(folder, pairs=any(rows.second is not None for rows in splits.values()))
    if version != 1:
        question["tokens"] = version
    digest = hashlib.sha256(json.dumps(question).encode())
    for file in tokenizer_files(folder):
        digest.update(file.name.encode() + file.read_bytes())
    for name, rows in splits.items():
        digest.update(f"{name} {rows.hash}".encode())
    target = cache_dir() / "encoded" / digest.hexdigest()[:24]
    return keep(target, lambda partial: write_encoded(splits, folder, max_len, pad_id, partial), is_sealed)


def write_encoded(splits: dict[str, Rows], folder: Path, max_len: int, pad_id: int, target: Path) -> None:
    """Encodes every split into the empty folder `target`, with the tokenizer of the checkpoint in `folder`.

    Rows are cut at max_len tokens; in a pair the longer text is cut first. Raises InputError if a file of the tokenizer
    cannot be read, or asks for something that is not supported.
    """
    tokenizer = read_tokenizer(folder)
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_len, strategy="longest_first")
    types = gives_types(folder)
    for name, rows in splits.items():
        _encode_split(rows, tokenizer, target / name)
        if not types:
            np.save(target / name / "types.npy", np.zeros_like(np.load(target / name / "types.npy")))
    (target / PAD_ID).write_text(str(pad_id))
    seal(target)


def token_lengths(rows: Rows, folder: Path) -> np.ndarray:
    """Number of tokens of each row, int64 [n], special tokens included and nothing cut, by the tokenizer of the
    checkpoint in `folder`."""
    tokenizer = read_tokenizer(folder)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    with _encodings(rows, tokenizer) as pieces:
        lengths = (len(encoding) for encoding in itertools.chain.from_iterable(pieces))
        return np.fromiter(lengths, np.int64, len(rows))


def read_encoded(folder: Path) -> dict[str, Encoded]:
    """Reads every split of an encoded folder. The arrays are memory-mapped. Raises InputError if a file is not as it
    was written."""
    if not is_sealed(folder):
        raise InputError(f"{folder} is not as it was written; run the command again, which makes it again")
    pad_id = int((folder / PAD_ID).read_text())
    return {
        split.name: Encoded(
            **{name: _mapped(split / f"{name}.npy") for name in ARRAY_NAMES},
            pad_id=pad_id,
            cut=int((split / CUT).read_text()),
        )
        for split in sorted(folder.iterdir())
        if split.is_dir()
    }


@lru_cache(maxsize=8)
def read_sizes(folder: Path) -> Sizes:
    """The sizes of an encoded folder's rows, read once for many questions. Raises as `read_encoded` does."""
    splits = read_encoded(folder)
    return Sizes(splits["train"].lengths, {name: split.cut for name, split in splits.items()})


def _mapped(file: Path) -> np.ndarray:
    # A plain view of the same pages: numpy.memmap makes each access several times slower.
    mapped: np.ndarray = np.load(file, mmap_mode="r").view(np.ndarray)
    return mapped


ARRAY_NAMES = ("ids", "types", "offsets", "labels")
"""Arrays of an encoded split, which are also names of its files."""

PAD_ID = "pad_id"
"""File with the id of the pad token."""

CUT = "cut"
"""File with the number of rows that were cut."""

VOCABULARY = "vocabulary"
"""Split of one row with all ids of a larger training split, which the split `train` stands for."""

AT_ONCE = 4096
"""Rows given to the tokenizer in one call: enough for all its threads, and few enough that memory does not grow with
the split. The tokenizer returns kilobytes for each row, and a few bytes a token are kept."""


def _encode_split(rows: Rows, tokenizer, target: Path) -> None:  # type: ignore[no-untyped-def]
    target.mkdir()
    end = cut = 0
    longest = tokenizer.truncation["max_length"]
    with (
        ArrayWriter(target / "ids.npy", np.int32) as ids,
        ArrayWriter(target / "types.npy", np.uint8) as types,
        ArrayWriter(target / "offsets.npy", np.int64) as offsets,
        _encodings(rows, tokenizer) as pieces,
    ):
        offsets.add([0])
        for encodings in pieces:
            some_ids, some_types, ends = array("i"), array("B"), array("q")
            for encoding in encodings:
                some_ids.extend(encoding.ids)
                ends.append(end + len(some_ids))
                if len(encoding) == longest:  # to look at what was cut off takes time
                    cut += bool(encoding.overflowing)
            if rows.second is not None or any(max(encodings, key=len).type_ids):
                for encoding in encodings:
                    some_types.extend(encoding.type_ids)
            ids.add(some_ids)
            # A tokenizer's template gives every single text the types that it gives the longest one.
            types.add(some_types if some_types else np.zeros(len(some_ids), np.uint8))
            offsets.add(ends)
            end += len(some_ids)
    with ArrayWriter(target / "labels.npy", np.int64) as labels:
        for start in range(0, len(rows), AT_ONCE):
            stop = min(start + AT_ONCE, len(rows))
            labels.add([-1] * (stop - start) if rows.labels is None else rows.labels[start:stop])
    (target / CUT).write_text(str(cut))


@contextmanager
def _encodings(rows: Rows, tokenizer) -> Iterator[Iterator[list[Any]]]:  # type: ignore[no-untyped-def]
    """Gives the encodings of the rows, AT_ONCE rows in a list. While one list is used, the next is made. Raises
    InputError if the tokenizer gives none, or ids that do not fit."""

    def encode_from(start: int) -> list[Any]:
        columns = [list(column[start : start + AT_ONCE]) for column in (rows.first, rows.second) if column is not None]
        made: list[Any] = tokenizer.encode_batch_fast(
            list(zip(*columns, strict=True)) if len(columns) == 2 else columns[0]
        )
        return made

    try:
        with prefetch(encode_from, range(0, len(rows), AT_ONCE), ahead=1) as made:
            yield made
    except (InputError, OSError, MemoryError):
        raise
    except Exception as error:  # tokenizers raises plain Exception
        raise InputError(f"the tokenizer cannot encode the rows ({error}); restore the checkpoint's files") from None


def trained_ids(data: dict[str, Encoded], vocab_size: int) -> np.ndarray:
    """Ids of all words that training on these splits meets, int64, each once and ascending."""
    met = np.zeros(vocab_size, bool)
    for name in {"train", VOCABULARY} & data.keys():
        for start in range(0, len(data[name].ids), IDS_AT_ONCE):
            met[data[name].ids[start : start + IDS_AT_ONCE]] = True
    return np.flatnonzero(met)


IDS_AT_ONCE = 2**20
"""Ids that are looked at together: numpy copies them."""


def write_rows(folder: Path, splits: dict[str, Encoded]) -> None:
    """Writes splits that are encoded already into a folder that `read_encoded` reads."""
    for name, split in splits.items():
        (folder / name).mkdir(parents=True)
        for array_name in ARRAY_NAMES:
            np.save(folder / name / f"{array_name}.npy", getattr(split, array_name))
        (folder / name / CUT).write_text(str(split.cut))
        (folder / PAD_ID).write_text(str(split.pad_id))
    seal(folder)


def take_rows(data: Encoded, rows: np.ndarray) -> Encoded:
    """Selects these rows (int64 [n]), in this order."""
    spans = [slice(data.offsets[row], data.offsets[row + 1]) for row in rows]
    return Encoded(
        ids=np.concatenate([data.ids[span] for span in spans]),
        types=np.concatenate([data.types[span] for span in spans]),
        offsets=np.concatenate([[0], np.cumsum(data.lengths[rows])]).astype(np.int64),
        labels=data.labels[rows],
        pad_id=data.pad_id,
    )
