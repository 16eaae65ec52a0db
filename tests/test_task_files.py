"""Reading the files of sst2, qqp, emotion and google-play, and the errors of malformed ones."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from shared.errors import InputError
from shared.recipe import Recipe
from shared.splits import choose_splits
from shared.tasks import Rows, get_task
from tests.data import DATA, needs, write

SST2 = "sentence\tlabel\nwell lit , a lamp \t1\na chore\t0\n"
QQP_HEADER = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n"
QQP = QQP_HEADER + "0\t1\t2\tWhy is rain wet?\tWhat makes rain wet?\t1\n1\t3\t4\tWho sleeps?\tWho snores?\t0\n"
EMOTION = "i feel at home;joy\ni feel cross;anger\n"
REVIEWS = 'content,score,appId\nFine,5,toy\n"Works, mostly.\nTwo lines",3,toy\nBroken,1,toy\nFine,4,toy\n'
FILES = {
    "sst2": ("SST-2", {"train.tsv": SST2, "dev.tsv": SST2}),
    "qqp": ("QQP", {"train.tsv": QQP, "dev.tsv": QQP}),
    "emotion": ("emotion", {"train.txt": EMOTION, "val.txt": EMOTION, "test.txt": EMOTION}),
    "google-play": ("google-play", {"reviews.csv": REVIEWS}),
}
LAST_FILE = {"sst2": "dev.tsv", "qqp": "dev.tsv", "emotion": "test.txt", "google-play": "reviews.csv"}
ROWS = {
    "sst2": Rows(["well lit , a lamp ", "a chore"], None, [1, 0]),
    "qqp": Rows(["Why is rain wet?", "Who sleeps?"], ["What makes rain wet?", "Who snores?"], [1, 0]),
    "emotion": Rows(["i feel at home", "i feel cross"], None, [1, 3]),
    "google-play": Rows(["Fine", "Works, mostly.\nTwo lines", "Broken", "Fine"], None, [2, 1, 0, 2]),
}
SPLITS = {
    "sst2": ("train", "dev"),
    "qqp": ("train", "dev"),
    "emotion": ("train", "dev", "test"),
    "google-play": ("train",),
}


def load(task: str, folder: Path) -> dict[str, Rows]:
    return get_task(task).load(folder)


@cache
def real(task: str) -> dict[str, Rows]:
    """The real data's splits, read once for all tests."""
    return load(task, DATA)


def made_up(task: str, data: Path, **changed: str) -> Path:
    """Writes the task's made-up files into their folder below `data`. `last` replaces the last file's content."""
    folder, files = FILES[task]
    return write(data / folder, files | ({LAST_FILE[task]: changed["last"]} if changed else {}))


# --- the real data


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        pytest.param(
            "sst2",
            {"train": {0: 29780, 1: 37569}, "dev": {0: 428, 1: 444}},
            marks=needs("SST-2"),
        ),
        pytest.param(
            "qqp",
            {"train": {0: 5000, 1: 5000}, "dev": {0: 5000, 1: 5000}},  # not GLUE's split
            marks=needs("QQP"),
        ),
        pytest.param(
            "emotion",
            {
                "train": {0: 4666, 1: 5362, 2: 1304, 3: 2159, 4: 1937, 5: 572},
                "dev": {0: 550, 1: 704, 2: 178, 3: 275, 4: 212, 5: 81},
                "test": {0: 581, 1: 695, 2: 159, 3: 275, 4: 224, 5: 66},
            },
            marks=needs("emotion"),
        ),
        pytest.param("google-play", {"train": {0: 2600, 1: 2575, 2: 2880}}, marks=needs("google-play")),
        pytest.param("google-play-unique", {"train": {0: 2557, 1: 2484, 2: 2626}}, marks=needs("google-play")),
    ],
)
def test_the_shared_copy_has_its_counts_of_each_label(task: str, expected: dict[str, dict[int, int]]) -> None:
    assert {name: Counter(rows.labels) for name, rows in real(task).items()} == expected


