"""Output in an encoding that lacks some characters, such as ASCII: they are spelled with others."""

from __future__ import annotations

import codecs
import sys
from io import TextIOWrapper

SPELLED = {
    **dict.fromkeys("–−‐‑─━│", "-"),
    "—": "--",
    "×": "x",
    "±": "+/-",
    "…": "...",
    "→": "->",
    "·": ".",
    "µ": "u",
    "α": "alpha",
    **dict.fromkeys("‘’", "'"),
    **dict.fromkeys("“”", '"'),
}
"""Spellings of characters of this project's own words. Any other becomes its escape in Python."""

ERRORS = "concord-spelled"


def _spelled(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    found = error.object[error.start : error.end]
    return "".join(SPELLED.get(c) or c.encode("ascii", "backslashreplace").decode() for c in found), error.end


def make_encodable() -> None:
    """Makes standard output and error take every text."""
    codecs.register_error(ERRORS, _spelled)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # UTF-8 lacks the stand-ins of a path's bytes that are no text
            stream.reconfigure(errors=ERRORS)
