"""A parser with errors of one line."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from shared.errors import InputError


class Parser(argparse.ArgumentParser):
    """argparse, with an error of one line, description and examples as they are written, and options by their whole
    names: a prefix that is clear today may not be when there is one more option."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **settings)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message} (see --help)\n")


@contextmanager
def one_line_errors(command: str, when_interrupted: str = "nothing is kept") -> Iterator[None]:
    """InputError becomes one line on standard error and exit code 2; Ctrl-C, and SIGTERM like it, exit code 130."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except InputError as error:
        print(f"{command}: error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print(f"{command}: interrupted; {when_interrupted}", file=sys.stderr)
        sys.exit(130)


def check_writable(option: str, folder: Path | None) -> None:
    """Raises InputError where the folder neither can be written to nor can be made."""
    if folder is None:
        return
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise InputError(f"{option} {folder}: {there} is no folder that can be written to; pass another")