def table(file: str, **how: Any) -> pd.DataFrame:
    return pd.read_csv(DATA / file, keep_default_na=False, **how)


@needs("SST-2")
@pytest.mark.parametrize("split", ["train", "dev"])
def test_sst2_reads_what_pandas_reads(split: str) -> None:
    read = table(f"SST-2/{split}.tsv", sep="\t", quoting=3)
    assert real("sst2")[split] == Rows(read["sentence"].tolist(), None, read["label"].tolist())


@needs("QQP")
@pytest.mark.parametrize("split", ["train", "dev"])
def test_qqp_reads_what_pandas_reads(split: str) -> None:
    read = table(f"QQP/{split}.tsv", sep="\t", quoting=3)
    questions = read["question1"].tolist(), read["question2"].tolist()
    assert real("qqp")[split] == Rows(*questions, read["is_duplicate"].tolist())


@needs("emotion")
@pytest.mark.parametrize(("split", "file"), [("train", "train"), ("dev", "val"), ("test", "test")])
def test_emotion_reads_what_pandas_reads(split: str, file: str) -> None:
    read = table(f"emotion/{file}.txt", sep=";", quoting=3, names=["text", "label"])
    names = get_task("emotion").labels
    rows = real("emotion")[split]
    assert rows.first == read["text"].tolist()
    assert [names[label] for label in rows.labels or []] == read["label"].tolist()


@needs("google-play")
def test_google_play_reads_what_pandas_reads() -> None:
    read = table("google-play/reviews.csv")
    labels = pd.cut(read["score"], [0, 2, 3, 5], labels=[0, 1, 2]).astype(int)
    assert real("google-play")["train"] == Rows(read["content"].tolist(), None, labels.tolist())
    first = ~read["content"].duplicated()
    unique = real("google-play-unique")["train"]
    assert unique == Rows(read["content"][first].tolist(), None, labels[first].tolist())
    assert len(read) - len(unique) == 388


# --- what is read


@pytest.mark.parametrize("task", FILES)
def test_the_original_layout_is_read(tmp_path: Path, task: str) -> None:
    made_up(task, tmp_path)
    assert load(task, tmp_path) == dict.fromkeys(SPLITS[task], ROWS[task])


@pytest.mark.parametrize(
    "change",
    [lambda text: "\ufeff" + text, lambda text: text.replace("\n", "\r\n"), lambda text: text.removesuffix("\n")],
    ids=["byte-order mark", "CRLF", "no last newline"],
)
@pytest.mark.parametrize("task", FILES)
def test_line_endings_and_a_byte_order_mark_change_nothing(tmp_path: Path, task: str, change: Any) -> None:
    folder, files = FILES[task]
    write(tmp_path / folder, {name: change(content) for name, content in files.items()})
    assert load(task, tmp_path) == dict.fromkeys(SPLITS[task], ROWS[task])


@pytest.mark.parametrize(
    ("task", "row", "text"),
    [
        ("sst2", '"a joy , "\t1\n', '"a joy , "'),
        ("sst2", 'an "open quote\t1\n', 'an "open quote'),
        ("sst2", "one\u2028line\u0085only\t1\n", "one\u2028line\u0085only"),
        ("qqp", '2\t5\t6\t"Why?\tHow?\t0\n', '"Why?'),
        ("emotion", "i feel ; oddly ; fine;joy\n", "i feel ; oddly ; fine"),
        ("emotion", '"i feel quoted;joy\n', '"i feel quoted'),
        ("google-play", '"He said ""go"", twice",2,toy\n', 'He said "go", twice'),
        ("google-play", '"One\r\ntwo\n\nthree\n",2,toy\n', "One\ntwo\n\nthree\n"),
        ("google-play", "a;b\tc 'd',2,toy\n", "a;b\tc 'd'"),
        ("google-play", f"{'so good ' * 30_000},2,toy\n\n", "so good " * 30_000),
    ],
)
def test_a_text_is_read_as_it_is(tmp_path: Path, task: str, row: str, text: str) -> None:
    made_up(task, tmp_path, last=FILES[task][1][LAST_FILE[task]] + row)
    assert load(task, tmp_path)[SPLITS[task][-1]].first[-1] == text


