"""Tasks: their splits, the layouts that are read, and the errors of malformed files."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import datasets
import huggingface_hub
import numpy as np
import pandas as pd
import pytest

from shared.errors import InputError
from shared.metrics import METRICS
from shared.tasks import TASK_MODULES, Rows, get_task, sst_binary
from shared.tasks.hub import load_glue
from tests.data import COMMIT, DATA, needs_data, write

COLA_TRAIN = "src\t1\t\tThe cat sat down.\nsrc\t0\t*\tCat the down sat.\n"
COLA_FILES = {"in_domain_train.tsv": COLA_TRAIN, "in_domain_dev.tsv": COLA_TRAIN, "out_of_domain_dev.tsv": COLA_TRAIN}
MRPC_HEADER = "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n"
MRPC_ROWS = "1\t11\t12\tRain fell.\tIt rained.\n0\t21\t22\tSnow fell.\tIt rained.\n1\t31\t32\tHe left.\tHe went.\n"
MRPC_FILES = {
    "msr_paraphrase_train.txt": MRPC_HEADER + MRPC_ROWS,
    "msr_paraphrase_test.txt": MRPC_HEADER + MRPC_ROWS,
    "mrpc_dev_ids.tsv": "21\t22\n",
}


def load(task: str, folder: Path) -> dict[str, Rows]:
    return get_task(task).load(folder)


@cache
def real(task: str) -> dict[str, Rows]:
    """The real data's splits, read once for all tests."""
    return load(task, DATA)


# --- the registry


@pytest.mark.parametrize("name", TASK_MODULES)
def test_every_task_has_its_name_labels_and_metrics(name: str) -> None:
    """Its metrics can score its labels."""
    task = get_task(name)
    assert task.name == name
    assert len(set(task.labels)) == len(task.labels) >= 2
    assert set(task.metrics) <= set(METRICS)
    assert "f1" not in task.metrics or len(task.labels) == 2


def test_an_unknown_task_is_refused_with_the_known_ones() -> None:
    known = (
        "cola, mrpc, sst-binary, sst2, qqp, mnli, qnli, rte, wnli, emotion, google-play, google-play-unique, "
        "acceptability, paraphrase"
    )
    with pytest.raises(InputError, match=f"unknown task 'coal'; pass a file or folder of .*, or one of {known}$"):
        get_task("coal")


@pytest.mark.parametrize(("task", "metric"), [("cola", "mcc"), ("mrpc", "f1"), ("qqp", "f1"), ("sst2", "accuracy")])
def test_glues_tasks_have_glues_first_metric_first(task: str, metric: str) -> None:
    assert get_task(task).metrics[0] == metric


@pytest.mark.parametrize("task", ["emotion", "google-play", "google-play-unique"])
def test_tasks_of_several_labels_have_macro_f1_too(task: str) -> None:
    assert get_task(task).metrics[:2] == ("accuracy", "macro_f1")


# --- the real data


@needs_data
def test_cola_has_the_published_counts() -> None:
    splits = real("cola")
    assert {name: len(rows) for name, rows in splits.items()} == {"train": 8551, "dev": 527, "test": 516}


@needs_data
def test_mrpc_has_the_published_counts() -> None:
    """GLUE's of each split, and the original's of each label."""
    splits = real("mrpc")
    counts = {name: Counter(rows.labels) for name, rows in splits.items()}
    assert {name: len(rows) for name, rows in splits.items()} == {"train": 3668, "dev": 408, "test": 1725}
    assert counts["train"][1] + counts["dev"][1] == 2753
    assert counts["test"][1] == 1147


@needs_data
@pytest.mark.parametrize(
    ("split", "file"),
    [("train", "in_domain_train"), ("dev", "in_domain_dev"), ("test", "out_of_domain_dev")],
)
def test_cola_reads_what_pandas_reads(split: str, file: str) -> None:
    table = pd.read_csv(
        DATA / "CoLA" / "cola_public" / "raw" / f"{file}.tsv",
        sep="\t", header=None, quoting=3, keep_default_na=False, encoding="utf-8-sig",
    )  # fmt: skip
    rows = real("cola")[split]
    assert rows == Rows(table[3].tolist(), None, table[1].tolist())


