r"""Maps from a port's parameters to the pack's, written by hand: a map.toml, or one of the shipped ones in maps/.

[parameters."bert.pooler.dense.weight"]     one parameter of the pack
from = "pooler/kernel"
transpose = [1, 0]

[[rules]]                                   many: a regular expression of the pack's names, and the port's name of each
pack = 'bert\.encoder\.layer\.(\d+)\.attention\.self\.query\.weight'
from = '**/layer_\1/qkv/kernel'
split = ["width", 3, "width"]               the port's array is given this shape first,
take = [1, 0]                               of which axis 1's index 0 is kept,
transpose = [1, 0]                          and then the axes are ordered so

An entry under `parameters` comes before rules, and a rule before those below it. In `from`, `*` is any text within one
part of a name, and `**/` any number of parts, or none. Parts are separated by / or by a dot, which are alike; a :0 at
the end is left out. In `split`, `width`, `heads` and `head` are the network's width, its heads and the width of one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct, field

from recorder.concord_recorder import Map
from shared.errors import InputError
from shared.files import write_whole
from shared.pack import Pack, Settings
from shared.parsing import parse_toml, small_text

FOLDER = Path(__file__).with_name("maps")
SEE = "see docs/port.md"
FIELDS = ("split", "take", "transpose", "covers")


class Layout(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One of the port's arrays, and the parameter of the pack that is in it."""

    name: str = field(name="from")
    split: list[int | Literal["width", "heads", "head"]] | None = None
    take: tuple[int, int] | None = None
    transpose: list[int] | None = None
    covers: list[int] | None = None
    """The front that the port has of the pack's array."""

    def entry(self, name: str, shape: list[int], sizes: dict[str, int]) -> dict[str, Any]:
        """The entry of a `Map`, if the port's array has this name. Raises KeyError for a size that the network has
        not."""
        split = self.split and [sizes[one] if isinstance(one, str) else one for one in self.split]
        fields = {"split": split, "take": self.take, "transpose": self.transpose, "covers": self.covers}
        given = {key: list(value) for key, value in fields.items() if value is not None}
        return {"from": name, "shape": shape, **given}


class Rule(Layout, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The same for every parameter whose name matches. `from` may have the groups of `pack`."""

    pack: str

    def names(self, parameters: Iterable[str]) -> Iterator[tuple[str, str]]:
        """The pack's names that match, each with the port's. Raises re.error and IndexError."""
        pattern = re.compile(self.pack)
        for parameter in parameters:
            if match := pattern.fullmatch(parameter):
                yield parameter, match.expand(self.name)


class MapFile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A map.toml."""

    parameters: dict[str, Layout] = {}
    rules: list[Rule] = []


def shipped_maps() -> list[str]:
    """Names of the maps that are shipped."""
    return sorted(file.stem for file in FOLDER.glob("*.toml"))


def find_file(given: Path) -> Path:
    """The file itself, else the shipped map of this name. Raises InputError."""
    if given.is_file():
        return given
    if str(given) in shipped_maps():
        return FOLDER / f"{given}.toml"
    raise InputError(f"--map {given}: there is no such file; shipped are {', '.join(shipped_maps())}")


def read_map(given: Path, pack: Pack, recorded: Iterable[str]) -> tuple[Map, list[str]]:
    """The map that was given, for the port's names that were recorded, and in words what it does not find among these.
    Raises InputError if the map is wrong, lacks a parameter of the pack, or finds nothing."""
    shapes, sizes = pack.wanted.parts["parameters"], _sizes(pack.contents.runs[0].settings)
    plain = {name: _plain(name) for name in recorded}
    entries: dict[str, dict[str, Any]] = {}
    absent = {}
    for parameter, (meant, layout) in _meant(given, shapes).items():
        found = _find(meant, plain, given)
        try:
            entry = layout.entry(found or meant, shapes[parameter], sizes)
        except KeyError as error:
            raise InputError(f"--map {given}: this pack's network has no {error.args[0]!r}; write a number") from None
        if found is None:
            absent[parameter] = f"{meant}, the map's {parameter}, was not recorded"
        else:
            entries[parameter] = entry
    if plain and not entries:
        first = next(iter(absent.values()))
        raise InputError(f"--map {given} finds none of its names: {first}; recorded are {', '.join([*plain][:3])}, ...")
    return Map(entries, missing=list(absent)), list(absent.values()) if plain else []


def _meant(given: Path, shapes: dict[str, list[int]]) -> dict[str, tuple[str, Layout]]:
    """The port's name and layout of every parameter of the pack. Raises InputError."""
    content = _content(given)
    for parameter in content.parameters:
        if parameter not in shapes:
            raise InputError(f"--map {given}: {parameter} is no parameter of the pack; see its wanted.json")
    meant: dict[str, tuple[str, Layout]] = {
        parameter: (layout.name, layout) for parameter, layout in content.parameters.items()
    }
    for rule in content.rules:
        try:
            for parameter, name in rule.names(shapes):
                meant.setdefault(parameter, (name, rule))
        except (re.error, IndexError) as error:
            raise InputError(f"--map {given}: the rule of {rule.pack!r} is wrong ({error}); {SEE}") from None
    left = [parameter for parameter in shapes if parameter not in meant]
    if left:
        more = f" and {len(left) - 1} more" if len(left) > 1 else ""
        raise InputError(
            f"--map {given} has no entry for {left[0]}{more}; a map needs one for every parameter, recorded or not"
        )
    return {parameter: meant[parameter] for parameter in shapes}


def _content(given: Path) -> MapFile:
    try:
        return msgspec.convert(parse_toml(small_text(find_file(given))), MapFile)
    except msgspec.ValidationError as error:
        raise InputError(f"--map {given} is wrong ({error}); {SEE}") from None
    except (ValueError, OSError) as error:
        raise InputError(f"--map {given} is no TOML ({error}); {SEE}") from None


def _sizes(settings: Settings) -> dict[str, int]:
    """Words of `split` with the network's sizes, as far as it has them."""
    width, heads = settings.width, settings.heads
    sizes = {"width": width, "heads": heads, "head": width // heads if width and heads else None}
    return {word: size for word, size in sizes.items() if size is not None}


def _find(meant: str, recorded: dict[str, str], given: Path) -> str | None:
    """The recorded name that is meant; None if there is none. Raises InputError if there are several."""
    if meant in recorded:
        return meant
    pattern = _pattern(_plain(meant))
    found = [name for name, plain in recorded.items() if pattern.fullmatch(plain)]
    if len(found) > 1:
        raise InputError(
            f"--map {given}: {meant} is either {found[0]} or {found[1]}; record one of them, or write a map with its "
            "whole name"
        )
    return found[0] if found else None


def _plain(name: str) -> str:
    return name.removesuffix(":0").replace(".", "/")


def _pattern(meant: str) -> re.Pattern[str]:
    wild = {"**/": "(?:[^/]+/)*", "*": "[^/]+"}
    return re.compile("".join(wild.get(part, re.escape(part)) for part in re.split(r"(\*\*/|\*)", meant)))


def write_map(entries: dict[str, dict[str, Any]], file: Path) -> None:
    """Writes a map's entries as a map.toml."""
    lines = []
    for name, entry in entries.items():
        lines += [f"[parameters.{_quoted(name)}]", f"from = {_quoted(entry['from'])}"]
        lines += [f"{key} = {list(entry[key])}" for key in FIELDS if key in entry]
        lines += [f"# {entry['note']}"] if entry.get("note") else []
        lines.append("")
    write_whole(file, "\n".join(lines))


def _quoted(name: str) -> str:
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
