"""A parser that shows defaults, with errors of one line."""

from __future__ import annotations

import argparse
import errno
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from benchmarks.cli.encodable import make_encodable
from benchmarks.cli.values import as_typed, typed_values
from shared.errors import InputError, ProcessFailed
from shared.files import NO_ROOM, cache_dir


class Help(argparse.RawDescriptionHelpFormatter):
    """Shows description and examples as they are written, and each option's default after its help text. An option
    without a default (None, or an empty list) says in its help text what is done without it."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        default = action.default
        if not action.option_strings or action.nargs == 0 or default is None or default == []:
            return action.help
        shown = typed_values(default) if isinstance(default, list) else str(as_typed(default))
        return f"{action.help} ({shown.replace('%', '%%')})"


class Parser(argparse.ArgumentParser):
    """Takes options by their whole names, since a prefix that is clear today may not be once there is one more option.
    An error is one line. What is printed is spelled in characters that the output's encoding has."""

    def __init__(self, **settings: Any) -> None:
        make_encodable()
        super().__init__(allow_abbrev=False, formatter_class=Help, **settings)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message} (see --help)\n")


@contextmanager
def one_line_errors(command: str, when_interrupted: str = "nothing is kept") -> Iterator[None]:
    """Ends the command with one line on standard error: for InputError with exit code 2, for Ctrl-C, SIGTERM and a
    terminal that closes with 130. ProcessFailed has the process's last lines too, and its own exit code. A disk that is
    full, or a file that may not be written, is exit code 1."""
    for name in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(name) is not signal.SIG_IGN:  # as `nohup` has it
            signal.signal(name, signal.default_int_handler)
    try:
        yield
    except InputError as error:
        print(f"{command}: error: {error}", file=sys.stderr)
        sys.exit(2)
    except ProcessFailed as failure:
        print(f"{command}: {failure}", *failure.tail, sep="\n  | ", file=sys.stderr)
        sys.exit(failure.code)
    except OSError as error:
        if error.errno not in (*NO_ROOM, errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        print(f"{command}: {error.filename or 'a file'}: {error.strerror}{_remedy(error)}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print(f"{command}: interrupted; {when_interrupted}", file=sys.stderr)
        sys.exit(130)


def _remedy(error: OSError) -> str:
    in_cache = error.filename is not None and Path(error.filename).is_relative_to(cache_dir())
    return "; set CONCORD_CACHE to another folder" if in_cache else ""


def check_writable(option: str, folder: Path | None) -> None:
    """Raises InputError if the folder can neither be written to nor be made."""
    if folder is None:
        return
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise InputError(f"{option} {folder}: {there} is no folder that can be written to; pass another")