@pytest.mark.parametrize(
    ("task", "content", "expected"),
    [
        ("sst2", "index\tsentence\n0\ta film\n", Rows(["a film"], None, None)),
        ("qqp", "id\tquestion1\tquestion2\n0\tWhy?\tHow?\n", Rows(["Why?"], ["How?"], None)),
    ],
)
def test_glues_test_is_optional_and_has_no_labels(tmp_path: Path, task: str, content: str, expected: Rows) -> None:
    write(made_up(task, tmp_path), {"test.tsv": content})
    assert load(task, tmp_path)["test"] == expected


def test_the_six_emotions_are_the_labels_in_the_hubs_order(tmp_path: Path) -> None:
    names = get_task("emotion").labels
    made_up("emotion", tmp_path, last="".join(f"so much {name};{name}\n" for name in names))
    assert load("emotion", tmp_path)["test"].labels == [0, 1, 2, 3, 4, 5]


def test_stars_become_labels(tmp_path: Path) -> None:
    """Negative up to two, neutral at three, positive from four."""
    rows = "".join(f"{stars} stars,{stars}\n" for stars in range(1, 6))
    made_up("google-play", tmp_path, last="content,score\n" + rows)
    assert load("google-play", tmp_path)["train"].labels == [0, 0, 1, 2, 2]
    assert get_task("google-play").labels == ("negative", "neutral", "positive")


def test_reviews_columns_are_found_by_name(tmp_path: Path) -> None:
    made_up("google-play", tmp_path, last='userName,score,at,content\nA. B.,2,"yes\nterday",Slow\n')
    assert load("google-play", tmp_path)["train"] == Rows(["Slow"], None, [0])


def test_without_repeats_the_first_review_of_a_text_stays(tmp_path: Path) -> None:
    made_up("google-play", tmp_path, last="content,score\nOk,5\nBad,1\nOk,1\nok,3\nBad,1\nOk,2\n")
    assert load("google-play-unique", tmp_path)["train"] == Rows(["Ok", "Bad", "ok"], None, [2, 0, 1])
    assert len(load("google-play", tmp_path)["train"]) == 6


@pytest.mark.parametrize("task", ["google-play", "google-play-unique"])
def test_google_plays_dev_is_held_out_of_its_one_split(tmp_path: Path, task: str) -> None:
    made_up("google-play", tmp_path, last="content,score\n" + "".join(f"review {i},{1 + i % 5}\n" for i in range(40)))
    source = load(task, tmp_path)
    chosen = choose_splits(task, source, Recipe(held_out=0.1), None)
    assert {name: len(rows) for name, rows in chosen.items()} == {"train": 36, "dev": 4}
    with pytest.raises(InputError, match=f"^{task} has no split 'dev' for dev; .* or --held-out a share of train$"):
        choose_splits(task, source, Recipe(), None)


# --- what is refused


