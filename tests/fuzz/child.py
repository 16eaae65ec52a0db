"""Tries mutations in a process of its own, bounded in memory: python -m tests.fuzz.child SEED FIRST COUNT. Prints a
line of JSON before each try, and one after it."""

from __future__ import annotations

import contextlib
import faulthandler
import io
import json
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path
from random import Random
from typing import Any

MEMORY = 500 * 2**20
"""Bytes that reading a file may take."""

SECONDS = 10
"""Time that reading a file may take."""


class TooLong(BaseException):
    """Reading took longer than SECONDS."""


def too_long(*_: Any) -> None:
    raise TooLong


def main(seed: int, first: int, count: int) -> None:
    with tempfile.TemporaryDirectory(prefix="concord-fuzz.") as folder:
        os.environ["CONCORD_CACHE"] = f"{folder}/cache"
        from shared.errors import InputError
        from tests.fuzz.kinds import kinds

        known = kinds(Path(folder) / "files")
        names = sorted(known)
        for name in names:  # imports and first allocations are not the file's
            with contextlib.suppress(InputError):  # the pack is no whole one
                known[name].read()
        sound = {name: known[name].file.read_bytes() for name in names}
        space = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (space + MEMORY, space + MEMORY))
        signal.signal(signal.SIGALRM, too_long)
        for number in range(first, first + count):
            name = names[number % len(names)]
            print(json.dumps({"number": number, "kind": name}), flush=True)
            print(json.dumps(_tried(known[name], sound[name], Random(f"{seed} {number}"))), flush=True)
            known[name].file.write_bytes(sound[name])


def _tried(kind: Any, sound: bytes, random: Random) -> dict[str, Any]:
    """The outcome of one try: `read`, `refused`, or `fault` with the last lines of the traceback."""
    from shared.errors import InputError, ProcessFailed
    from tests.fuzz.mutations import mutate

    kind.file.write_bytes(mutate(sound, kind.file.name, random))
    said = io.StringIO()
    start = time.perf_counter()
    result: dict[str, Any] = {}
    try:
        signal.alarm(SECONDS)
        faulthandler.dump_traceback_later(2 * SECONDS, exit=True)  # within a library's own code no signal helps
        with contextlib.redirect_stderr(said):
            kind.read()
        result["outcome"] = "read"
    except (InputError, ProcessFailed, OSError) as error:  # a command makes a line of each
        result |= {"outcome": "refused", "said": str(error)}
        if not isinstance(error, OSError) and not str(error).isprintable():
            result |= {"outcome": "fault", "said": f"no line: {error!r}"}
    except (Exception, TooLong) as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        said_by = f"{type(error).__name__}: {error}"[:200]
        result |= {"outcome": "fault", "said": f"{said_by} ({Path(place.filename).name}:{place.lineno})"}
    finally:
        signal.alarm(0)
        faulthandler.cancel_dump_traceback_later()
    result["seconds"] = time.perf_counter() - start
    result["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return result


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
