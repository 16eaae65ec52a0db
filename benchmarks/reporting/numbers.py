"""Formats numbers for tables."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pandas as pd

from backends import BACKENDS

MOST_NAME = 100
"""Characters of a file's name; of two bytes and more in some scripts."""

MISSING = "–"
"""Stands for a number that is not there."""


def as_file_name(name: str) -> str:
    """The name with a dash for what could lead into another folder or is awkward in a file's name, and no longer than
    file systems take; its end is kept."""
    return re.sub(r"[^\w.-]+", "-", name).lstrip(".-")[-MOST_NAME:]


def place_of(backend: str) -> int:
    """The backend's place in the registry; the last for one that this project no longer has."""
    return [*BACKENDS, backend].index(backend)


def number(value: Any, form: str) -> str:
    """The number in Python's format `form`; MISSING for None and NaN."""
    return format(value, form) if pd.notna(value) else MISSING


def decimals(low: float | None, high: float | None, most: int) -> int:
    """The digits after the point that an interval supports: to the first digit of its half-width, one more if that is
    a 1, and `most` at most. Without an interval, or without a width, they are `most`."""
    if low is None or high is None or not high - low > 0:
        return most
    half = (high - low) / 2
    first = -math.floor(math.log10(half))
    return max(0, min(most, first + (half * 10**first < 2)))


def quartiles(values: np.ndarray, form: str) -> str:
    """The median and, in brackets, the quartiles; of one value, the value."""
    low, median, high = (format(v, form) for v in np.percentile(values, (25, 50, 75)))
    return f"{median} ({low} – {high})" if len(values) > 1 else median


def around_median(found: tuple[float, float, float], most: int) -> str:
    """The median between its quartiles, with the digits that these support, `most` at most."""
    low, median, high = found
    form = f".{decimals(low, high, most)}f"
    return f"{median:{form}} ({low:{form}} – {high:{form}})" if low < high else f"{median:{form}}"


def short(value: float) -> str:
    """A ratio, in few characters."""
    return f"{value:.1f}" if value < 100 else f"{value:.0f}" if value < 1e5 else f"{value:.0e}"


def p_value(value: float) -> str:
    """A p-value to three digits."""
    return "<0.001" if value < 0.001 else number(value, ".3f")
