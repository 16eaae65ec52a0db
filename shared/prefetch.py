"""Makes what a loop needs next in a thread, while the loop works."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

AHEAD = 2
"""Size of the buffer. Two batches smooth out uneven times of making them, and batches are small."""

Argument = TypeVar("Argument")
Made = TypeVar("Made")


@contextmanager
def prefetch(
    make: Callable[[Argument], Made], arguments: Iterable[Argument], ahead: int = AHEAD
) -> Iterator[Iterator[Made]]:
    """Gives an iterator over `make(argument)` for each argument, in order: `with prefetch(make, arguments) as made:`.

    One thread makes them, at most `ahead` (1 or more) beyond the one in use, so that a long loop holds few of them. If
    `make` raises an error, the loop gets it in place of that result. The thread ends with the block, even if the block
    fails.
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
