"""Text to token ids, once, with the checkpoint's own tokenizer; arrays on disk, reused while nothing they follow from
has changed."""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from shared.errors import InputError
from shared.files import cache_dir, whole_folder
from shared.tasks import Rows

TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "tokenizer_config.json", "special_tokens_map.json")
"""The files of a checkpoint folder that belong to its tokenizer."""


@dataclass(frozen=True)
class Encoded:
    """The encoded rows of one split, end to end without padding. `n` rows of `t` tokens together."""

    ids: np.ndarray
    """int32 [t]."""
    types: np.ndarray
    """uint8 [t]: 0 in the first segment, 1 in the second."""
    offsets: np.ndarray
    """int64 [n + 1]: row i is ids[offsets[i]:offsets[i + 1]]."""
    labels: np.ndarray
    """int64 [n]; -1 throughout where the split has no labels."""
    pad_id: int

    @cached_property
    def lengths(self) -> np.ndarray:
        """int64 [n], tokens of each row."""
        return np.diff(self.offsets)

    @property
    def labelled(self) -> bool:
        return bool((self.labels >= 0).all())

    def __len__(self) -> int:
        return len(self.labels)


def tokenizer_files(folder: Path) -> list[Path]:
    """Those of TOKENIZER_FILES that the folder holds. Raises InputError where it has neither of the first two."""
    found = [folder / name for name in TOKENIZER_FILES if (folder / name).is_file()]
    if not found or found[0].name not in TOKENIZER_FILES[:2]:
        raise InputError(f"{folder} has no tokenizer.json and no vocab.txt; add the checkpoint's tokenizer files")
    return found


def encode(splits: dict[str, Rows], folder: Path, max_len: int, pad_id: int) -> Path:
    """Encodes every split as `write_encoded` does. Returns the folder that `read_encoded` reads, in the cache; one
    already made is returned at once."""
    digest = hashlib.sha256(json.dumps({"format": 1, "max_len": max_len, "pad_id": pad_id}).encode())
    for file in tokenizer_files(folder):
        digest.update(file.name.encode() + file.read_bytes())
    for name, rows in splits.items():
        digest.update(f"{name} {rows.hash}".encode())
    target = cache_dir() / "encoded" / digest.hexdigest()[:24]
    if target.is_dir():
        return target
    with whole_folder(target) as partial:
        write_encoded(splits, folder, max_len, pad_id, partial)
    return target


def write_encoded(splits: dict[str, Rows], folder: Path, max_len: int, pad_id: int, target: Path) -> None:
    """Encodes every split with the tokenizer of the checkpoint `folder`, each row cut at max_len tokens, the longer
    text of a pair first, into the empty folder `target`. Raises InputError where the tokenizer's files cannot be
    honoured."""
    tokenizer = _tokenizer(folder)
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_len, strategy="longest_first")
    for name, rows in splits.items():
        _encode_split(rows, tokenizer, target / name)
    (target / "pad_id").write_text(str(pad_id))


def token_lengths(rows: Rows, folder: Path) -> np.ndarray:
    """int64 [n]: each row's tokens before anything is cut, special ones included, by the checkpoint's tokenizer."""
    tokenizer = _tokenizer(folder)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return np.array([len(encoding) for encoding in _encodings(rows, tokenizer)], np.int64)


def read_encoded(folder: Path) -> dict[str, Encoded]:
    """Every split of an encoded folder, memory-mapped."""
    pad_id = int((folder / "pad_id").read_text())
    return {
        split.name: Encoded(**{part: _mapped(split / f"{part}.npy") for part in PARTS}, pad_id=pad_id)
        for split in sorted(folder.iterdir())
        if split.is_dir()
    }


def _mapped(file: Path) -> np.ndarray:
    # A plain view of the same pages: numpy's class for them makes each look-up several times as slow.
    mapped: np.ndarray = np.load(file, mmap_mode="r").view(np.ndarray)
    return mapped


PARTS = ("ids", "types", "offsets", "labels")


AT_ONCE = 8192
"""Rows that the tokenizer is given in one call: enough for all its threads, and few enough that memory does not grow
with a split. What it returns of a row is kilobytes, of which a few bytes a token are kept."""


def _encode_split(rows: Rows, tokenizer, target: Path) -> None:  # type: ignore[no-untyped-def]
    ids, types, offsets = array("i"), array("B"), array("q", [0])
    for encoding in _encodings(rows, tokenizer):
        ids.extend(encoding.ids)
        types.extend(encoding.type_ids)
        offsets.append(len(ids))
    target.mkdir()
    arrays: dict[str, np.ndarray] = {
        "ids": np.asarray(ids, np.int32),
        "types": np.asarray(types, np.uint8),
        "offsets": np.asarray(offsets, np.int64),
        "labels": np.array(rows.labels if rows.labels is not None else [-1] * len(rows), np.int64),
    }
    for part in PARTS:
        np.save(target / f"{part}.npy", arrays[part])


