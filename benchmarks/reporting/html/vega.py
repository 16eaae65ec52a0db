"""Pieces of Vega-Lite that charts have in common."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmarks.reporting.colours import SHAPES, colour_of
from benchmarks.reporting.numbers import place_of

Spec = dict[str, Any]

CONFIG: Spec = {
    "background": None,
    "view": {"stroke": None},
    "axis": {
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "titlePadding": 10,
        "labelLimit": 220,
        "tickCount": 6,
    },
    "legend": {
        "orient": "top",
        "title": None,
        "labelFontSize": 12,
        "symbolSize": 90,
        "symbolOpacity": 1,
        "labelLimit": 200,
    },
    "rule": {"strokeWidth": 1.5},
    "line": {"strokeWidth": 1.75},
}
"""The look of every chart; report.css has the colours of what is no data."""

BAR: Spec = {"type": "rule", "aria": False}
"""An error bar. A screen reader is told its ends by the point's values."""

POINT: Spec = {"type": "point", "filled": True, "size": 80, "opacity": 0.95}


def chart(
    description: str, height: int | Spec, layers: Sequence[Spec], shape: Spec | None = None, **encoding: Any
) -> Spec:
    """Layers that share an encoding; `shape` is that of points. `height` is in pixels, or a step for each row."""
    if shape:
        layers = [
            {**layer, "encoding": {"shape": shape, **layer["encoding"]}} if layer["mark"] == POINT else layer
            for layer in layers
        ]
    return {"description": description, "height": height, "encoding": encoding, "layer": layers, "config": CONFIG}


def points(tips: Mapping[str, str], *transform: Spec) -> Spec:
    """A layer of points, which show these fields by heading."""
    return {"transform": list(transform), "mark": POINT, "encoding": {"tooltip": tooltip(tips)}}


def by_backend(field: str, names: Iterable[str]) -> Spec:
    """Colour and shape of what is named by a backend, or by words that begin with one, in the registry's order. Names
    that share a colour have different shapes."""
    order = sorted(dict.fromkeys(names), key=lambda name: place_of(backend_in(name)))
    shapes: list[str] = []
    for n, name in enumerate(order):
        own = SHAPES[place_of(name) % len(SHAPES)]
        shapes.append(own if backend_in(name) == name else SHAPES[n % len(SHAPES)])
    return scales(field, order, [colour_of(backend_in(name)) for name in order], shapes)


def scales(field: str, names: Sequence[str], colours: Sequence[str], shapes: Sequence[str]) -> Spec:
    """A colour and a shape for each of these names."""
    return {"color": _scaled(field, names, colours), "shape": _scaled(field, names, shapes)}


def backend_in(name: str) -> str:
    """The backend with which the name of a variant begins."""
    return name.split(" ")[0]


def number_axis(field: str, title: str, log: bool = False) -> Spec:
    """A quantitative axis, which need not begin at 0."""
    scale: Spec = {"type": "log"} if log else {"zero": False, "nice": True, "padding": 12}
    return {
        "field": field,
        "type": "quantitative",
        "title": title,
        "scale": scale,
        "axis": {"format": ".6~g"} if log else {},
    }


def names_axis(field: str, **axis: Any) -> Spec:
    """An axis of names, in the order of the data."""
    return {"field": field, "type": "nominal", "title": None, "sort": None, "axis": {"grid": True, **axis}}


def tooltip(tips: Mapping[str, str]) -> list[Spec]:
    """The values that a point shows, by heading."""
    return [{"field": field, "type": "nominal", "title": heading} for heading, field in tips.items()]


def line_at(value: float, axis: str) -> Spec:
    """A line across the chart, in the colour of text."""
    return {
        "name": "ink",
        "data": {"values": [{}]},
        "mark": {"type": "rule", "strokeDash": [4, 3], "aria": False},
        "encoding": {axis: {"datum": value}},
    }


def _scaled(field: str, names: Sequence[str], values: Sequence[str]) -> Spec:
    return {"field": field, "type": "nominal", "scale": {"domain": list(names), "range": list(values)}}
