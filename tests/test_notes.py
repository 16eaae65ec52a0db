"""Notes of labels, lengths and scores, and where their bounds lie."""

from __future__ import annotations

import pytest

from shared.notes import Note, of_data, of_results

NAMES = ("a", "b", "c")


def lines(notes: list[Note]) -> list[str]:
    return [note.line for note in notes]


def data_lines(**labels: list[int] | None) -> list[str]:
    rows = {split: len(given or []) for split, given in labels.items()}
    return lines(of_data(labels, NAMES, rows, {}))


def test_labels_that_training_lacks_are_named() -> None:
    assert data_lines(train=[1, 1, 0], dev=[0, 1, 2]) == ["train: no row has the label 'c', which the task has"]
    assert data_lines(train=[1, 1], dev=[0, 1, 2]) == [
        "train: every row has the label 'b', so there is nothing to tell apart"
    ]
    assert data_lines(train=[0, 1, 2], dev=[0, 1], test=None) == []


@pytest.mark.parametrize("split", ["dev", "test"])
def test_a_majority_above_95_percent_is_noted(split: str) -> None:
    assert data_lines(train=[0, 1, 2], **{split: [2] * 95 + [0] * 5}) == []
    assert data_lines(train=[0, 1, 2], **{split: [2] * 96 + [0] * 4}) == [
        f"{split}: 96.0 % of the rows have the label 'c', so accuracy says little"
    ]


def test_more_than_5_percent_of_cut_rows_are_noted() -> None:
    for cut, expected in ((5, []), (6, ["train: 6.0 % of the rows are longer than max_len and are cut"])):
        assert lines(of_data({"train": [0, 1, 2, *[0] * 97]}, NAMES, {"train": 100}, {"train": cut})) == expected


def test_a_result_is_compared_with_the_commonest_label() -> None:
    labels = {"dev": [1, 1, 1, 0], "test": None}
    for accuracy, expected in ((0.76, []), (0.75, ["dev: accuracy 0.750 is not above that of always answering 'b'"])):
        assert lines(of_results(labels, NAMES, {"dev": accuracy, "test": 0.5})) == expected
