"""A disk whose power is cut: records what is written to a folder, and gives the folder as a cut at any moment may leave
it.

Of a file, what was not flushed is missing, half there or there. Of a folder's list of names, any state since it was
last flushed may be found.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

WATCHED = ("fsync", "rename", "replace", "mkdir", "unlink", "rmdir")
"""Functions of `os` after which the disk is looked at."""

Listing = dict[str, int]
"""Numbers of a folder's files and folders, by name."""


@dataclass
class Disk:
    """The writes to a folder."""

    root: Path
    moments: list[Moment] = field(default_factory=list)
    held: dict[int, int] = field(default_factory=dict)
    """Descriptors that keep each number from being given again, by number."""

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Records what this process writes."""
        self.root.mkdir()
        self._look(flushed=self.root.stat().st_ino)
        with ExitStack() as stack:
            for name in WATCHED:
                stack.enter_context(patch.object(os, name, self._watched(getattr(os, name))))
            yield
        for descriptor in self.held.values():
            os.close(descriptor)

    def _watched(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*arguments: Any, **others: Any) -> None:
            call(*arguments, **others)
            self._look(os.fstat(arguments[0]).st_ino if call.__name__ == "fsync" else None)

        return watched

    def _look(self, flushed: int | None) -> None:
        before = self.moments[-1] if self.moments else Moment({}, {}, {}, {})
        listings: dict[int, Listing] = {}
        contents: dict[int, bytes] = {}
        for folder, _, _ in os.walk(self.root):
            listings[os.stat(folder).st_ino] = {name: self._number(Path(folder, name)) for name in os.listdir(folder)}
            for path in map(Path(folder).joinpath, os.listdir(folder)):
                if path.is_file():
                    contents[path.stat().st_ino] = path.read_bytes()
        since = {number: [*before.since.get(number, [{}]), now] for number, now in listings.items()}
        safe = dict(before.safe)
        if flushed in listings:
            since[flushed] = [listings[flushed]]
        elif flushed in contents:
            safe[flushed] = contents[flushed]
        self.moments.append(Moment(listings, contents, since, safe))

    def _number(self, path: Path) -> int:
        number = path.stat().st_ino
        if number not in self.held:
            self.held[number] = os.open(path, os.O_RDONLY)
        return number

    def cuts(self, scratch: Path) -> Iterator[tuple[int, Path]]:
        """For each moment, folders as they may be found after it: the moment's number, and a copy in `scratch`."""
        root, count = self.moments[0].root, 0
        for number, moment in enumerate(self.moments):
            for names in ("oldest", "newest", "any", "any"):
                for content in ("safe", "half", "newest"):
                    count += 1
                    folder = scratch / str(count)
                    moment.restore(root, folder, names, content, random.Random(count))
                    yield number, folder


@dataclass(frozen=True)
class Moment:
    """The disk after one call."""

    listings: dict[int, Listing]
    contents: dict[int, bytes]
    since: dict[int, list[Listing]]
    """Each folder's lists of names since it was last flushed, that list first."""
    safe: dict[int, bytes]
    """The content of each file when it was last flushed."""

    @property
    def root(self) -> int:
        """Number of the folder that all others are in."""
        return next(iter(self.listings))

    def restore(self, number: int, folder: Path, names: str, content: str, chance: random.Random) -> None:
        """Writes a folder as it may be found."""
        folder.mkdir()
        states = self.since[number]
        chosen = {"oldest": states[0], "newest": states[-1], "any": chance.choice(states)}[names]
        for name, child in chosen.items():
            if child in self.since:
                self.restore(child, folder / name, names, content, chance)
            else:
                safe = self.safe.get(child)
                now = self.contents.get(child, safe or b"")
                unsafe = {"safe": safe or b"", "half": now[: len(now) // 2], "newest": now}
                (folder / name).write_bytes(now if now == safe else unsafe[content])
