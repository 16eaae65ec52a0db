"""The map from a port's parameters to the pack's: found by value, taken by name, or written by hand in a map.toml.

[parameters."bert.pooler.dense.weight"]     one parameter of the pack
from = "pooler/kernel"
transpose = [1, 0]

[[rules]]                                   many: a regular expression, and what it makes of each name that matches
pack = 'bert\\.encoder\\.layer\\.(\\d+)\\.attention\\.self\\.query\\.weight'
from = 'layer_\\1/qkv/kernel'
split = [64, 3, 64]                         the port's array is given this shape first,
take = [1, 0]                               of which axis 1's index 0 is kept,
transpose = [1, 0]                          and then the axes are ordered so
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.port.recording import Recording
from recorder.concord_recorder import Map, RecorderError, find_map
from shared.errors import InputError
from shared.files import write_whole
from shared.pack import Arrays, Pack

CLOSE = 0.1
"""An array is taken for a parameter that it differs from if by no more than this share of its largest entry."""

FIELDS = ("split", "take", "transpose", "covers")


@dataclass(frozen=True)
class Names:
    """A port's names as the pack's."""

    map: Map
    unmatched: list[str]
    """The port's arrays that have the values of no parameter of the pack, in words. The nearest one is mapped if it has
    no other, so that the rungs above can be compared."""

    def apply(self, arrays: Arrays) -> Arrays:
        """The arrays under the pack's names. Raises InputError if a shape does not fit."""
        try:
            return self.map.apply(arrays)
        except RecorderError as error:
            raise InputError(str(error)) from None


def find_names(pack: Pack, recording: Recording, given: Path | None) -> Names:
    """The map that was given, else the recorder's, else one found by value; without parameters as loaded, by name.
    Raises InputError if nothing maps."""
    shapes = pack.wanted.parts["parameters"]
    if given is not None:
        return Names(read_map(given, pack), [])
    loaded = recording.loaded(pack)
    if loaded is None:
        return Names(_by_name(shapes), [])
    heads = pack.contents.runs[0].settings.heads or 1
    try:
        found = Map.from_json(recording.found_map) if recording.found_map else find_map(pack.weights, loaded, heads)
    except (RecorderError, KeyError, TypeError) as error:
        raise InputError(f"{recording.folder}: its map is damaged ({error}); record again") from None
    unmatched = []
    for port in found.unmatched:
        target = port["nearest"] or port["name"]
        entry = port["entry"] or {"from": port["name"], "shape": shapes.get(target)}
        close = not port["nearest"] or port["difference"] <= CLOSE * np.abs(pack.weights[target]).max()
        if target in shapes and target not in found.entries and close:
            found.entries[target] = entry
        unmatched.append(_in_words(port))
    if not found.entries:
        first = unmatched[0] if unmatched else "nothing was recorded"
        raise InputError(
            f"{recording.folder}: no parameter has the values of one of the pack's ({first}); load the pack's weights, "
            "or pass --map"
        )
    return Names(found, unmatched)


def _by_name(shapes: dict[str, list[int]]) -> Map:
    return Map({name: {"from": name, "shape": shape} for name, shape in shapes.items()})


def _in_words(port: dict[str, Any]) -> str:
    near = f"; nearest: {port['nearest']}, off by {port['difference']:.1e}" if port["nearest"] else ""
    return f"{port['name']} is no parameter of the pack{near}"


def read_map(file: Path, pack: Pack) -> Map:
    """Reads a map.toml. Raises InputError."""
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError:
        raise InputError(f"--map {file}: there is no such file") from None
    except ValueError as error:
        raise InputError(f"--map {file} is no TOML ({error}); see docs/port.md") from None
    shapes = pack.wanted.parts["parameters"]
    entries: dict[str, dict[str, Any]] = {}
    for name, entry in content.get("parameters", {}).items():
        if name not in shapes:
            raise InputError(f"--map {file}: {name} is no parameter of the pack; see its wanted.json")
        entries[name] = _entry(file, entry, entry.get("from"), shapes[name])
    for rule in content.get("rules", []):
        try:
            pattern = re.compile(rule["pack"])
            matches = {name: match for name in shapes if (match := pattern.fullmatch(name))}
            made = {name: match.expand(rule["from"]) for name, match in matches.items()}
        except (KeyError, re.error, IndexError) as error:
            raise InputError(
                f"--map {file}: a rule is wrong ({error}); it needs pack and from; see docs/port.md"
            ) from None
        for name, port in made.items():
            entries.setdefault(name, _entry(file, rule, port, shapes[name]))
    if not entries:
        raise InputError(f"--map {file} maps no parameter of the pack; see docs/port.md")
    return Map(entries, missing=[name for name in shapes if name not in entries])


def _entry(file: Path, fields: dict[str, Any], port: object, shape: list[int]) -> dict[str, Any]:
    if not isinstance(port, str):
        raise InputError(f"--map {file}: an entry needs from, the port's name; see docs/port.md")
    return {"from": port, "shape": shape} | {name: fields[name] for name in FIELDS if name in fields}


def write_map(names: Names, file: Path) -> None:
    """Writes the map as a map.toml that `read_map` reads."""
    lines = []
    for name, entry in names.map.entries.items():
        lines += [f"[parameters.{_quoted(name)}]", f"from = {_quoted(entry['from'])}"]
        lines += [f"{field} = {list(entry[field])}" for field in FIELDS if field in entry]
        lines += [f"# {entry['note']}"] if entry.get("note") else []
        lines.append("")
    write_whole(file, "\n".join(lines))


def _quoted(name: str) -> str:
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
