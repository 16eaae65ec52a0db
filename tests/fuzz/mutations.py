"""Mutations of a file's content: of its bytes, of the numbers and words in it, and of the values of its JSON."""

from __future__ import annotations

import copy
import io
import json
import re
import zipfile
import zlib
from collections.abc import Callable
from random import Random
from typing import Any

INSERTED = (
    b"\0",
    b"\xff\xfe",
    b"\xc3",
    b"\xed\xa0\x80",
    b"\xe2\x80\xae",
    b"\x1b[31m",
    b'"',
    b"\n",
    b"\t",
    b",",
    b"{",
    b"[",
)
"""Bytes that are inserted: NUL, what is no UTF-8, halves of surrogate pairs, control characters, punctuation."""

NUMBERS = (
    b"-1",
    b"0",
    b"1e999",
    b"-1e-999",
    b"NaN",
    b"9" * 30,
    b"9" * 5000,
    b"2147483648",
    b"18446744073709551616",
    b"1.5",
)

EXTREMES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 10**9, 2**31, 2**63, 2**64, 10**30, -(10**30), 1.5, 1e308, -0.0, 1e-320),
    *(float("nan"), float("inf"), "", "x", "\0", "\x1b[2J", "\u202e", "=1+1", "../../x", "/etc/passwd", "x" * 100_000),
    *([], {}, [[]], [0] * 10_000, ["x"], {"x": 1}, {"": None}, "none", "9" * 400),
)
"""Values that are put in the place of others."""

DEEP = 100_000
"""Levels of what is nested deeply."""


def mutate(content: bytes, name: str, random: Random) -> bytes:
    """The content of a file of this name, changed in one to three ways."""
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        content = _of(content, name, random)(content, random)
    return content


def _of(content: bytes, name: str, random: Random) -> Callable[[bytes, Random], bytes]:
    """A mutation that suits the file; half of the time one of its values, if it has any."""
    kinds = [_flip, _truncate, _repeat, _delete, _insert, _number, _deep]
    if random.random() < 0.5:
        if name.endswith(".json"):
            return _json
        if name.endswith(".npz") and content.startswith(b"PK"):
            return _member
        if name.endswith(".safetensors"):
            return _header
        if name.endswith((".csv", ".tsv", ".toml", ".jsonl", ".npy", ".txt")):
            return _number
    return random.choice(kinds)


def _flip(content: bytes, random: Random) -> bytes:
    changed = bytearray(content)
    for _ in range(random.choice((1, 1, 8))):
        if changed:
            changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


def _truncate(content: bytes, random: Random) -> bytes:
    return content[: random.randrange(len(content) + 1)]


def _slice(content: bytes, random: Random) -> tuple[int, int]:
    start = random.randrange(len(content) + 1)
    return start, min(len(content), start + random.choice((1, 4, 64, 1024)))


def _repeat(content: bytes, random: Random) -> bytes:
    start, end = _slice(content, random)
    return content[:end] + content[start:end] * random.choice((1, 2, 100)) + content[end:]


def _delete(content: bytes, random: Random) -> bytes:
    start, end = _slice(content, random)
    return content[:start] + content[end:]


def _insert(content: bytes, random: Random) -> bytes:
    at = random.randrange(len(content) + 1)
    return content[:at] + random.choice(INSERTED) * random.choice((1, 1, 1000)) + content[at:]


def _number(content: bytes, random: Random) -> bytes:
    """Replaces a number, or a word, by an extreme one."""
    found = list(re.finditer(rb"-?\d[\d.eE+-]*|\w+", content[:200_000]))
    if not found:
        return _insert(content, random)
    one = random.choice(found)
    return content[: one.start()] + random.choice(NUMBERS) + content[one.end() :]


def _deep(content: bytes, random: Random) -> bytes:
    at = random.choice((0, random.randrange(len(content) + 1)))
    return content[:at] + random.choice((b"[", b'{"a":', b"(", b"a.")) * DEEP + content[at:]


def _json(content: bytes, random: Random) -> bytes:
    """Replaces, removes, renames or repeats a value."""
    try:
        values = json.loads(content)
    except (ValueError, RecursionError):
        return _flip(content, random)
    places = list(_places(values))
    if not places:
        return json.dumps(random.choice(EXTREMES)).encode()
    holder, key = random.choice(places)
    match random.randrange(6):
        case 0:
            del holder[key]
        case 1 if isinstance(holder, dict):
            holder[f"{key}x"] = holder.pop(key)
        case 2:
            other, its = random.choice(places)
            holder[key] = copy.deepcopy(other[its])
        case _:
            holder[key] = random.choice(EXTREMES)
    return json.dumps(values).encode()


def _places(value: Any) -> Any:
    """Each place in JSON values, as its dict or list and the key."""
    for key in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from _places(value[key])


def _member(content: bytes, random: Random) -> bytes:
    """Changes a file within an archive, whose checksums fit again."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, ValueError, EOFError, zlib.error):
        return _flip(content, random)
    if not members:
        return _flip(content, random)
    name = random.choice(sorted(members))
    members[name] = random.choice((_number, _flip, _truncate))(members[name], random)
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for one, values in members.items():
            archive.writestr(random.choice((one, one, one, "../x.npy")), values)
    return written.getvalue()


def _header(content: bytes, random: Random) -> bytes:
    """Changes the values of a safetensors header, whose length fits again."""
    end = 8 + int.from_bytes(content[:8], "little")
    if len(content) < 9 or end > len(content):
        return _flip(content, random)
    header = _json(content[8:end], random)
    return len(header).to_bytes(8, "little") + header + content[end:]
