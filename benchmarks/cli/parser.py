"""A parser that shows defaults, with errors of one line."""

from __future__ import annotations

import argparse
import errno
import os
import signal
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn, TextIO

from benchmarks.cli.encodable import make_encodable
from benchmarks.cli.values import as_typed, typed_values
from shared.cache import cache_dir
from shared.errors import InputError, ProcessFailed, one_line


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

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        for one in sys.argv[1:] if args is None else args:
            if any("\ud800" <= c <= "\udfff" for c in one):  # Python's stand-in for a byte that is not UTF-8
                self.error(f"{one!a} is not UTF-8; convert or rename it")
        return super().parse_args(args, namespace)

    def _print_message(self, message: str, file: Any = None) -> None:
        print(message, end="", file=file or sys.stderr)  # argparse's own passes over an error

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {one_line(message)} (see --help)\n")


READER_GONE = 141
"""Exit code of a command whose output nobody reads any more, as of a program that SIGPIPE ends."""

INTERRUPTED = 130
"""Exit code of a command that was interrupted: by Ctrl-C, SIGTERM, or a terminal that closed."""

REMEDIES = {
    errno.ENOSPC: "free some space, or pass a folder on another disk",
    errno.EDQUOT: "free some space, or pass a folder on another disk",
    errno.EROFS: "pass a folder that can be written to",
    errno.EACCES: "change its permissions, or pass another",
    errno.EPERM: "change its permissions, or pass another",
    errno.EISDIR: "pass a file",
    errno.ENOTDIR: "pass a folder",
    errno.EEXIST: "move it away, or pass another",
    errno.ENOTEMPTY: "move it away, or pass another",
    errno.ENOENT: "pass one that is there",
    errno.ELOOP: "pass a path without such links",
    errno.ENAMETOOLONG: "pass a shorter name",
    errno.ENOEXEC: "pass a program of this system",
    errno.EMFILE: "raise the limit with ulimit -n",
    errno.ENOMEM: "free some memory",
}
"""The remedy for each of the operating system's errors."""

MISNAMED = (errno.EISDIR, errno.ENOTDIR, errno.ENOENT, errno.ELOOP, errno.ENAMETOOLONG, errno.ENOEXEC)
"""Errors of a name that was passed: bad input."""


@contextmanager
def one_line_errors(command: str, when_interrupted: str = "nothing is kept") -> Iterator[None]:
    """Ends the command with one line on standard error: for InputError, and for an error of the operating system that
    is of a name, with exit code 2; for any other of its errors with 1; for Ctrl-C and SIGTERM with 130.
    ProcessFailed has the process's last lines too, and its own exit code. If nobody reads the output any more, there is
    no line: the exit code is READER_GONE, or 130 if a terminal was closed. Every command runs within this."""
    for name in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(name) is not signal.SIG_IGN:  # as `nohup` has it
            signal.signal(name, signal.default_int_handler)
    try:
        try:
            yield
        finally:
            print(end="", flush=True)  # here a full disk or a closed pipe is told, as Python ends it is not
    except InputError as error:
        _end(2, f"{command}: error: {error}")
    except ProcessFailed as failure:
        _end(failure.code, "\n  | ".join([f"{command}: {failure}", *failure.tail]))
    except BrokenPipeError:
        _drop(sys.stdout)
        sys.exit(READER_GONE)
    except OSError as error:
        if error.errno == errno.EIO and _terminal_closed():
            _drop(sys.stdout)
            _end(INTERRUPTED)
        _drop(sys.stdout)
        named = "the output" if error.filename is None else os.fsdecode(error.filename)
        line = one_line(f"{command}: {named}: {error.strerror or error}; {_remedy(error)}")
        _end(2 if error.errno in MISNAMED else 1, line)
    except MemoryError as error:
        said = f" ({error})" if str(error) else ""
        _end(1, one_line(f"{command}: there is not enough memory{said}; free some, or ask for less"))
    except KeyboardInterrupt:
        _end(INTERRUPTED, f"{command}: interrupted; {when_interrupted}")


def _remedy(error: OSError) -> str:
    if isinstance(error.filename, str) and Path(error.filename).is_relative_to(cache_dir()):
        return "set CONCORD_CACHE to another folder"
    return REMEDIES.get(error.errno or 0, "mend that, or pass another path")


def _end(code: int, *lines: str) -> NoReturn:
    """Prints lines on standard error, if it takes any, and exits."""
    try:
        print(*lines, sep="\n", end="\n" if lines else "", file=sys.stderr, flush=True)
    except OSError:
        _drop(sys.stderr)
    sys.exit(code)


def _terminal_closed() -> bool:
    """Whether standard output or error is a terminal that is gone."""
    for stream in (sys.stdout, sys.stderr):
        try:
            termios.tcgetattr(stream.fileno())
        except termios.error as error:
            if error.args[0] == errno.EIO:
                return True
        except (OSError, ValueError):  # a test's output is no file
            pass
    return False


def _drop(stream: TextIO) -> None:
    """Lets what the stream still holds go nowhere, so that Python does not fail to write it again as it ends."""
    with suppress(OSError, ValueError):  # a test's output is no file
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def check_writable(option: str, folder: Path | None) -> None:
    """Raises InputError if the folder can neither be written to nor be made."""
    if folder is None:
        return
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise InputError(f"{option} {folder}: {there} is no folder that can be written to; pass another")
