"""Reads what else a folder, or a folder in it, holds beside records."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from msgspec import convert

from benchmarks.reporting.html.document import Section, Where
from shared.errors import one_line, tell
from shared.parsing import parse_json

T = TypeVar("T")

SOURCE = Where("From", "source")
"""The choice between several files of a kind."""


@dataclass(frozen=True)
class Found:
    """A section, and a sentence on it for the summary."""

    said: str
    section: Section


def read_each(out: Path, paths: list[Path], kind: type[T]) -> dict[str, T]:
    """The files' content by the name of their folder. A file that cannot be read is named on standard error and left
    aside."""
    found = {}
    for path in paths:
        source = out.resolve().name if path.parent == out else path.parent.relative_to(out).as_posix()
        try:
            found[source] = convert(_with_numbers(parse_json(path.read_bytes())), kind)
        except (OSError, ValueError) as error:
            tell(one_line(f"{path} is left aside: {error}"))
    return found


def _with_numbers(content: Any, within: str = "") -> Any:
    """The content with the numbers that JSON has none for: null stands for infinity as the share of a finding, and for
    NaN among a comparison's numbers."""
    if isinstance(content, list):
        return [_with_numbers(part, within) for part in content]
    if isinstance(content, dict):
        finding = "noise" in content and "share" in content
        return {
            name: math.inf if finding and name == "share" and part is None else _with_numbers(part, within or name)
            for name, part in content.items()
        }
    return math.nan if content is None and within in ("scores", "comparisons") else content