@needs_data
def test_mrpc_reads_what_pandas_reads() -> None:
    def table(file: str, header: int | None) -> pd.DataFrame:
        path = DATA / "MRPC" / file
        return pd.read_csv(path, sep="\t", header=header, quoting=3, keep_default_na=False, encoding="utf-8-sig")

    def rows(part: pd.DataFrame) -> Rows:
        return Rows(part["#1 String"].tolist(), part["#2 String"].tolist(), part["Quality"].tolist())

    train, ids = table("msr_paraphrase_train.txt", 0), table("mrpc_dev_ids.tsv", None)
    is_dev = pd.MultiIndex.from_frame(train[["#1 ID", "#2 ID"]]).isin(pd.MultiIndex.from_frame(ids))
    expected = {
        "train": rows(train[~is_dev]),
        "dev": rows(train[is_dev]),
        "test": rows(table("msr_paraphrase_test.txt", 0)),
    }
    assert real("mrpc") == expected


# --- layouts


@pytest.mark.parametrize("folder", ["CoLA/cola_public/raw", "cola_public/raw", "."])
def test_cola_is_found_in_its_original_layout(tmp_path: Path, folder: str) -> None:
    write(tmp_path / folder, COLA_FILES)
    expected = Rows(["The cat sat down.", "Cat the down sat."], None, [1, 0])
    assert load("cola", tmp_path) == {"train": expected, "dev": expected, "test": expected}


@pytest.mark.parametrize("folder", ["MRPC", "."])
def test_mrpc_is_found_in_its_layout_and_split_by_the_dev_ids(tmp_path: Path, folder: str) -> None:
    write(tmp_path / folder, MRPC_FILES)
    splits = load("mrpc", tmp_path)
    assert splits["train"] == Rows(["Rain fell.", "He left."], ["It rained.", "He went."], [1, 1])
    assert splits["dev"] == Rows(["Snow fell."], ["It rained."], [0])
    assert splits["test"].labels == [1, 0, 1]


def test_cola_in_glues_layout_may_have_an_unlabelled_test(tmp_path: Path) -> None:
    write(tmp_path / "CoLA", {"train.tsv": COLA_TRAIN, "dev.tsv": COLA_TRAIN})
    assert set(load("cola", tmp_path)) == {"train", "dev"}
    write(tmp_path / "CoLA", {"test.tsv": "index\tsentence\n0\tDogs bark.\n1\tBark dogs the.\n"})
    assert load("cola", tmp_path)["test"] == Rows(["Dogs bark.", "Bark dogs the."], None, None)


def test_mrpc_in_glues_layout_may_have_an_unlabelled_test(tmp_path: Path) -> None:
    test = "index\t#1 ID\t#2 ID\t#1 String\t#2 String\n0\t11\t12\tRain fell.\tIt rained.\n"
    write(tmp_path / "MRPC", {"train.tsv": MRPC_HEADER + MRPC_ROWS, "dev.tsv": MRPC_HEADER + MRPC_ROWS})
    assert set(load("mrpc", tmp_path)) == {"train", "dev"}
    write(tmp_path / "MRPC", {"test.tsv": test})
    splits = load("mrpc", tmp_path)
    assert splits["train"].labels == splits["dev"].labels == [1, 0, 1]
    assert splits["test"] == Rows(["Rain fell."], ["It rained."], None)


def test_the_layouts_own_folder_is_taken_for_its_parent(tmp_path: Path) -> None:
    for task, folder in (("cola", "CoLA"), ("mrpc", "MRPC")):
        rows = {"cola": COLA_TRAIN, "mrpc": MRPC_HEADER + MRPC_ROWS}[task]
        write(tmp_path / folder, {"train.tsv": rows, "dev.tsv": rows})
        assert load(task, tmp_path / folder) == load(task, tmp_path)
    with pytest.raises(InputError, match="has no files of qqp"):
        load("qqp", tmp_path / "MRPC")


def test_the_original_files_come_before_glues(tmp_path: Path) -> None:
    write(tmp_path / "CoLA", {"train.tsv": COLA_TRAIN, "dev.tsv": COLA_TRAIN})
    write(tmp_path / "CoLA" / "cola_public" / "raw", COLA_FILES)
    assert load("cola", tmp_path)["test"].labels == [1, 0]


