"""The map from a port's parameters to the pack's: found by value, taken by name, or given (map_file.py)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct, field

from benchmarks.port.map_file import read_map
from benchmarks.port.recording import Recording, shown_name
from recorder.concord_recorder import Map, RecorderError, find_map
from shared.errors import InputError
from shared.pack import Arrays, Pack

CLOSE = 0.1
"""An array is taken for a parameter that it differs from if by no more than this share of its largest entry."""


class _Entry(Struct, frozen=True, kw_only=True):
    """An entry of map.json."""

    name: str = field(name="from")
    shape: list[int]
    split: list[int] | None = None
    take: tuple[int, int] | None = None
    transpose: list[int] | None = None
    covers: list[int] | None = None


class _Unmatched(Struct, frozen=True, kw_only=True):
    """An array of the port that is no parameter of the pack."""

    name: str
    nearest: str | None
    difference: float | None
    entry: _Entry | None


class _MapJson(Struct, frozen=True, kw_only=True):
    """map.json, as far as it is checked."""

    entries: dict[str, _Entry]
    ambiguous: list[str]
    unmatched: list[_Unmatched]
    missing: list[str]


@dataclass(frozen=True)
class Names:
    """A port's names as the pack's."""

    map: Map
    unmatched: list[str]
    """In words, the port's arrays that have the values of no parameter of the pack; the nearest one is mapped if it has
    no other, so that the rungs above can be compared. With a map that was given, what it does not find."""

    def apply(self, arrays: Arrays) -> Arrays:
        """The arrays under the pack's names. Raises InputError if a shape does not fit."""
        try:
            return self.map.apply(arrays)
        except (RecorderError, KeyError, TypeError) as error:
            raise InputError(f"the map does not fit ({error}); record again, or pass --map") from None


def find_names(pack: Pack, recording: Recording, given: Path | None) -> Names:
    """The map that was given, else the recorder's, else one found by value; without parameters as loaded, by name.
    Raises InputError if nothing maps."""
    shapes = pack.wanted.parts["parameters"]
    if given is not None:
        return Names(*read_map(given, pack, recording.parameter_names(pack)))
    loaded = recording.loaded(pack)
    if loaded is None and not recording.found_map:
        return Names(_by_name(shapes), [])
    heads = pack.contents.runs[0].settings.heads or 1
    try:
        if recording.found_map:
            msgspec.convert(recording.found_map, _MapJson)
            found = Map.from_json(recording.found_map)
        else:
            found = find_map(pack.weights, loaded or {}, heads)
        names = _with_nearest(found, pack)
    except (RecorderError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{recording.folder}: its map is damaged ({error}); record again") from None
    if not names.map.entries:
        first = names.unmatched[0] if names.unmatched else "nothing was recorded"
        raise InputError(
            f"{recording.folder}: no parameter has the values of one of the pack's ({first}); load the pack's weights, "
            "or pass --map"
        )
    return names


def _with_nearest(found: Map, pack: Pack) -> Names:
    """The map, and of what it could not match the nearest parameter, if that has no other array and is close."""
    shapes, unmatched = pack.wanted.parts["parameters"], []
    for port in found.unmatched:
        target = port["nearest"] or port["name"]
        entry = port["entry"] or {"from": port["name"], "shape": shapes.get(target)}
        close = not port["nearest"] or port["difference"] <= CLOSE * np.abs(pack.weights[target]).max()
        if target in shapes and target not in found.entries and close:
            found.entries[target] = entry
        unmatched.append(_in_words(port))
    return Names(found, unmatched)


def _by_name(shapes: dict[str, list[int]]) -> Map:
    return Map({name: {"from": name, "shape": shape} for name, shape in shapes.items()})


def _in_words(port: dict[str, Any]) -> str:
    near = f"; nearest: {port['nearest']}, off by {port['difference']:.1e}" if port["nearest"] else ""
    return f"{shown_name(port['name'])} is no parameter of the pack{near}"
