"""Token ids are those of transformers. Runs in torch's environment, which has transformers."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.batching import make_batch
from shared.encoding import encode, read_encoded
from shared.recipe import Recipe
from shared.tasks import Rows, get_task
from tests.data import DATA, needs_data

ODD = [
    "", " ", "Naïve CAFÉ, São Paulo!", "emoji 🙂 and 中文字", "tab\there\u00a0space", "zero\u200bwidth",
    "don't—stop…", "[SEP] is text [MASK]", "supercalifragilisticexpialidocious" * 4, "ＦＵＬＬ width",
    "e\u0301 combined", "1,234.56 %",
]  # fmt: skip
CONFIGS: list[dict[str, Any]] = [
    {},
    {"do_lower_case": True},
    {"do_lower_case": False},
    {"do_lower_case": False, "strip_accents": True},
    {"do_lower_case": True, "strip_accents": False},
    {"tokenize_chinese_chars": False},
]

if os.environ.get("CONCORD_TEST_BACKEND") == "torch":

    def assert_equal_to_transformers(rows: Rows, folder: Path, max_len: int) -> None:
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(folder)
        expected = tokenizer(rows.first, rows.second, truncation=True, max_length=max_len)
        data = read_encoded(encode({"rows": rows}, folder, max_len, pad_id=0))["rows"]
        assert data.ids.tolist() == [i for row in expected["input_ids"] for i in row]
        assert data.types.tolist() == [t for row in expected["token_type_ids"] for t in row]
        assert data.lengths.tolist() == [len(row) for row in expected["input_ids"]]

    @needs_data
    @pytest.mark.parametrize("max_len", [16, 64, 128])
    @pytest.mark.parametrize("task", ["cola", "mrpc"])
    def test_cola_and_mrpc_have_the_token_ids_of_transformers(task: str, max_len: int, minilm: Path) -> None:
        for rows in get_task(task).load(DATA).values():
            assert_equal_to_transformers(rows, minilm, max_len)

    @pytest.mark.parametrize("max_len", [4, 5, 16, 17, 64])
    def test_pairs_of_any_length_are_cut_as_in_transformers(max_len: int, minilm: Path) -> None:
        random = np.random.RandomState(0)
        first, second = ([" ".join(["word"] * n) for n in random.randint(0, 20, 200)] for _ in range(2))
        assert_equal_to_transformers(Rows(first, second, None), minilm, max_len)

    @pytest.mark.parametrize("config", CONFIGS, ids=str)
    @pytest.mark.parametrize("kept", ["vocab.txt", "tokenizer.json"])
    def test_odd_text_of_any_casing_is_encoded_as_in_transformers(
        kept: str, config: dict[str, Any], minilm: Path, tmp_path: Path
    ) -> None:
        for file in (kept, "config.json"):
            shutil.copy(minilm / file, tmp_path)
        (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer", **config}))
        assert_equal_to_transformers(Rows(ODD, None, None), tmp_path, 32)
        assert_equal_to_transformers(Rows(ODD, ODD[::-1], None), tmp_path, 32)

    def test_a_vocabulary_alone_encodes_as_in_transformers(minilm: Path, tmp_path: Path) -> None:
        for file in ("vocab.txt", "config.json"):
            shutil.copy(minilm / file, tmp_path)
        assert_equal_to_transformers(Rows(ODD, None, None), tmp_path, 32)

    @pytest.mark.parametrize("padding", ["longest", "max_length"])
    def test_batches_are_padded_as_in_transformers(padding: Any, minilm: Path) -> None:
        from transformers import AutoTokenizer

        rows = Rows(["One word.", "A few more words than that.", "Two words."], ["No.", "Why?", "Why not then?"], None)
        expected = AutoTokenizer.from_pretrained(minilm)(
            rows.first, rows.second, truncation=True, max_length=24, padding=padding, return_tensors="np"
        )
        data = read_encoded(encode({"rows": rows}, minilm, 24, pad_id=0))["rows"]
        batch = make_batch(data, np.arange(3), Recipe(max_len=24, padding=padding))
        for name in ("input_ids", "token_type_ids", "attention_mask"):
            np.testing.assert_array_equal(getattr(batch, name), expected[name])
