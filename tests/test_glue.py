"""GLUE's tasks of inference, on rows generated in GLUE's layout. The real files are not at hand."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import datasets
import huggingface_hub
import numpy as np
import pytest

from benchmarks.cli.own_options import OPTIONS
from benchmarks.predict.task_split import TaskSplit, read_task_split
from shared.errors import InputError
from shared.tasks import Rows, get_task
from shared.tasks.glue import SUBMISSIONS
from tests.data import COMMIT, write

PARSES = "sentence1_binary_parse\tsentence2_binary_parse\tsentence1_parse\tsentence2_parse"
MNLI_TEST = f"index\tpromptID\tpairID\tgenre\t{PARSES}\tsentence1\tsentence2"
MNLI_DEV = f"{MNLI_TEST}\tlabel1\tlabel2\tlabel3\tlabel4\tlabel5\tgold_label"
MNLI_TRAIN = f"{MNLI_TEST}\tlabel1\tgold_label"
SHORT = {
    "qnli": ("QNLI", "index\tquestion\tsentence"),
    "rte": ("RTE", "index\tsentence1\tsentence2"),
    "wnli": ("WNLI", "index\tsentence1\tsentence2"),
}
FIRST = ['He said "no', "It rains.", "A cat sat."]
SECOND = ["He spoke.", 'Who "rains?', "A dog sat."]
WORDS = {
    "mnli": ["entailment", "contradiction", "neutral"],
    "qnli": ["entailment", "not_entailment", "entailment"],
    "rte": ["not_entailment", "entailment", "not_entailment"],
    "wnli": ["0", "1", "0"],
}
INDICES = {"mnli": [0, 2, 1], "qnli": [0, 1, 0], "rte": [1, 0, 1], "wnli": [0, 1, 0]}


def mnli(header: str, *labels: str) -> str:
    """A file of MNLI with the made-up texts; `labels` are the annotators' columns, and gold comes after them."""
    rows = [f"{n}\t1n\t1e\tfiction\t( a )\t( b )\t(A)\t(B)\t{FIRST[n]}\t{SECOND[n]}" for n in range(3)]
    if "gold_label" in header:
        rows = ["\t".join([row, *labels, gold]) for row, gold in zip(rows, WORDS["mnli"], strict=True)]
    return "\n".join([header, *rows]) + "\n"


def made_up(task: str, folder: Path) -> Path:
    """Writes the task's files in GLUE's layout below the folder, and returns the task's folder."""
    if task == "mnli":
        dev, test = mnli(MNLI_DEV, *["neutral"] * 5), mnli(MNLI_TEST)
        halves = {f"dev_{half}matched.tsv": dev for half in ("", "mis")}
        halves |= {f"test_{half}matched.tsv": test for half in ("", "mis")}
        return write(folder / "MNLI", {"train.tsv": mnli(MNLI_TRAIN, "neutral")} | halves)
    name, header = SHORT[task]
    rows = [f"{n}\t{FIRST[n]}\t{SECOND[n]}" for n in range(3)]
    labelled = "\n".join([f"{header}\tlabel", *map("\t".join, zip(rows, WORDS[task], strict=True))])
    return write(folder / name, {"train.tsv": labelled, "dev.tsv": labelled, "test.tsv": "\n".join([header, *rows])})


@pytest.mark.parametrize("task", INDICES)
def test_glues_files_are_read(tmp_path: Path, task: str) -> None:
    made_up(task, tmp_path)
    splits = get_task(task).load(tmp_path)
    labelled, unlabelled = Rows(FIRST, SECOND, INDICES[task]), Rows(FIRST, SECOND, None)
    expected = {"train": labelled, "dev": labelled, "test": unlabelled}
    if task == "mnli":
        expected |= {"dev-mismatched": labelled, "test-mismatched": unlabelled}
    assert splits == expected
    assert all(rows.ids == ["0", "1", "2"] for rows in splits.values())


@pytest.mark.parametrize("task", INDICES)
def test_the_tests_files_are_optional(tmp_path: Path, task: str) -> None:
    for file in made_up(task, tmp_path).glob("*test*"):
        file.unlink()
    assert {"train", "dev"} <= set(get_task(task).load(tmp_path)) <= {"train", "dev", "dev-mismatched"}


@pytest.mark.parametrize(
    ("task", "file", "old", "new", "complaint"),
    [
        ("mnli", "train.tsv", "\tneutral\n", "\t-\n", "line 4: label '-' is not one of entailment, neutral, contr"),
        ("mnli", "dev_matched.tsv", "gold_label", "gold", "line 1: the header has no gold_label; restore it"),
        ("mnli", "dev_mismatched.tsv", "\tfiction", "", "line 2: 15 columns where 16 are wanted"),
        ("qnli", "dev.tsv", "He spoke.", " ", "line 2: column 3 is empty"),
        ("wnli", "train.tsv", "\t1\n", "\tentailment\n", "line 3: label 'entailment' is not one of 0, 1"),
        ("rte", "test.tsv", "index\t", "id\t", "line 1: the header has no index"),
    ],
)
def test_a_malformed_file_is_named(tmp_path: Path, task: str, file: str, old: str, new: str, complaint: str) -> None:
    path = made_up(task, tmp_path) / file
    path.write_text(path.read_text().replace(old, new), encoding="utf-8")
    with pytest.raises(InputError, match=f"{file}, {re.escape(complaint)}"):
        get_task(task).load(tmp_path)


