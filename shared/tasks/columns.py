"""Finds the columns of own data: by their usual names, or by those given."""

from __future__ import annotations

from dataclasses import dataclass

from shared.errors import InputError
from shared.tasks import Reading
from shared.tasks.table_files import TableFile

PAIRS = (
    ("sentence1", "sentence2"),
    ("question1", "question2"),
    ("premise", "hypothesis"),
    ("text1", "text2"),
    ("text_a", "text_b"),
    ("text", "text_pair"),
    ("question", "sentence"),
)
TEXTS = ("text", "sentence", "content", "review", "tweet", "document")
LABELS = ("label", "labels", "gold_label", "class", "category", "target", "is_duplicate")
IDS = ("id", "idx", "index", "guid")
"""Usual names of columns, in any case."""


@dataclass(frozen=True)
class Columns:
    """Names of the columns that are read."""

    text: str
    pair: str | None
    label: str
    id: str | None

    @property
    def texts(self) -> list[str]:
        """The columns of texts."""
        return [name for name in (self.text, self.pair) if name is not None]

    @property
    def shown(self) -> str:
        """The columns, for people."""
        return f"texts in {' and '.join(map(repr, self.texts))}, labels in {self.label!r}"


def find_columns(table: TableFile, reading: Reading) -> Columns:
    """Finds the columns in a file that has labels. Raises InputError if one that is named is not there, if none has a
    usual name, if several have, and if the header has one of them twice."""
    for option, name in (("text", reading.text), ("pair", reading.pair), ("label", reading.label), ("id", reading.id)):
        if name is not None and name not in table.columns:
            raise InputError(f"{table.path} has no column {name!r} for --{option}-column; it has {_listed(table)}")
    label = reading.label or _one(table, "label", _usual(table, LABELS, (reading.text, reading.pair)))
    text, pair = _texts(table, reading, label)
    found = Columns(text, pair, label, reading.id or next(iter(_usual(table, IDS, (text, pair, label))), None))
    if len({*found.texts, label}) < len(found.texts) + 1:
        raise InputError(f"{table.path}: one column is given for two things; name each of text, pair and label once")
    for name in (*found.texts, label):
        if table.columns.count(name) > 1:
            raise InputError(f"{table.path}: its header has {name!r} twice; rename one")
    return found


def _texts(table: TableFile, reading: Reading, label: str) -> tuple[str, str | None]:
    if reading.text is not None:
        return reading.text, reading.pair
    if reading.pair is not None:
        raise InputError(f"--pair-column {reading.pair}: pass --text-column too, which the first texts are in")
    pairs = [found for names in PAIRS if len(found := _usual(table, names, (label,))) == 2]
    in_pairs = {name for pair in pairs for name in pair}
    singles = [name for name in _usual(table, TEXTS, (label,)) if name not in in_pairs]
    others = [name for name in table.columns if name != label and name.lower() not in IDS]
    if not pairs and not singles and len(others) == 1:
        return others[0], None
    if len(pairs) == 1 and not singles:
        return pairs[0][0], pairs[0][1]
    return _one(table, "text", singles + sorted(in_pairs)), None


def _usual(table: TableFile, names: tuple[str, ...], taken: tuple[str | None, ...]) -> list[str]:
    """The file's columns of these names, in the names' order, without those taken."""
    return [
        column
        for name in names
        for column in dict.fromkeys(table.columns)
        if column.lower() == name and column not in taken
    ]


def _one(table: TableFile, what: str, found: list[str]) -> str:
    if len(found) == 1:
        return found[0]
    many = f"{' and '.join(map(repr, found))} could each be" if found else "none has a usual name of"
    raise InputError(f"{table.path}: {many} the {what} among its columns {_listed(table)}; pass --{what}-column")


def _listed(table: TableFile) -> str:
    """The header's names, shortened: a file without a header shows its first row here."""
    return ", ".join(repr(name if len(name) <= 30 else name[:30] + "…") for name in table.columns[:12])
