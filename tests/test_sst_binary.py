"""sst-binary: reading sentences with labels from the four files of the original archive."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from shared.errors import InputError
from shared.tasks import Rows, get_task
from tests.data import DATA, needs, write

SENTENCES = "sentence_index\tsentence\n1\tA warm film .\n2\tA cold film .\n3\tNeither .\n4\tA warm end .\n"
SPLIT = "sentence_index,splitset_label\n1,1\n2,1\n3,2\n4,3\n"
DICTIONARY = "film|0\nA warm film .|7\nA cold film .|8\nNeither .|9\nA warm end .|10\n"
SCORES = "phrase ids|sentiment values\n0|0.51\n7|0.81944\n8|0.11111\n9|0.5\n10|1.0\n"
FILES = {
    "datasetSentences.txt": SENTENCES,
    "datasetSplit.txt": SPLIT,
    "dictionary.txt": DICTIONARY,
    "sentiment_labels.txt": SCORES,
}


def load(folder: Path) -> dict[str, Rows]:
    return get_task("sst-binary").load(folder)


def archive(sentence: str, phrase: str, score: str = "0.9") -> dict[str, str]:
    """FILES with one more training sentence, and one more phrase."""
    return {
        "datasetSentences.txt": f"{SENTENCES}5\t{sentence}\n",
        "datasetSplit.txt": f"{SPLIT}5,1\n",
        "dictionary.txt": f"{DICTIONARY}{phrase}|11\n",
        "sentiment_labels.txt": f"{SCORES}11|{score}\n",
    }


# --- the real data


@pytest.fixture(scope="module")
def real() -> dict[str, Rows]:
    """The real data's splits."""
    return load(DATA)


@needs("stanfordSentimentTreebank")
def test_the_shared_copy_has_its_counts(real: dict[str, Rows]) -> None:
    # Eleven of the original's 8,544, 1,101 and 2,210 sentences are missing.
    assert {name: len(rows) for name, rows in real.items()} == {"train": 8534, "dev": 1100, "test": 2210}


@needs("stanfordSentimentTreebank")
def test_the_shared_copy_is_joined_as_pandas_joins_it(real: dict[str, Rows]) -> None:
    def table(file: str, separator: str, names: list[str], header: int | None) -> pd.DataFrame:
        path = DATA / "stanfordSentimentTreebank" / file
        return pd.read_csv(path, sep=separator, names=names, header=header, quoting=3, keep_default_na=False)

    joined = (
        table("datasetSentences.txt", "\t", ["index", "text"], 0)
        .merge(table("datasetSplit.txt", ",", ["index", "set"], 0), on="index", how="left")
        .merge(table("dictionary.txt", "|", ["text", "phrase"], None), on="text", how="left")
        .merge(table("sentiment_labels.txt", "|", ["phrase", "score"], 0), on="phrase", how="left")
    )
    joined["label"] = (joined["score"] > 0.5).astype(int)
    for name, number in (("train", 1), ("test", 2), ("dev", 3)):
        part = joined[joined["set"] == number]
        assert real[name] == Rows(part["text"].tolist(), None, part["label"].tolist())


# --- the archive


@pytest.mark.parametrize("folder", ["stanfordSentimentTreebank", "."])
def test_a_sentence_gets_its_phrases_score_and_its_split(tmp_path: Path, folder: str) -> None:
    write(tmp_path / folder, FILES)
    assert load(tmp_path) == {
        "train": Rows(["A warm film .", "A cold film ."], None, [1, 0]),
        "dev": Rows(["A warm end ."], None, [1]),
        "test": Rows(["Neither ."], None, [0]),
    }


@pytest.mark.parametrize(
    ("score", "label"), [("0", 0), ("0.48611", 0), ("0.5", 0), ("0.50000", 0), ("0.51389", 1), ("1", 1), ("1e-1", 0)]
)
def test_the_label_is_the_rounded_score_and_a_half_becomes_0(tmp_path: Path, score: str, label: int) -> None:
    write(tmp_path, archive("One more .", "One more .", score))
    assert load(tmp_path)["train"].labels == [1, 0, label]


