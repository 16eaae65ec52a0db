"""Colours and shapes of backends, in every picture and chart."""

from __future__ import annotations

from backends import BACKENDS

COLOURS = dict(zip(BACKENDS, ("#d55e00", "#0072b2", "#009e73", "#b8589b", "#a6761d"), strict=False))
"""The colour of each backend. They are Okabe and Ito's but for the last two, and told apart by readers who see red and
green alike; each stands out by 3 to 1 at least against white and against the dark page of report.html."""

VERDICTS: dict[str, str] = {"equivalent": "#0072b2", "different": "#d55e00", "undecided": "#a6761d"}
"""The colour of each verdict on a difference."""

OTHER = "#7f7f7f"
"""The colour of a backend that this project no longer has."""

SHAPES = ("circle", "square", "triangle-up", "diamond", "cross")
"""Shapes of points, by the backend's place in the registry."""


def colour_of(backend: str) -> str:
    """The backend's colour; grey for one that this project no longer has."""
    return COLOURS.get(backend, OTHER)