def test_mnli_is_asked_of_the_hub_in_its_halves(monkeypatch: pytest.MonkeyPatch) -> None:
    names = datasets.ClassLabel(names=["entailment", "neutral", "contradiction"])
    halves = ["train", *(f"{split}_{half}" for split in ("validation", "test") for half in ("matched", "mismatched"))]
    served = datasets.DatasetDict(
        {
            half: datasets.Dataset.from_dict(
                {"premise": [half], "hypothesis": ["b"], "label": [-1 if "test" in half else 2], "idx": [7]}
            ).cast_column("label", names)
            for half in halves
        }
    )
    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", lambda *_, **__: SimpleNamespace(sha=COMMIT))
    monkeypatch.setattr(datasets, "load_dataset", lambda repository, **_: served)
    splits = get_task("mnli").load(None)
    assert {split: (rows.first[0], rows.labels, rows.ids) for split, rows in splits.items()} == {
        "train": ("train", [2], ["7"]),
        "dev": ("validation_matched", [2], ["7"]),
        "dev-mismatched": ("validation_mismatched", [2], ["7"]),
        "test": ("test_matched", None, ["7"]),
        "test-mismatched": ("test_mismatched", None, ["7"]),
    }


def test_the_server_wants_a_file_of_every_task_of_glue() -> None:
    files = {one.file for many in SUBMISSIONS.values() for one in many}
    names = ("CoLA", "SST-2", "MRPC", "QQP", "MNLI-m", "MNLI-mm", "QNLI", "RTE", "WNLI")
    assert files == {f"{name}.tsv" for name in names}


# --- the files that GLUE's server takes

LOGITS = np.array([[3.0, 1.0, 0.0], [0.0, 2.0, 1.0], [0.0, 1.0, 5.0]], np.float32)
"""Logits of the labels in alphabetical order, as a saved folder may have them."""


def split_of(task: str, folder: Path, **options: Any) -> TaskSplit:
    asked = {"task": task, "split": "test", "data_dir": folder, "submission": folder / "out", "file": None}
    found = read_task_split(argparse.Namespace(**(dict.fromkeys(OPTIONS) | asked | options)), [])
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("task", "file", "said"),
    [
        ("mnli", "MNLI-m.tsv", ["contradiction", "entailment", "neutral"]),
        ("mnli", "MNLI-mm.tsv", ["contradiction", "entailment", "neutral"]),
        ("qnli", "QNLI.tsv", ["entailment", "not_entailment", "not_entailment"]),
        ("rte", "RTE.tsv", ["entailment", "not_entailment", "not_entailment"]),
        ("wnli", "WNLI.tsv", ["1", "0", "0"]),
    ],
)
def test_a_submission_has_an_index_and_glues_labels(tmp_path: Path, task: str, file: str, said: list[str]) -> None:
    made_up(task, tmp_path)
    split = split_of(task, tmp_path)
    columns = split.columns("model", sorted(get_task(task).labels))
    logits = LOGITS[:, : len(columns)]
    lines = list(split.submit(tmp_path / "out", columns, np.concatenate([logits] * len(split.files))))
    found = (tmp_path / "out" / file).read_text().splitlines()
    assert found == ["index\tprediction", *(f"{n}\t{word}" for n, word in enumerate(said))]
    assert re.search(rf"{file}: 3 rows; GLUE's own test has [\d,]+, and the server wants them all", "\n".join(lines))


def test_half_of_mnli_is_submitted_by_its_name(tmp_path: Path) -> None:
    made_up("mnli", tmp_path)
    assert [one.file for one, _ in split_of("mnli", tmp_path, split="test-mismatched").files] == ["MNLI-mm.tsv"]


def test_a_models_labels_are_found_by_name_or_number(tmp_path: Path) -> None:
    made_up("rte", tmp_path)
    split = split_of("rte", tmp_path)
    assert split.columns("m", ["not_entailment", "unused 2", "entailment"]) == [2, 0]
    assert split.columns("m", ["LABEL_0", "LABEL_1"]) == [0, 1]
    with pytest.raises(InputError, match="m has the labels no, yes, and rte entailment, not_entailment; pass a model"):
        split.columns("m", ["no", "yes"])


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"task": None}, "--submission wants --task, one of GLUE's"),
        ({"file": "f"}, "--task and texts of your own: pass one of the two"),
        ({"task": "emotion"}, "GLUE's server takes no file of emotion's test; it takes the test of cola, sst2, mrpc"),
        ({"split": "dev"}, "GLUE's server takes no file of rte's dev"),
        (
            {"split": "dev-b", "submission": None},
            "rte has no split 'dev-b' here; it has train, dev, test: pass --split",
        ),
        ({"text": "a"}, "--text-column is for own data, and rte is none"),
        ({"task": "cola"}, "cola's test here has labels and is not GLUE's; pass --data-dir a folder with GLUE's files"),
    ],
)
def test_what_cannot_be_submitted_is_refused(tmp_path: Path, options: dict[str, Any], complaint: str) -> None:
    made_up("rte", tmp_path)
    rows = "s\t1\t\tA.\ns\t0\t\tB.\n"
    names = ("in_domain_train.tsv", "in_domain_dev.tsv", "out_of_domain_dev.tsv")
    write(tmp_path / "CoLA" / "raw", dict.fromkeys(names, rows))
    with pytest.raises(InputError, match=re.escape(complaint)):
        split_of(options.get("task", "rte"), tmp_path, **{name: o for name, o in options.items() if name != "task"})


def test_a_labelled_split_is_scored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made_up("mnli", tmp_path)
    split = split_of("mnli", tmp_path, split="dev-mismatched", submission=None)
    split.show_scores("model", sorted(get_task("mnli").labels), {"torch": LOGITS})
    # Contradiction, entailment, neutral; the rows are entailment, contradiction, neutral.
    assert re.fullmatch(
        r"torch on mnli's dev-mismatched: loss \d\.\d+, accuracy 0\.333, macro_f1 0\.333, mcc 0\.000\n",
        capsys.readouterr().err,
    )
