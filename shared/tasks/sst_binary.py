"""The sentences of the Stanford Sentiment Treebank (Socher et al. 2013): is a film review's sentence positive?

The archive scores phrases, a sentence's own text among them, from 0 to 1; the label is the score, rounded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from shared.errors import InputError
from shared.tasks import Rows, Task
from shared.tasks.hub import load_hub
from shared.tasks.reading import Layout, Row, find_layout, read_rows

LABELS = ("negative", "positive")
SENTENCES_FILE = "datasetSentences.txt"
SPLIT_FILE = "datasetSplit.txt"
PHRASES_FILE = "dictionary.txt"
SCORES_FILE = "sentiment_labels.txt"
LAYOUT = Layout((SENTENCES_FILE, SPLIT_FILE, PHRASES_FILE, SCORES_FILE), ("stanfordSentimentTreebank", "."))
SPLIT_OF_SET = {"1": "train", "3": "dev", "2": "test"}
"""The split of each set in SPLIT_FILE."""

# The repository's main branch has a script, which `datasets` no longer runs; this branch has the rows that it made.
HUB = "stanfordnlp/sst"
HUB_REVISION = "refs/convert/parquet"
HUB_FILES = {split: f"default/{split}/*.parquet" for split in ("train", "validation", "test")}

MISREAD = re.compile("[\u00c2-\u00df][\u0080-\u00bf]")
"""Matches a character whose two bytes in UTF-8 were each read as a character of Latin-1."""

V = TypeVar("V")


def load(data_dir: Path | None) -> dict[str, Rows]:
    """Reads train, dev and test of the original split, all labelled. The label is the score rounded by Python's
    round(), which makes 0.5 a 0."""
    if data_dir is None:
        return load_hub(
            "sst-binary", HUB, "sentence", to_label=round, revision=HUB_REVISION, data_files=dict(HUB_FILES)
        )
    _, folder = find_layout("sst-binary", data_dir, (LAYOUT,))
    phrases = {
        row.fields[0]: row.fields[1]
        for row in read_rows(folder / PHRASES_FILE, columns=2, separator="|", first_is_free=True)
    }
    scores = _table(
        read_rows(folder / SCORES_FILE, columns=2, header=("phrase ids", "sentiment values"), separator="|"),
        lambda row: row.number(1, 0, 1),
    )
    sets = sorted(SPLIT_OF_SET)
    split_of = _table(
        read_rows(folder / SPLIT_FILE, columns=2, header=("sentence_index", "splitset_label"), separator=","),
        lambda row: SPLIT_OF_SET[sets[row.choice(1, sets)]],
    )
    splits: dict[str, list[tuple[str, int]]] = {name: [] for name in SPLIT_OF_SET.values()}
    for row in read_rows(folder / SENTENCES_FILE, columns=2, header=("sentence_index", "sentence")):
        text = _phrase(row, phrases)
        if phrases[text] not in scores:
            raise row.malformed(f"its phrase {phrases[text]} is not in {SCORES_FILE}")
        if row.fields[0] not in split_of:
            raise row.malformed(f"its index {row.fields[0]} is not in {SPLIT_FILE}")
        splits[split_of[row.fields[0]]].append((text, round(scores[phrases[text]])))
    for name, rows in splits.items():
        if not rows:
            raise InputError(f"{folder / SPLIT_FILE} gives no sentence to {name}; restore the file")
    return {name: Rows([text for text, _ in rows], None, [label for _, label in rows]) for name, rows in splits.items()}


def _table(rows: Sequence[Row], value: Callable[[Row], V]) -> dict[str, V]:
    """Maps the first column of each row to a value of the row. Raises InputError if two rows contradict each other."""
    table: dict[str, V] = {}
    for row in rows:
        found = value(row)
        if table.setdefault(row.fields[0], found) != found:
            raise row.malformed(f"{row.fields[0]} was there before, with another value")
    return table


def _phrase(row: Row, phrases: Mapping[str, str]) -> str:
    """Finds the row's sentence in the dictionary. The file of sentences has -LRB- and -RRB- for parentheses, and its
    accents were decoded wrongly. Raises InputError if the dictionary lacks the sentence."""
    plain = row.text(1).replace("-LRB-", "(").replace("-RRB-", ")")
    reread = MISREAD.sub(lambda pair: pair[0].encode("latin-1").decode("utf-8"), plain)
    for text in (row.fields[1], plain, reread):
        if text in phrases:
            return text
    raise row.malformed(f"its sentence is not in {PHRASES_FILE}")


TASK = Task(
    "sst-binary",
    LABELS,
    pair=False,
    metrics=("accuracy", "mcc", "f1"),
    load=load,
    about="is the film review's sentence positive?",
    counts={"train": 8544, "dev": 1101, "test": 2210},
)
