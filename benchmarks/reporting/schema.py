"""Writes docs/record.schema.json, the JSON schema of a record: python -m benchmarks.reporting.schema"""

from __future__ import annotations

import ast
import inspect
import itertools
import textwrap
from dataclasses import fields
from typing import Any

import msgspec

from benchmarks.workers.environments import CHECKOUT
from shared import answer, records
from shared.files import to_json, write_whole
from shared.recipe import Recipe
from shared.records import FORMAT, Record

SCHEMA = CHECKOUT / "docs" / "record.schema.json"


def record_schema() -> dict[str, Any]:
    """The schema of a record. Its descriptions are the docstrings of the types and of their fields."""
    schema = msgspec.json.schema(Record)
    definitions = schema["$defs"]
    for name, definition in definitions.items():
        kind = Recipe if name == "Recipe" else getattr(records, name, None) or getattr(answer, name)
        definition["description"] = _one_line(kind.__doc__)
        for field, text in _descriptions(kind).items():
            definition["properties"][field] = {"description": text} | definition["properties"][field]
    definitions["Recipe"]["additionalProperties"] = False  # Recipe.from_json refuses unknown fields
    definitions["Record"]["properties"]["format"] = {"const": FORMAT}
    definitions["Record"]["required"].insert(0, "format")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | schema


def schema_text() -> str:
    """The text of the file."""
    return to_json(record_schema(), indent=1) + "\n"


def _descriptions(kind: type) -> dict[str, str]:
    """The docstring of each of the type's fields, by name; for a recipe, the help text of its option."""
    if kind is Recipe:
        return {f.name: f.metadata["help"] for f in fields(Recipe)}
    found: dict[str, str] = {}
    for one in reversed(kind.__mro__):
        if not issubclass(one, msgspec.Struct) or one is msgspec.Struct:
            continue
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(one))).body
        assert isinstance(tree, ast.ClassDef)
        for field, text in itertools.pairwise(tree.body):
            match field, text:
                case ast.AnnAssign(target=ast.Name(name)), ast.Expr(value=ast.Constant(value=str(words))):
                    found[name] = _one_line(words)
    return found


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split())


def main() -> None:
    write_whole(SCHEMA, schema_text())


if __name__ == "__main__":
    main()
