"""The two exceptions that a command turns into a line and an exit code."""

from __future__ import annotations


class InputError(Exception):
    """Bad input, which the user can correct. The message is one line that names the thing and the remedy. A command
    prints it and exits with 2."""


class ProcessFailed(Exception):
    """A process that this one started has ended without an answer. A command prints `tail` and the message, and exits
    with `code`."""

    def __init__(self, message: str, tail: tuple[str, ...] = (), refused: bool = False) -> None:
        super().__init__(message)
        self.tail = tail
        """Last lines that the process printed."""
        self.refused = refused
        """Whether the process refused its job as bad input."""

    @property
    def code(self) -> int:
        """Exit code of a command: 2 if refused, else 1."""
        return 2 if self.refused else 1
