"""Making things ahead: all of them in order, not too many at once, and no thread that outlives its use."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from shared.prefetch import prefetch

SECONDS = 30
"""Longest wait for another thread before a test fails."""


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


@pytest.mark.parametrize("ahead", [1, 2, 50])
@pytest.mark.parametrize("count", [0, 1, 2, 30])
def test_everything_is_made_once_and_comes_in_order(count: int, ahead: int) -> None:
    made: list[int] = []

    def square(number: int) -> int:
        made.append(number)
        return number**2

    with prefetch(square, range(count), ahead) as squares:
        assert list(squares) == [n**2 for n in range(count)]
    assert made == list(range(count))


def test_everything_is_made_in_one_other_thread() -> None:
    with prefetch(lambda _: threading.get_ident(), range(10)) as makers:
        assert len(set(makers) - {threading.get_ident()}) == 1


def test_only_the_number_asked_for_is_made_ahead() -> None:
    begun = threading.Semaphore(0)
    made: list[int] = []

    def note(number: int) -> int:
        made.append(number)
        begun.release()
        return number

    with prefetch(note, range(10), ahead=3) as numbers:
        for taken in numbers:
            while len(made) < min(10, taken + 1 + 3):
                assert begun.acquire(timeout=SECONDS), "nothing is made ahead"
            assert len(made) <= taken + 1 + 3
    assert len(made) == 10


def test_an_error_comes_in_place_of_its_result() -> None:
    taken: list[int] = []
    with (
        pytest.raises(ZeroDivisionError),
        prefetch(lambda number: 1 // (number - 2), range(10), ahead=5) as made,
    ):
        taken.extend(made)  # keeps the results before the error
    assert taken == [-1, -1]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_loop_that_fails_ends_the_thread(error: type[BaseException]) -> None:
    """The rest is never made."""
    made: list[int] = []

    def loop() -> None:
        with prefetch(made.append, range(1000), ahead=2) as nothings:
            next(nothings)
            raise error

    with pytest.raises(error):
        loop()
    assert len(made) <= 3


def test_a_loop_may_stop_early() -> None:
    with prefetch(str, range(1000)) as texts:
        assert next(texts) == "0"
