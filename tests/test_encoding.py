"""Encoding of text as token ids. Each setting in the tokenizer's files is honoured or refused, and nothing is encoded
twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import shared.encoding
from shared.checkpoint.tokenizer import read_tokenizer, tokenizer_files
from shared.encoding import Encoded, encode, read_encoded
from shared.errors import InputError
from shared.tasks import Rows

VOCABULARY = [
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "Cat", "sat", "un", "##happy", "##ly", ".", ",",
    "caf", "##e", "##é", "café", "中", "文", "##文", "a", "b",
]  # fmt: skip
ID = {token: index for index, token in enumerate(VOCABULARY)}


def ids(*tokens: str) -> list[int]:
    return [ID[token] for token in ("[CLS]", *tokens, "[SEP]")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkpoint's folder with vocab.txt alone."""
    (tmp_path / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n", encoding="utf-8")
    return tmp_path


def configure(folder: Path, **fields: Any) -> Path:
    (folder / "tokenizer_config.json").write_text(json.dumps(fields))
    return folder


def add_tokenizer_json(folder: Path, truncation: dict[str, Any] | None = None, **normalizer: Any) -> Path:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    tokenizer = Tokenizer(models.WordPiece(ID, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(**normalizer)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", ID["[SEP]"]), ("[CLS]", ID["[CLS]"]))
    tokenizer.add_special_tokens(VOCABULARY[:5])
    if truncation:
        tokenizer.enable_truncation(**truncation)
        tokenizer.enable_padding(length=truncation["max_length"])
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def encoded(folder: Path, first: list[str], second: list[str] | None = None, max_len: int = 32) -> Encoded:
    return read_encoded(encode({"train": Rows(first, second, None)}, folder, max_len, pad_id=0))["train"]


def tokens(folder: Path, text: str) -> list[int]:
    return encoded(folder, [text]).ids.tolist()


# --- what the arrays hold


def test_rows_lie_end_to_end_without_padding(folder: Path) -> None:
    data = encoded(folder, ["the cat sat.", "unhappyly", ""])
    assert data.ids.tolist() == [*ids("the", "cat", "sat", "."), *ids("un", "##happy", "##ly"), *ids()]
    assert data.offsets.tolist() == [0, 6, 11, 13]
    assert data.lengths.tolist() == [6, 5, 2]
    assert (data.ids.dtype, data.types.dtype, data.offsets.dtype, data.labels.dtype) == (
        np.int32, np.uint8, np.int64, np.int64
    )  # fmt: skip


def test_the_second_text_and_its_separator_have_type_one(folder: Path) -> None:
    data = encoded(folder, ["the cat"], ["sat"])
    assert data.ids.tolist() == [*ids("the", "cat"), ID["sat"], ID["[SEP]"]]
    assert data.types.tolist() == [0, 0, 0, 0, 1, 1]


def test_labels_are_kept_and_missing_ones_are_minus_one(folder: Path) -> None:
    splits = {"train": Rows(["a", "b"], None, [1, 0]), "test": Rows(["a", "b"], None, None)}
    data = read_encoded(encode(splits, folder, 8, pad_id=7))
    assert data["train"].labels.tolist() == [1, 0]
    assert data["train"].labelled
    assert data["test"].labels.tolist() == [-1, -1]
    assert not data["test"].labelled
    assert data["test"].pad_id == 7


def test_a_single_text_is_cut_at_its_end(folder: Path) -> None:
    assert encoded(folder, ["a b a b a"], max_len=5).ids.tolist() == ids("a", "b", "a")


@pytest.mark.parametrize(
    ("first", "second", "kept"),
    [
        ("a a a a a a", "b", (4, 1)),
        ("a", "b b b b b b", (1, 4)),
        ("a a a", "b b b", (2, 3)),
        ("a a a a a a", "b b b b b b", (2, 3)),
        ("a a", "b b b b", (2, 3)),
    ],
)
def test_the_longer_text_of_a_pair_is_cut_first(folder: Path, first: str, second: str, kept: tuple[int, int]) -> None:
    """If both are equally long, the first one is cut."""
    data = encoded(folder, [first], [second], max_len=8)
    assert data.ids.tolist() == [*ids(*"a" * kept[0]), *ids(*"b" * kept[1])[1:]]


@pytest.mark.parametrize("pairs", [False, True])
@pytest.mark.parametrize(("count", "calls"), [(0, []), (1, [1]), (3, [3]), (10, [3, 3, 3, 1])])
def test_rows_encoded_together_are_as_encoded_alone(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, calls: list[int], pairs: bool
) -> None:
    """The tokenizer gets a few rows in each call."""
    texts = [" ".join(["the", "cat", "sat", "a", "b"][: 1 + n % 5]) for n in range(count)]
    tokenizer, given = read_tokenizer(folder), []

    class Watched:
        def __getattr__(self, name: str) -> Any:
            return getattr(tokenizer, name)

        def encode_batch_fast(self, batch: list[Any]) -> Any:
            given.append(len(batch))
            return tokenizer.encode_batch_fast(batch)

    monkeypatch.setattr(shared.encoding, "read_tokenizer", lambda _: Watched())
    monkeypatch.setattr(shared.encoding, "AT_ONCE", 3)
    target = tmp_path / "target"
    target.mkdir()
    shared.encoding.write_encoded({"train": Rows(texts, texts[::-1] if pairs else None, None)}, folder, 8, 0, target)
    data = read_encoded(target)["train"]
    assert given == calls
    alone = [tokenizer.encode(text, texts[-1 - n] if pairs else None) for n, text in enumerate(texts)]
    assert data.ids.tolist() == [id for encoding in alone for id in encoding.ids]
    assert data.types.tolist() == [kind for encoding in alone for kind in encoding.type_ids]
    assert data.lengths.tolist() == [len(encoding) for encoding in alone]


# --- what the tokenizer's files say


def test_a_vocabulary_alone_means_no_case_and_no_accents(folder: Path) -> None:
    assert tokens(folder, "Cat Café 中文") == ids("cat", "caf", "##e", "中", "文")


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({"do_lower_case": True}, ("cat", "caf", "##e", "中", "文")),
        ({"do_lower_case": False}, ("Cat", "[UNK]", "中", "文")),
        ({"strip_accents": False}, ("cat", "café", "中", "文")),
        ({"tokenize_chinese_chars": False}, ("cat", "caf", "##e", "中", "##文")),
    ],
)
@pytest.mark.parametrize("with_json", [False, True])
def test_the_casing_of_tokenizer_config_is_honoured(
    folder: Path, fields: dict[str, bool], wanted: tuple[str, ...], with_json: bool
) -> None:
    configure(folder, **fields)
    if with_json:
        add_tokenizer_json(folder)
    assert tokens(folder, "Cat Café 中文") == ids(*wanted)


def test_truncation_and_padding_of_the_json_are_overridden(folder: Path) -> None:
    add_tokenizer_json(folder, truncation={"max_length": 4})
    assert tokens(folder, "a b a b a") == ids("a", "b", "a", "b", "a")
    assert encoded(folder, ["a b a b a"], max_len=5).ids.tolist() == ids("a", "b", "a")
    assert encoded(folder, ["a"]).ids.tolist() == ids("a")


def test_casing_that_transformers_would_ignore_is_refused(folder: Path) -> None:
    add_tokenizer_json(folder, lowercase=False)
    with pytest.raises(InputError, match=r"tokenizer.json has lowercase False, and .* no do_lower_case; add it there"):
        tokens(folder, "Cat")
    configure(folder, tokenizer_class="PreTrainedTokenizerFast")
    assert tokens(folder, "Cat") == ids("Cat")


def test_special_tokens_of_other_names_are_taken(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("<pad>\n<unk>\n<s>\n</s>\ncat\n")
    special = {"unk_token": "<unk>", "cls_token": {"content": "<s>"}, "sep_token": "</s>", "pad_token": "<pad>"}
    configure(tmp_path, **special)
    assert tokens(tmp_path, "cat dog") == [2, 4, 1, 3]


def test_an_added_token_has_the_next_id_as_in_transformers(folder: Path) -> None:
    configure(folder, added_tokens_decoder={"99": {"content": "<new>"}})
    assert tokens(folder, "the <new> cat") == [*ids("the")[:-1], len(VOCABULARY), *ids("cat")[1:]]


# --- what cannot be read


@pytest.mark.parametrize(
    ("file", "content", "complaint"),
    [
        ("tokenizer.json", b'{"version": "1.0", "mod', "tokenizer.json cannot be read .*; restore"),
        ("tokenizer.json", b"{}", "tokenizer.json cannot be read .*; restore"),
        ("tokenizer_config.json", b'{"do_lower', "tokenizer_config.json is no JSON .*; restore"),
        ("tokenizer_config.json", b"[]", "tokenizer_config.json holds no JSON object; restore"),
        ("tokenizer_config.json", b'{"truncation_side": "left"}', "truncation_side 'left' is not supported"),
        ("tokenizer_config.json", b'{"added_tokens_decoder": {"99": {"text": "<new>"}}}', "added token is malformed"),
        ("added_tokens.json", b'{"<new>": ', "added_tokens.json is no JSON .*; restore"),
        ("special_tokens_map.json", b"[]", "special_tokens_map.json holds no JSON object; restore"),
        ("vocab.txt", b"[UNK]\n[CLS]\ncat\n", r"vocab.txt has no \[SEP\]; restore"),
        ("vocab.txt", b"", r"vocab.txt has no \[UNK\]; restore"),
        ("vocab.txt", b"[UNK]\n\xff\xfe\n", "vocab.txt cannot be read .*; restore"),
    ],
)
def test_malformed_tokenizer_files_are_named(folder: Path, file: str, content: bytes, complaint: str) -> None:
    (folder / file).write_bytes(content)
    with pytest.raises(InputError, match=complaint) as error:
        tokens(folder, "cat")
    assert "\n" not in str(error.value)


def test_a_folder_without_a_vocabulary_is_refused(tmp_path: Path) -> None:
    configure(tmp_path, do_lower_case=True)
    with pytest.raises(InputError, match=r"no tokenizer.json and no vocab.txt; add the checkpoint's tokenizer files"):
        tokenizer_files(tmp_path)


# --- once


def test_what_is_encoded_is_used_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    splits = {"train": Rows(["the cat"], None, [1])}
    first = encode(splits, folder, 16, pad_id=0)
    monkeypatch.setattr(shared.encoding, "read_tokenizer", lambda _: pytest.fail("encoded again"))
    assert encode(splits, folder, 16, pad_id=0) == first


def test_anything_else_is_encoded_again(folder: Path) -> None:
    """Another text, label, split, length, pad id or tokenizer."""
    splits = {"train": Rows(["the cat"], None, [1])}
    made = [encode(splits, folder, 16, pad_id=0)]
    made.append(encode({"train": Rows(["the cat."], None, [1])}, folder, 16, pad_id=0))
    made.append(encode({"train": Rows(["the cat"], None, [0])}, folder, 16, pad_id=0))
    made.append(encode({"dev": Rows(["the cat"], None, [1])}, folder, 16, pad_id=0))
    made.append(encode(splits, folder, 17, pad_id=0))
    made.append(encode(splits, folder, 16, pad_id=1))
    made.append(encode(splits, configure(folder, do_lower_case=False), 16, pad_id=0))
    assert len(set(made)) == len(made)


def test_an_interrupted_encoding_leaves_nothing_behind(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    splits = {"train": Rows(["the cat"], None, [1]), "dev": Rows(["a b"], None, [1])}
    encode_split = shared.encoding._encode_split

    def interrupted(rows: Rows, tokenizer: Any, target: Path) -> None:
        if target.name == "dev":
            raise KeyboardInterrupt
        encode_split(rows, tokenizer, target)

    cache = encode({"train": Rows(["b"], None, None)}, folder, 8, pad_id=0).parent
    before = set(cache.iterdir())
    with monkeypatch.context() as patched:
        patched.setattr(shared.encoding, "_encode_split", interrupted)
        with pytest.raises(KeyboardInterrupt):
            encode(splits, folder, 8, pad_id=0)
    assert set(cache.iterdir()) == before
    assert set(read_encoded(encode(splits, folder, 8, pad_id=0))) == {"train", "dev"}
