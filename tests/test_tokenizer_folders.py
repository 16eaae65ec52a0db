"""Tokenizer folders that are refused, and those whose cells keep their ids. Ids of tokens themselves are compared with
transformers' in tests/backends/test_tokenizer_folders.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from shared.checkpoint.former_tokenizer import former_tokenizer
from shared.checkpoint.saved import write_folder
from shared.checkpoint.tokenizer import gives_types, read_tokenizer, tokens_version
from shared.checkpoint.weights import checkpoint_hash
from shared.encoding import encode
from shared.errors import InputError
from shared.tasks import Rows
from tests.checkpoints import BERT, TOY, write_checkpoint
from tests.token_folders import KINDS, REFUSED, strings

TEXTS = strings(60, seed=2)
ROWS = {"rows": Rows(["a goose"], None, None)}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_folder_is_refused_in_one_line(kind: str, minilm: Path, tmp_path: Path) -> None:
    folder, reason = REFUSED[kind]
    with pytest.raises(InputError, match=reason) as error:
        encode(ROWS, folder.write(minilm, tmp_path / "ck"), 16, 0)
    assert "\n" not in str(error.value)


def ids(tokenizer: Any) -> list[list[int]]:
    """The ids that a tokenizer gives the texts."""
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return [encoding.ids for encoding in tokenizer.encode_batch(TEXTS)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_is_at_version_2_if_its_ids_changed(kind: str, minilm: Path, tmp_path: Path) -> None:
    folder = KINDS[kind].write(minilm, tmp_path / "ck")
    former = former_tokenizer(folder)
    same = former is not None and ids(former) == ids(read_tokenizer(folder))
    assert same == (tokens_version(folder, pairs=False) == 1)
    assert (tokens_version(folder, pairs=True) == 1) == (same and gives_types(folder))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.startswith("as transformers")])
def test_folders_of_usual_kinds_keep_their_ids(kind: str, minilm: Path, tmp_path: Path) -> None:
    assert tokens_version(KINDS[kind].write(minilm, tmp_path / "ck"), pairs=True) == 1


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A whole checkpoint of an ordinary kind."""
    return write_checkpoint(tmp_path / "checkpoint", BERT | {"vocab_size": 10})


def test_added_tokens_that_change_nothing_keep_the_hash(checkpoint: Path) -> None:
    before, encoded = checkpoint_hash(checkpoint), encode(ROWS, checkpoint, 8, 0).parent
    (checkpoint / "added_tokens.json").write_text("{}")
    assert tokens_version(checkpoint, pairs=True) == 1
    assert checkpoint_hash(checkpoint) == before
    assert encoded.is_dir()


def test_added_tokens_that_change_ids_change_the_hash(checkpoint: Path) -> None:
    before, encoded = checkpoint_hash(checkpoint), encode(ROWS, checkpoint, 8, 0)
    (checkpoint / "added_tokens.json").write_text('{"goose": 10}')
    assert tokens_version(checkpoint, pairs=False) == 2
    assert checkpoint_hash(checkpoint) != before
    assert encode(ROWS, checkpoint, 8, 0) != encoded


def test_types_are_at_version_2_for_pairs_alone(minilm: Path, tmp_path: Path) -> None:
    """The tokenizer gives a BERT no token types, as transformers 5 has it."""
    folder = KINDS["whole"].write(minilm, tmp_path / "ck")
    assert [tokens_version(folder, pairs=pairs) for pairs in (False, True)] == [1, 2]
    (folder / "config.json").write_text(json.dumps({"model_type": "distilbert"}))
    assert [tokens_version(folder, pairs=pairs) for pairs in (False, True)] == [1, 1]


@pytest.mark.parametrize("kind", ["added_tokens.json, special", "decoder with stripping", "whole, cased"])
def test_a_saved_folder_gives_the_ids_of_its_source(kind: str, minilm: Path, tmp_path: Path) -> None:
    folder = KINDS[kind].write(minilm, tmp_path / "ck")
    write_folder(tmp_path / "saved", {}, TOY, folder, "toy", ("a", "b", "c"), 16)
    assert ids(read_tokenizer(tmp_path / "saved")) == ids(read_tokenizer(folder))