def _encodings(rows: Rows, tokenizer) -> Iterator[Any]:  # type: ignore[no-untyped-def]
    for start in range(0, len(rows), AT_ONCE):
        columns = [column[start : start + AT_ONCE] for column in (rows.first, rows.second) if column is not None]
        yield from tokenizer.encode_batch_fast(list(zip(*columns, strict=True)) if len(columns) == 2 else columns[0])


def _tokenizer(folder: Path):  # type: ignore[no-untyped-def]
    """The tokenizer that transformers makes of the folder. Raises InputError naming what it cannot read or honour."""
    config_file = folder / "tokenizer_config.json"
    config = _json(folder / "special_tokens_map.json") | _json(config_file)
    for side in ("truncation_side", "padding_side"):
        if config.get(side, "right") != "right":
            raise InputError(f"{config_file}: {side} {config[side]!r} is not supported; set it to 'right'")
    file = tokenizer_files(folder)[0]
    try:
        tokenizer = _from_vocabulary(file, config) if file.name == "vocab.txt" else _from_json(file, config)
    except InputError:
        raise
    except Exception as error:  # tokenizers raises plain Exception
        raise InputError(f"{file} cannot be read ({error}); restore the checkpoint's file") from None
    for id, added in config.get("added_tokens_decoder", {}).items():
        if tokenizer.token_to_id(_text(added)) != int(id):
            raise InputError(f"{config_file} adds token {_text(added)!r}, which {file} lacks; add it there as id {id}")
    return tokenizer


NORMALIZER = {
    "do_lower_case": ("lowercase", True),
    "tokenize_chinese_chars": ("handle_chinese_chars", True),
    "strip_accents": ("strip_accents", None),
}
"""Fields of tokenizer_config.json, what `tokenizers` calls them, and what transformers takes where they are absent."""


# `tokenizers` is imported in these two: commands that encode nothing start faster without it.
def _from_vocabulary(file: Path, config: dict[str, Any]):  # type: ignore[no-untyped-def]
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    special = {name: _text(config.get(f"{name}_token") or f"[{name.upper()}]") for name in ("unk", "sep", "cls")}
    tokenizer = Tokenizer(models.WordPiece.from_file(str(file), unk_token=special["unk"]))
    for token in special.values():
        if tokenizer.token_to_id(token) is None:
            raise InputError(f"{file} has no {token}; restore the checkpoint's file")
    tokenizer.add_special_tokens(
        [t for t in (*special.values(), "[PAD]", "[MASK]") if tokenizer.token_to_id(t) is not None]
    )
    tokenizer.normalizer = normalizers.BertNormalizer(
        **{ours: config.get(name, default) for name, (ours, default) in NORMALIZER.items()}
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    sep, cls = ((special[name], tokenizer.token_to_id(special[name])) for name in ("sep", "cls"))
    tokenizer.post_processor = processors.BertProcessing(sep, cls)
    return tokenizer


def _from_json(file: Path, config: dict[str, Any]):  # type: ignore[no-untyped-def]
    from tokenizers import Tokenizer, normalizers

    tokenizer = Tokenizer.from_file(str(file))
    if config.get("tokenizer_class") in ("PreTrainedTokenizerFast", "TokenizersBackend"):
        return tokenizer  # transformers takes this file as it is for these, and has the config rule for BERT's own
    if not isinstance(tokenizer.normalizer, normalizers.BertNormalizer):
        raise InputError(f"{file}: its normalizer is not BERT's; pass a BERT or DistilBERT checkpoint")
    for name, (ours, default) in NORMALIZER.items():
        value = getattr(tokenizer.normalizer, ours)
        if name not in config and value != default:
            raise InputError(f"{file} has {ours} {value}, and tokenizer_config.json no {name}; add it there")
        setattr(tokenizer.normalizer, ours, config.get(name, default))
    return tokenizer


def _json(file: Path) -> dict[str, Any]:
    """What a JSON file holds; nothing where there is none."""
    if not file.is_file():
        return {}
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{file} is no JSON ({error}); restore the checkpoint's file") from None
    if not isinstance(content, dict):
        raise InputError(f"{file} holds no JSON object; restore the checkpoint's file")
    return content


def _text(token: str | dict[str, Any]) -> str:
    """A token as tokenizer_config.json writes it: plain, or with its properties."""
    return token if isinstance(token, str) else token["content"]