def test_train_and_dev_of_another_task_are_not_taken_for_cola(tmp_path: Path) -> None:
    write(tmp_path, {"train.tsv": COLA_TRAIN, "dev.tsv": COLA_TRAIN})
    with pytest.raises(InputError, match="has no files of cola"):
        load("cola", tmp_path)


# --- lines


@pytest.mark.parametrize(
    ("content", "sentences"),
    [
        ('s\t1\t\t"Go," he said.\ns\t0\t*\tA "b\n', ['"Go," he said.', 'A "b']),
        ("\ufeffs\t1\t\tOne.\ns\t1\t\tTwo.\n", ["One.", "Two."]),
        ("s\t1\t\tOne.\r\ns\t1\t\tTwo.\r\n", ["One.", "Two."]),
        ("s\t1\t\tOne.\ns\t1\t\tTwo.", ["One.", "Two."]),
        ("s\t1\t\tOne.\ns\t1\t\tTwo.\n\n", ["One.", "Two."]),
        ("s\t1\t\tOne.\r\ns\t1\t\tTwo. \r\n\r\n \t\r\n", ["One.", "Two. "]),
        ("s\t1\t\tOne\u2028more\u0085word.\n", ["One\u2028more\u0085word."]),
    ],
    ids=[
        "quotes are text",
        "byte-order mark",
        "CRLF",
        "no last newline",
        "blank last line",
        "blank last lines",
        "other line separators are text",
    ],
)
def test_every_line_is_one_row(tmp_path: Path, content: str, sentences: list[str]) -> None:
    write(tmp_path, COLA_FILES | {"in_domain_dev.tsv": content})
    assert load("cola", tmp_path)["dev"].first == sentences


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("s\t1\t\tOne.\ns\t1\tTwo.\n", "line 2: 3 columns where 4 are wanted; mend or remove the line"),
        ("s\t1\t\tOne.\n\ns\t1\t\tTwo.\n", "line 2: 1 columns where 4 are wanted"),
        ("s\t1\t\tOne.\tmore\n", "line 1: 5 columns where 4 are wanted"),
        ("s\t1\t\tOne.\ns\t2\t\tTwo.\n", "line 2: label '2' is not one of 0, 1; mend or remove the line"),
        ("s\t\t\tOne.\n", "line 1: label '' is not one of 0, 1"),
        ("s\t1\t\t \n", "line 1: column 4 is empty"),
        ("", "has no rows; restore the file"),
    ],
)
def test_a_malformed_cola_file_is_named_with_its_line(tmp_path: Path, content: str, complaint: str) -> None:
    write(tmp_path, COLA_FILES | {"in_domain_dev.tsv": content})
    with pytest.raises(InputError, match=f"in_domain_dev.tsv,? {re.escape(complaint)}"):
        load("cola", tmp_path)


def test_a_line_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    write(tmp_path, COLA_FILES)
    (tmp_path / "in_domain_train.tsv").write_bytes(b"s\t1\t\tOne.\ns\t1\t\tCaf\xe9.\n")
    with pytest.raises(InputError, match=r"in_domain_train.tsv, line 2: not UTF-8; convert the file"):
        load("cola", tmp_path)


@pytest.mark.parametrize(
    ("file", "content", "complaint"),
    [
        ("msr_paraphrase_train.txt", MRPC_HEADER + "1\t11\t12\tOne.\n", "line 2: 4 columns where 5 are wanted"),
        ("msr_paraphrase_train.txt", MRPC_HEADER + MRPC_ROWS + "3\t4\t5\tOne.\tTwo.\n", "line 5: label '3'"),
        ("msr_paraphrase_test.txt", MRPC_HEADER, "has no rows"),
        ("mrpc_dev_ids.tsv", "", "has no rows"),
        ("mrpc_dev_ids.tsv", "21\t22\n11\t22\n", "line 2: 11 22 are no ids of a row of msr_paraphrase_train.txt"),
        ("mrpc_dev_ids.tsv", "11\t12\n21\t22\n31\t32\n", "leaves no rows to train on"),
    ],
)
def test_a_malformed_mrpc_file_is_named(tmp_path: Path, file: str, content: str, complaint: str) -> None:
    write(tmp_path, MRPC_FILES | {file: content})
    with pytest.raises(InputError, match=f"{file},? {re.escape(complaint)}"):
        load("mrpc", tmp_path)


# --- missing files


