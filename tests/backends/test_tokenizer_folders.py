"""Token ids of every kind of tokenizer folder are those of transformers. Runs in torch's environment.

`CONCORD_TOKEN_STRINGS=10000` asks for so many generated strings of each kind, and for every text of every task; without
it there are few of both.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from shared.checkpoint.built_tokenizer import build_once
from shared.checkpoint.saved import write_folder
from shared.checkpoint.tokenizer import read_tokenizer
from shared.encoding import read_encoded, write_encoded
from shared.errors import InputError
from shared.tasks import TASK_MODULES, Rows, get_task
from tests.checkpoints import TOY
from tests.data import DATA, needs_data
from tests.token_folders import BUILT, COUNT, ENTITIES, KINDS, Kind, strings

TEXTS = strings(COUNT or 150)
NOT_AT_HAND = ("mnli", "qnli", "rte", "wnli")
"""Tasks whose files are not among the data."""

if os.environ.get("CONCORD_TEST_BACKEND") == "torch":
    from transformers import AutoTokenizer

    from backends.torch.build_tokenizer import build

    def assert_equal_to_transformers(rows: Rows, folder: Path, target: Path, max_len: int = 64) -> None:
        """Fails unless ids, types and lengths of all rows are those of AutoTokenizer."""
        tokenizer = AutoTokenizer.from_pretrained(folder)
        expected = tokenizer(rows.first, rows.second, truncation=True, max_length=max_len)
        target.mkdir()
        write_encoded({"rows": rows}, folder, max_len, 0, target)
        data = read_encoded(target)["rows"]
        assert data.lengths.tolist() == [len(row) for row in expected["input_ids"]]
        assert data.ids.tolist() == [i for row in expected["input_ids"] for i in row]
        if "distilbert" not in (folder / "config.json").read_text():
            types = expected.get("token_type_ids", [[0] * len(row) for row in expected["input_ids"]])
            assert data.types.tolist() == [t for row in types for t in row]

    def parts(tokenizer: Any) -> list[Any]:
        """All that the ids of any text follow from."""
        content = json.loads(tokenizer.to_str())
        framed = tokenizer.encode("", "")
        steps = [content[name] for name in ("added_tokens", "normalizer", "pre_tokenizer", "model")]
        return [*steps, framed.ids, tokenizer.encode_special_tokens]

    @pytest.mark.parametrize("kind", KINDS)
    def test_the_tokenizer_is_transformers_own(kind: str, minilm: Path, tmp_path: Path) -> None:
        """Part by part, so that the ids of every text are the same."""
        folder = KINDS[kind].write(minilm, tmp_path / "ck")
        assert parts(read_tokenizer(folder)) == parts(AutoTokenizer.from_pretrained(folder).backend_tokenizer)

    @pytest.mark.parametrize("kind", KINDS)
    def test_generated_strings_have_transformers_ids(kind: str, minilm: Path, tmp_path: Path) -> None:
        folder = KINDS[kind].write(minilm, tmp_path / "ck")
        assert_equal_to_transformers(Rows(TEXTS, None, None), folder, tmp_path / "single")
        assert_equal_to_transformers(Rows(TEXTS, TEXTS[::-1], None), folder, tmp_path / "pair")

    def test_a_tokenizer_that_transformers_saves_is_read(minilm: Path, tmp_path: Path) -> None:
        """Tokens were added to it, special ones and others."""
        tokenizer = AutoTokenizer.from_pretrained(KINDS["a vocabulary alone"].write(minilm, tmp_path / "source"))
        tokenizer.add_tokens(["goose", "new words"])
        tokenizer.add_special_tokens({"extra_special_tokens": ENTITIES})
        tokenizer.save_pretrained(tmp_path / "ck")
        (tmp_path / "ck" / "config.json").write_text('{"model_type": "bert"}')
        assert_equal_to_transformers(Rows(TEXTS, None, None), tmp_path / "ck", tmp_path / "single")

    @pytest.mark.parametrize("kind", BUILT)
    def test_another_class_is_built_once_by_transformers(kind: str, minilm: Path, tmp_path: Path) -> None:
        """It is opened after that without transformers, and so is the folder that is saved of it."""
        folder = BUILT[kind].write(minilm, tmp_path / "ck")
        build_once(folder, build)
        build_once(folder, lambda source, target: pytest.fail("built again"))
        assert_equal_to_transformers(Rows(TEXTS, None, None), folder, tmp_path / "single")
        assert_equal_to_transformers(Rows(TEXTS, TEXTS[::-1], None), folder, tmp_path / "pair")
        write_folder(tmp_path / "saved", {}, TOY, folder, "toy", ("a", "b", "c"), 16)
        assert parts(AutoTokenizer.from_pretrained(tmp_path / "saved").backend_tokenizer) == parts(
            read_tokenizer(folder)
        )

    def test_a_class_that_runs_python_is_refused_by_name(minilm: Path, tmp_path: Path) -> None:
        folder = Kind({"tokenizer_class": "BertJapaneseTokenizer"}).write(minilm, tmp_path / "ck")
        with pytest.raises(InputError, match="tokenizer_class 'BertJapaneseTokenizer' is not supported") as error:
            build_once(folder, build)
        assert "\n" not in str(error.value)

    @needs_data
    @pytest.mark.parametrize("task", [task for task in TASK_MODULES if task not in NOT_AT_HAND])
    def test_every_tasks_texts_have_transformers_ids(task: str, minilm: Path, tmp_path: Path) -> None:
        """All of them for all kinds if so many are asked for; else a few for every fifth kind."""
        rows = get_task(task).load(DATA)
        for number, kind in enumerate(KINDS if COUNT else list(KINDS)[::5]):
            folder = KINDS[kind].write(minilm, tmp_path / f"ck{number}")
            for split, part in rows.items():
                for start in range(0, len(part) if COUNT else 1, 50_000):
                    some = slice(start, start + 50_000 if COUNT else 40)
                    texts = Rows(part.first[some], part.second and part.second[some], None)
                    assert_equal_to_transformers(texts, folder, tmp_path / f"{number}-{split}-{start}")