@pytest.mark.parametrize(
    ("sentence", "phrase"),
    [
        ("-LRB- A dull -RRB- film .", "( A dull ) film ."),
        ("A touchÃ© .", "A touché ."),
        ("A dÃ©jÃ\xa0 vu , naÃ¯ve and Ã¼ber-Ã¦thereal .", "A déjà vu , naïve and über-æthereal ."),
        ("-LRB- Nocturne -RRB- in SÃ£o , ma\u00c2\u00f1ana .", "( Nocturne ) in São , ma\u00c2\u00f1ana ."),
        ("Ten\u00c2\u00a0years -LRB- ! -RRB-", "Ten\u00a0years ( ! )"),
        ("A touché -LRB- right -RRB- .", "A touché ( right ) ."),
        ("A piÃ±ata and a piñata .", "A piñata and a piñata ."),
        ("A -LRB- kept -RRB- mark .", "A -LRB- kept -RRB- mark ."),
        ("A Â© kept Ã© .", "A Â© kept Ã© ."),
        ("Either | or .", "Either | or ."),
        ('An "open quote .', 'An "open quote .'),
        ("An either\\/or .", "An either\\/or ."),
    ],
)
def test_a_sentence_is_found_and_given_as_the_dictionary_has_it(tmp_path: Path, sentence: str, phrase: str) -> None:
    write(tmp_path, archive(sentence, phrase))
    train = load(tmp_path)["train"]
    assert (train.first[-1], (train.labels or [])[-1]) == (phrase, 1)


@pytest.mark.parametrize(
    "change",
    [lambda text: "\ufeff" + text, lambda text: text.replace("\n", "\r\n"), lambda text: text.removesuffix("\n")],
    ids=["byte-order mark", "CRLF", "no last newline"],
)
def test_line_endings_and_a_byte_order_mark_change_nothing(tmp_path: Path, change: object) -> None:
    assert callable(change)
    write(tmp_path / "plain", FILES)
    write(tmp_path / "changed", {name: change(content) for name, content in FILES.items()})
    assert load(tmp_path / "changed") == load(tmp_path / "plain")


@pytest.mark.parametrize(
    ("file", "content", "complaint"),
    [
        ("datasetSentences.txt", SENTENCES + "5\tUnheard of .\n", ", line 6: its sentence is not in dictionary.txt"),
        ("datasetSentences.txt", SENTENCES + "5\tfilm\n", ", line 6: its index 5 is not in datasetSplit.txt"),
        ("datasetSentences.txt", SENTENCES + "5\n", ", line 6: 1 columns where 2 are wanted"),
        ("datasetSentences.txt", SENTENCES + "5\t \n", ", line 6: column 2 is empty"),
        ("datasetSentences.txt", SENTENCES.removeprefix("sentence_index\tsentence\n"), ", line 1: not the header"),
        ("datasetSentences.txt", "sentence_index\tsentence\n", " has no rows"),
        ("datasetSplit.txt", SPLIT + "5,4\n", ", line 6: label '4' is not one of 1, 2, 3"),
        ("datasetSplit.txt", SPLIT + "5\n", ", line 6: 1 columns where 2 are wanted"),
        ("datasetSplit.txt", SPLIT + "1,2\n", ", line 6: 1 was there before, with another value"),
        ("datasetSplit.txt", SPLIT.replace("4,3", "4,1"), " gives no sentence to dev; restore the file"),
        ("dictionary.txt", DICTIONARY + "no id\n", ", line 6: 1 columns where 2 are wanted"),
        ("dictionary.txt", "", " has no rows"),
        ("sentiment_labels.txt", SCORES + "12|warm\n", ", line 7: 'warm' is no number from 0 to 1"),
        ("sentiment_labels.txt", SCORES + "12|1.01\n", ", line 7: '1.01' is no number from 0 to 1"),
        ("sentiment_labels.txt", SCORES + "12|nan\n", ", line 7: 'nan' is no number from 0 to 1"),
        ("sentiment_labels.txt", SCORES + "7|0.1\n", ", line 7: 7 was there before, with another value"),
    ],
)
def test_a_malformed_file_is_named_with_its_line(tmp_path: Path, file: str, content: str, complaint: str) -> None:
    write(tmp_path, FILES | {file: content})
    with pytest.raises(InputError, match=f"{file}{re.escape(complaint)}"):
        load(tmp_path)


def test_a_phrase_without_a_score_is_named_at_its_sentence(tmp_path: Path) -> None:
    write(tmp_path, FILES | {"sentiment_labels.txt": SCORES.replace("8|0.11111\n", "")})
    with pytest.raises(InputError, match=r"datasetSentences.txt, line 3: its phrase 8 is not in sentiment_labels.txt"):
        load(tmp_path)


@pytest.mark.parametrize("missing", FILES)
def test_a_missing_file_is_named(tmp_path: Path, missing: str) -> None:
    folder = write(tmp_path / "stanfordSentimentTreebank", FILES)
    (folder / missing).unlink()
    with pytest.raises(InputError, match=f"sst-binary is incomplete: {folder} lacks {missing}; add what is missing"):
        load(tmp_path)


def test_a_missing_archive_is_named_with_all_its_files(tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        load(tmp_path)
    for wanted in (*FILES, "in stanfordSentimentTreebank"):
        assert wanted in str(error.value)
