"""What a loop will need next, made in a thread while it works on what it has."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

AHEAD = 2
"""Batches that wait at most: one would do where all take alike to make, and they are small."""

Argument = TypeVar("Argument")
Made = TypeVar("Made")


@contextmanager
def prefetch(
    make: Callable[[Argument], Made], arguments: Iterable[Argument], ahead: int = AHEAD
) -> Iterator[Iterator[Made]]:
    """`with prefetch(make, arguments) as made:` gives `make` of each argument, in order. One thread makes them, at most
    `ahead` (1 or more) beyond the one that is taken, so that a long loop holds few.

    What `make` raises is raised where its result would be taken. The thread ends with the block, however that is left.
    """
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="prefetch") as thread:

        def in_order() -> Iterator[Made]:
            waiting: deque[Future[Made]] = deque()
            for argument in arguments:
                waiting.append(thread.submit(make, argument))
                if len(waiting) > ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()

        yield in_order()