def test_missing_files_are_named_with_their_folders(tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        load("mrpc", tmp_path)
    message = str(error.value)
    assert "\n" not in message
    for wanted in (str(tmp_path), "msr_paraphrase_train.txt", "mrpc_dev_ids.tsv", "train.tsv", "in MRPC", "--data-dir"):
        assert wanted in message


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere is no folder; pass --data-dir"):
        load("cola", tmp_path / "nowhere")


@pytest.mark.parametrize("missing", MRPC_FILES)
def test_a_file_missing_beside_the_others_is_named(tmp_path: Path, missing: str) -> None:
    write(tmp_path / "MRPC", {name: text for name, text in MRPC_FILES.items() if name != missing})
    with pytest.raises(InputError, match=f"MRPC lacks {missing}; add what is missing"):
        load("mrpc", tmp_path)


# --- the hub


Hub = Callable[[datasets.DatasetDict], list[Any]]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Hub:
    """Serves a dataset in place of the hub, and returns the list of requests."""

    def serve(splits: datasets.DatasetDict) -> list[Any]:
        asked: list[Any] = []

        def load_dataset(repository: str, **where: Any) -> datasets.DatasetDict:
            asked.append((repository, where))
            return splits

        monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", lambda *_, **__: SimpleNamespace(sha=COMMIT))
        monkeypatch.setattr(datasets, "load_dataset", load_dataset)
        return asked

    return serve


def on_hub(names: tuple[str, ...] = ("no", "yes"), **splits: dict[str, Any]) -> datasets.DatasetDict:
    label = datasets.ClassLabel(names=list(names)) if names else datasets.Value("float32")
    return datasets.DatasetDict(
        {name: datasets.Dataset.from_dict(columns).cast_column("label", label) for name, columns in splits.items()}
    )


@pytest.mark.parametrize("task", ["cola", "mrpc", "sst2", "qqp", "qnli", "rte", "wnli"])
def test_glues_tasks_are_asked_for_by_name(hub: Hub, task: str) -> None:
    texts = ("sentence", "sentence1", "sentence2", "question", "question1", "question2")
    rows = {column: ["Rain fell."] for column in texts} | {"label": [1]}
    asked = hub(on_hub(train=rows, validation=rows, test=rows))
    get_task(task).load(None)
    assert asked == [("nyu-mll/glue", {"name": task, "revision": COMMIT})]


def test_the_commit_of_the_hubs_rows_is_told(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a hub, the place of the copy tells it."""
    rows = {"sentence": ["Rain fell.", "Rain rained."], "label": [1, 0]}
    splits = on_hub(train=rows, validation=rows, test=rows)
    asked = hub(splits)
    train = get_task("cola").load(None)["train"]
    assert (train.commit, train.head(1).commit, train.take(np.array([0])).commit) == (COMMIT,) * 3
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert get_task("cola").load(None)["train"].commit is None
    for name, split in splits.items():
        copy = tmp_path / name / COMMIT
        split.save_to_disk(copy)
        splits[name] = datasets.Dataset.from_file(str(copy / "data-00000-of-00001.arrow"))
    assert get_task("cola").load(None)["train"].commit == COMMIT
    assert asked[-1] == ("nyu-mll/glue", {"name": "cola"})


def test_hidden_test_labels_of_the_hub_become_no_labels(hub: Hub) -> None:
    hub(
        on_hub(
            train={"sentence": ["Dogs bark.", "Bark dogs the."], "label": [1, 0], "idx": [0, 1]},
            validation={"sentence": ["Cats sleep."], "label": [1], "idx": [0]},
            test={"sentence": ["Birds sing."], "label": [-1], "idx": [0]},
        )
    )
    assert get_task("cola").load(None) == {
        "train": Rows(["Dogs bark.", "Bark dogs the."], None, [1, 0]),
        "dev": Rows(["Cats sleep."], None, [1]),
        "test": Rows(["Birds sing."], None, None),
    }


@pytest.mark.parametrize(("task", "column"), [("mrpc", "sentence"), ("qqp", "question")])
def test_pairs_come_from_the_hub_with_both_texts(hub: Hub, task: str, column: str) -> None:
    rows = {f"{column}1": ["Rain fell."], f"{column}2": ["It rained."], "label": [1], "idx": [0]}
    hub(on_hub(train=rows, validation=rows, test=rows))
    assert get_task(task).load(None)["test"] == Rows(["Rain fell."], ["It rained."], [1])


def test_emotion_has_the_hubs_split_and_order_of_labels(hub: Hub) -> None:
    names = ("sadness", "joy", "love", "anger", "fear", "surprise")
    rows = {"text": [f"i am full of {name}" for name in reversed(names)], "label": list(reversed(names))}
    asked = hub(on_hub(names, train=rows, validation=rows, test=rows))
    splits = get_task("emotion").load(None)
    assert asked == [("dair-ai/emotion", {"name": "split", "revision": COMMIT})]
    assert get_task("emotion").labels == names
    assert splits.keys() == {"train", "dev", "test"}
    assert splits["dev"] == Rows(rows["text"], None, [5, 4, 3, 2, 1, 0])


def test_the_scores_of_the_hubs_sst_are_rounded(hub: Hub) -> None:
    rows = {"sentence": list("abcde"), "label": [0.0, 0.49999, 0.5, 0.51389, 1.0], "tokens": [""] * 5, "tree": [""] * 5}
    hub(on_hub((), train=rows, validation=rows, test=rows))
    splits = get_task("sst-binary").load(None)
    assert splits["train"] == splits["dev"] == splits["test"] == Rows(list("abcde"), None, [0, 0, 0, 1, 1])


def test_only_the_sentences_of_the_hubs_sst_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A local copy in the layout of the hub's conversion to parquet, which has a folder for each configuration.
    for split, label in (("train", 0.2), ("validation", 0.5), ("test", 0.8)):
        file = tmp_path / "hub" / "default" / split / "0000.parquet"
        datasets.Dataset.from_dict({"sentence": [split], "label": [label], "tokens": [""], "tree": [""]}).to_parquet(
            file
        )
        file = tmp_path / "hub" / "ptb" / split / "0000.parquet"
        datasets.Dataset.from_dict({"ptb_tree": ["(2 word)"]}).to_parquet(file)
    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", lambda *_, **__: SimpleNamespace(sha=COMMIT))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(sst_binary, "HUB", str(tmp_path / "hub"))
    assert get_task("sst-binary").load(None) == {
        "train": Rows(["train"], None, [0]),
        "dev": Rows(["validation"], None, [0]),
        "test": Rows(["test"], None, [1]),
    }


def test_an_unexpected_copy_on_the_hub_is_refused(hub: Hub) -> None:
    rows = {"sentence": ["Rain fell."], "label": [1]}
    hub(on_hub(train=rows, validation=rows, test=rows))
    with pytest.raises(
        InputError, match=r"^emotion is not as .* dair-ai/emotion: no text among its columns; pass --da"
    ):
        get_task("emotion").load(None)
    hub(on_hub(train=rows, test=rows))
    with pytest.raises(InputError, match=r"^sst2 is not as .* nyu-mll/glue: no validation among its splits; pass --da"):
        get_task("sst2").load(None)


@pytest.mark.parametrize("task", ["google-play", "google-play-unique"])
def test_google_play_is_not_on_the_hub_and_says_so(hub: Hub, task: str) -> None:
    asked = hub(on_hub())
    with pytest.raises(InputError) as error:
        get_task(task).load(None)
    expected = f"{task} is not on the hub; pass --data-dir a folder that holds google-play/reviews.csv"
    assert str(error.value) == expected
    assert asked == []


def test_if_the_hub_does_not_answer_no_dataset_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: Any, **__: Any) -> None:
        raise ConnectionError("no route")

    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", unreachable)
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: pytest.fail("asked a hub that does not answer"))
    with pytest.raises(InputError) as error:
        load_glue("cola", "sentence", None)
    message = str(error.value)
    assert "\n" not in message
    assert "--data-dir" in message
    assert "acceptability" in message


def test_no_hub_is_one_line_that_says_what_to_pass(tmp_path: Path) -> None:
    ask = "from shared.tasks import get_task; get_task('mrpc').load(None)"
    environment = os.environ | {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "0"}
    run = subprocess.run([sys.executable, "-c", ask], env=environment, capture_output=True, text=True, check=False)
    last = run.stderr.strip().splitlines()[-1]
    assert last.startswith("shared.errors.InputError: mrpc cannot be taken from the hub's nyu-mll/glue")
    assert "pass --data-dir" in last
    assert "Retry" not in run.stderr