@pytest.mark.parametrize(
    ("task", "content", "complaint"),
    [
        ("sst2", SST2 + "a\tb\t1\n", ", line 4: 3 columns where 2 are wanted; mend or remove the line"),
        ("sst2", SST2 + "\n" + SST2, ", line 4: 1 columns where 2 are wanted"),
        ("sst2", SST2 + "a film\t2\n", ", line 4: label '2' is not one of 0, 1"),
        ("sst2", SST2 + " \t1\n", ", line 4: column 1 is empty"),
        ("sst2", "sentence\tlabel\n", " has no rows; restore the file"),
        ("sst2", "", " has no rows; restore the file"),
        ("sst2", "a film\t1\n", ", line 1: not the header 'sentence\\tlabel'; restore it"),
        ("qqp", QQP + "2\t5\t6\tWhy?\n", ", line 4: 4 columns where 6 are wanted; mend or remove the line"),
        ("qqp", QQP + "2\t5\t6\tWhy?\t\t0\n", ", line 4: column 5 is empty"),
        ("qqp", QQP + "2\t5\t6\tWhy?\tHow?\t\n", ", line 4: label '' is not one of 0, 1"),
        ("qqp", QQP_HEADER, " has no rows"),
        ("qqp", "0\t1\t2\tWhy?\tHow?\t0\n", ", line 1: not the header"),
        ("emotion", EMOTION + "i feel nothing\n", ", line 3: 1 columns where 2 are wanted; mend or remove the line"),
        (
            "emotion",
            EMOTION + "i feel;bored\n",
            ", line 3: label 'bored' is not one of sadness, joy, love, anger, fear",
        ),
        ("emotion", EMOTION + "i feel;1\n", ", line 3: label '1' is not one of sadness"),
        ("emotion", EMOTION + ";joy\n", ", line 3: column 1 is empty"),
        ("emotion", "", " has no rows"),
        ("google-play", REVIEWS + "Good,4\n", ", line 7: 2 columns where 3 are wanted; mend or remove the line"),
        ("google-play", REVIEWS + "So, so,3,toy\n", ", line 7: 4 columns where 3 are wanted"),
        ("google-play", REVIEWS + "\nGood,4,toy\n", ", line 7: 0 columns where 3 are wanted"),
        ("google-play", REVIEWS + "Good,0,toy\n", ", line 7: label '0' is not one of 1, 2, 3, 4, 5"),
        ("google-play", REVIEWS + "Good,4.0,toy\n", ", line 7: label '4.0' is not one of"),
        ("google-play", REVIEWS + '" \n ",4,toy\n', ", line 7: column 1 is empty"),
        ("google-play", REVIEWS + '"Never\nclosed,4,toy\n', ", line 7: not CSV (unexpected end of data); mend or"),
        ("google-play", REVIEWS + '"Half" quoted,4,toy\nGood,4,toy\n', ", line 7: not CSV ("),
        ("google-play", "content,stars\nGood,4\n", ", line 1: the header has no score; restore it"),
        ("google-play", "content,score,appId\n", " has no rows; restore the file"),
        ("google-play", "", " has no rows; restore the file"),
    ],
)
def test_a_malformed_file_is_named_with_its_line(tmp_path: Path, task: str, content: str, complaint: str) -> None:
    made_up(task, tmp_path, last=content)
    with pytest.raises(InputError, match=re.escape(f"{LAST_FILE[task]}{complaint}")) as error:
        load(task, tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("task", FILES)
def test_a_line_that_is_not_utf_8_is_named(tmp_path: Path, task: str) -> None:
    file = made_up(task, tmp_path) / LAST_FILE[task]
    lines = file.read_bytes().count(b"\n")
    file.write_bytes(file.read_bytes() + b"caf\xe9\n")
    with pytest.raises(InputError, match=f"{file.name}, line {lines + 1}: not UTF-8; convert the file"):
        load(task, tmp_path)


@pytest.mark.parametrize(("task", "missing"), [(task, name) for task, (_, files) in FILES.items() for name in files])
def test_a_missing_file_is_named(tmp_path: Path, task: str, missing: str) -> None:
    (made_up(task, tmp_path) / missing).unlink()
    with pytest.raises(InputError) as error:
        load(task, tmp_path)
    assert missing in str(error.value)
    assert FILES[task][0] in str(error.value)


@pytest.mark.parametrize("task", FILES)
def test_files_in_a_folder_of_another_name_are_not_taken(tmp_path: Path, task: str) -> None:
    write(tmp_path, FILES[task][1])
    with pytest.raises(InputError, match=f"has no files of {task} "):
        load(task, tmp_path)
