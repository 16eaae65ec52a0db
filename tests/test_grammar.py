"""The built-in tasks: the rows that their grammar makes. Words alone do not give the labels away."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest

from shared.tasks import Rows, acceptability, get_task, paraphrase
from shared.tasks.bag_of_words import scores
from shared.tasks.grammar import SPLIT_GROUPS, Draw, draw_groups

MODULES = [acceptability, paraphrase]
BUILT_IN = [module.TASK.name for module in MODULES]


@pytest.fixture(scope="module", params=BUILT_IN)
def splits(request: pytest.FixtureRequest) -> dict[str, Rows]:
    return get_task(request.param).load(None)


def sentences(rows: Rows) -> list[str]:
    return [*rows.first, *(rows.second or [])]


# --- the splits


def test_splits_have_thousands_and_hundreds_of_rows(splits: dict[str, Rows]) -> None:
    assert {name: len(rows) for name, rows in splits.items()} == {"train": 6000, "dev": 500, "test": 500}


def test_every_split_is_exactly_balanced(splits: dict[str, Rows]) -> None:
    for rows in splits.values():
        assert Counter(rows.labels) == {0: len(rows) // 2, 1: len(rows) // 2}


def test_the_first_rows_are_nearly_balanced_too(splits: dict[str, Rows]) -> None:
    for rows in splits.values():
        assert 0.4 < np.mean(rows.head(200).labels or []) < 0.6


def test_no_sentence_is_in_two_splits(splits: dict[str, Rows]) -> None:
    train, dev, test = (set(sentences(splits[name])) for name in ("train", "dev", "test"))
    assert not train & dev
    assert not train & test
    assert not dev & test


def test_no_row_comes_twice(splits: dict[str, Rows]) -> None:
    for rows in splits.values():
        texts = list(zip(rows.first, rows.second, strict=True)) if rows.second else rows.first
        assert len(set(texts)) == len(rows)


@pytest.mark.parametrize("module", MODULES)
def test_the_sentences_of_a_group_differ(module: ModuleType) -> None:
    size = {"acceptability": 2, "paraphrase": 3}[module.TASK.name]
    for phenomenon in module.PHENOMENA:
        draw = Draw(0)
        for _ in range(50):
            group = module.group(phenomenon, draw)
            assert len(set(group)) == size, phenomenon.__name__


def test_phenomena_have_equal_shares_of_every_split() -> None:
    def phenomenon(name: str) -> Callable[[Draw], tuple[str, ...]]:
        return lambda draw: (f"{name} {draw.below(3000)}",)  # some are drawn twice

    for groups in draw_groups([phenomenon(name) for name in "abc"], Draw(0)).values():
        shares = Counter(text[0] for (text,) in groups)
        assert set(shares) == set("abc")
        assert max(shares.values()) - min(shares.values()) <= 1


# --- the same every time


def test_every_process_makes_the_same_rows(splits: dict[str, Rows]) -> None:
    """Whatever its hash seed and the state of numpy's random numbers."""
    name = "acceptability" if splits["dev"].second is None else "paraphrase"
    ask = (
        "import numpy; numpy.random.seed(3); from shared.tasks import get_task; "
        f"print(*(rows.hash for rows in get_task({name!r}).load(None).values()))"
    )
    for seed in ("1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": seed}
        run = subprocess.run([sys.executable, "-c", ask], env=environment, capture_output=True, text=True, check=True)
        assert run.stdout.split() == [rows.hash for rows in splits.values()]


def test_drawing_leaves_numpys_own_stream_alone() -> None:
    np.random.seed(5)
    get_task("acceptability").load(None)
    assert np.random.random_sample() == np.random.RandomState(5).random_sample()


def test_draws_follow_mt19937s_doubles() -> None:
    draw, doubles = Draw(0), np.random.RandomState(0).random_sample(4)
    assert doubles[0] == pytest.approx(0.5488135039273248, abs=1e-16)  # 53 bits of MT19937's first two words
    assert [draw.below(1000) for _ in range(4)] == [int(1000 * double) for double in doubles]


def test_some_options_are_distinct_and_each_comes_as_often() -> None:
    draw = Draw(1)
    counts: Counter[str] = Counter()
    for _ in range(3000):
        drawn = draw.some("abcde", 3)
        assert len(set(drawn)) == 3
        counts[drawn[0]] += 1
    assert all(500 < counts[letter] < 700 for letter in "abcde")  # 600 +- 4.5 standard deviations


def test_a_sentence_drawn_twice_is_drawn_again() -> None:
    numbers = iter([0, 0, *range(1, 10000)])
    groups = draw_groups([lambda _: (f"Sentence {next(numbers)}.",)], Draw(0))
    assert [group for split in groups.values() for group in split] == [
        (f"Sentence {number}.",) for number in range(sum(SPLIT_GROUPS.values()))
    ]


# --- the sentences


def test_every_sentence_has_its_capital_and_its_mark(splits: dict[str, Rows]) -> None:
    for rows in splits.values():
        for text in sentences(rows):
            assert re.fullmatch(r"([A-Z0-9])[A-Za-z0-9 ,'-]*[A-Za-z0-9][.?]", text), text
            assert "  " not in text, text
            assert " ," not in text, text


def test_a_and_an_fit_what_follows(splits: dict[str, Rows]) -> None:
    for rows in splits.values():
        for text in sentences(rows):
            assert not re.search(r"\b[Aa] [aeiou]|\b[Aa]n [^aeiou]", text), text


def test_no_word_tells_the_label(splits: dict[str, Rows]) -> None:
    rows = splits["train"]
    counts: dict[str, Counter[int]] = defaultdict(Counter)
    for i, label in enumerate(rows.labels or []):
        texts = rows.first[i] + (" " + rows.second[i] if rows.second else "")
        for word in set(re.findall(r"\w+", texts.lower())):
            counts[word][label] += 1
    frequent = {word: count for word, count in counts.items() if count.total() >= 40}
    assert len(frequent) > 100
    for word, count in frequent.items():
        assert 0.25 < count[1] / count.total() < 0.75, (word, count)


@pytest.mark.parametrize("task", BUILT_IN)
def test_a_bag_of_words_scores_65_percent_or_less(task: str) -> None:
    for name, by_split in scores(task).items():
        assert by_split["train"] > 0.5, name
        for split in ("dev", "test"):
            assert by_split[split] <= 0.65, (name, split)
