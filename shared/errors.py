"""The two exceptions that a command turns into a line and an exit code, and text that is safe to show."""

from __future__ import annotations

import re
import sys

from shared.limits import MESSAGE

UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Characters that move a terminal's cursor, change its colours, end a line, turn the order of the text around, or are
in no encoding."""


def visible(text: str, kept: str = "") -> str:
    """The text with an escape, as Python has them, for each character of UNSAFE that is not `kept`."""
    return UNSAFE.sub(lambda found: found[0] if found[0] in kept else ascii(found[0])[1:-1], text)


def one_line(text: str) -> str:
    """The text as a line of a message: `visible`, and without its middle if it is longer than MESSAGE."""
    line = visible(text.strip("\r\n"))
    end = MESSAGE // 3
    return line if len(line) <= MESSAGE else f"{line[: MESSAGE - end - 3]} … {line[-end:]}"


def tell(text: str) -> None:
    """Prints one line on standard error."""
    print(one_line(text), file=sys.stderr)


class InputError(Exception):
    """Bad input, which the user can correct. The message is one line that names the thing and the remedy. A command
    prints it and exits with 2."""

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


class ProcessFailed(Exception):
    """A process that this one started has ended without an answer. A command prints `tail` and the message, and exits
    with `code`."""

    def __init__(self, message: str, tail: tuple[str, ...] = (), refused: bool = False) -> None:
        super().__init__(one_line(message))
        self.tail = tuple(map(one_line, tail))
        """Last lines that the process printed."""
        self.refused = refused
        """Whether the process refused its job as bad input."""
        self.named = False

    def of(self, name: str) -> ProcessFailed:
        """The failure with a name before its message. One that has a name keeps it: it is of a process beside."""
        if self.named:
            return self
        failure = ProcessFailed(f"{name}: {self}", self.tail, self.refused)
        failure.named = True
        return failure

    @property
    def code(self) -> int:
        """Exit code of a command: 2 if refused, else 1."""
        return 2 if self.refused else 1
