"""Kinds of tokenizer folders as people have them, and seeded strings of every sort of character."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ENTITIES = ["[E1]", "[/E1]"]
COUNT = int(os.environ.get("CONCORD_TOKEN_STRINGS", "0"))
"""Generated strings of each kind, if many are asked for."""

SIZE = 30522 if COUNT else 4000
"""Entries of the folders' vocabulary: all of MiniLM's, or the first ones, which are read sooner."""


def plain(text: str, **properties: bool) -> dict[str, Any]:
    """A token with its properties, as tokenizer_config.json writes it."""
    usual = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True}
    return {"content": text} | usual | properties


DECODER = {
    "0": plain("[PAD]"),
    "100": plain("[UNK]"),
    "101": plain("[CLS]"),
    "102": plain("[SEP]"),
    "103": plain("[MASK]"),
}
MAP = {f"{name}_token": f"[{name.upper()}]" for name in ("unk", "sep", "pad", "cls", "mask")}

BASIC = {
    "do_lower_case": True,
    "do_basic_tokenize": True,
    "never_split": None,
    "strip_accents": None,
    "tokenize_chinese_chars": True,
    "clean_up_tokenization_spaces": True,
    "model_max_length": 512,
}
"""Fields that every tokenizer_config.json of a BERT has."""

Change = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Kind:
    """A kind of folder: the file that has its vocabulary, and the JSON files beside it."""

    config: dict[str, Any] = field(default_factory=dict)
    """tokenizer_config.json."""
    files: dict[str, Any] = field(default_factory=dict)
    """Other JSON files."""
    whole: bool = False
    """Whether the vocabulary is in tokenizer.json, not in vocab.txt."""
    change: Change | None = None
    """Changes tokenizer.json."""
    model: dict[str, Any] = field(default_factory=lambda: {"model_type": "bert"})
    """config.json."""
    swap: dict[str, str] = field(default_factory=dict)
    """Entries of the vocabulary under other names."""

    def write(self, source: Path, target: Path) -> Path:
        """Writes the folder, out of MiniLM's."""
        target.mkdir(parents=True, exist_ok=True)
        if self.whole:
            content = json.loads((source / "tokenizer.json").read_text(encoding="utf-8"))
            content |= {"truncation": None, "padding": None}
            content["model"]["vocab"] = {piece: n for piece, n in content["model"]["vocab"].items() if n < SIZE}
            if self.change:
                self.change(content)
            (target / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
        else:
            pieces = (source / "vocab.txt").read_text(encoding="utf-8").split("\n")[:SIZE]
            (target / "vocab.txt").write_text("\n".join(self.swap.get(p, p) for p in pieces) + "\n", encoding="utf-8")
        for name, content in {"config.json": self.model, "tokenizer_config.json": self.config, **self.files}.items():
            (target / name).write_text(json.dumps(content), encoding="utf-8")
        return target


def _normalizer(**fields: Any) -> Change:
    return lambda content: content["normalizer"].update(fields)


def _add(*tokens: dict[str, Any]) -> Change:
    """Adds tokens to tokenizer.json, with the ids after its vocabulary."""
    return lambda content: content["added_tokens"].extend({"id": SIZE + n} | one for n, one in enumerate(tokens))


def _without_added(content: dict[str, Any]) -> None:
    content["added_tokens"] = []


def _bpe(content: dict[str, Any]) -> None:
    """A tokenizer of another family, as some BERTs have."""
    pieces = {piece: n for n, piece in enumerate([*"abcdefghijklmnopqrstuvwxyz", "th", "the", "[UNK]"])}
    content["model"] = {"type": "BPE", "vocab": pieces, "merges": ["t h", "th e"], "unk_token": "[UNK]"}
    content |= {"added_tokens": [], "post_processor": None, "decoder": None}


WHOLE = {"tokenizer_class": "PreTrainedTokenizerFast"}
DISTILBERT = {"model_type": "distilbert"}
SPECIAL_NAMES = {"[CLS]": "<s>", "[SEP]": "</s>", "[UNK]": "<unk>", "[PAD]": "<pad>", "[MASK]": "<mask>"}
ADDED = {"[E1]": SIZE, "[/E1]": SIZE + 1}

KINDS: dict[str, Kind] = {
    "a vocabulary alone": Kind(),
    "cased": Kind({"do_lower_case": False}),
    "accents kept": Kind({"strip_accents": False}),
    "cased without accents": Kind({"do_lower_case": False, "strip_accents": True}),
    "Chinese in words": Kind({"tokenize_chinese_chars": False}),
    "never_split": Kind({"never_split": ["[E1]", "don't"], "do_basic_tokenize": True}),
    "no basic tokenizing": Kind({"do_basic_tokenize": False}),
    "added_tokens.json": Kind(files={"added_tokens.json": ADDED, "special_tokens_map.json": MAP}),
    "added_tokens.json, special": Kind(
        files={"added_tokens.json": ADDED, "special_tokens_map.json": MAP | {"additional_special_tokens": ENTITIES}}
    ),
    "added_tokens.json, extra": Kind({"additional_special_tokens": ENTITIES}, {"added_tokens.json": ADDED}),
    "added words of the vocabulary": Kind(files={"added_tokens.json": {"king": 2332, "new words": SIZE}}),
    "added with other ids": Kind(files={"added_tokens.json": {"[E2]": SIZE + 9, "[E1]": SIZE + 4}}),
    "added, with case": Kind({"do_lower_case": True}, {"added_tokens.json": {"CamelCase": SIZE, "Élan": SIZE + 1}}),
    "additional_special_tokens": Kind({"additional_special_tokens": ENTITIES}),
    "additional_special_tokens in the map": Kind(
        files={"special_tokens_map.json": MAP | {"additional_special_tokens": ENTITIES}}
    ),
    "extra_special_tokens": Kind({"extra_special_tokens": ENTITIES}),
    "extra_special_tokens by name": Kind({"extra_special_tokens": {"entity_token": "[E1]", "end_token": "[/E1]"}}),
    "a special token of its own": Kind({"entity_token": "[E1]", "do_lower_case": False}),
    "added_tokens_decoder": Kind(
        {"added_tokens_decoder": DECODER | {str(SIZE): plain("[E1]")}, "tokenizer_class": "BertTokenizer", **MAP}
    ),
    "decoder with stripping": Kind(
        {
            "added_tokens_decoder": DECODER
            | {
                str(SIZE): plain("[E1]", lstrip=True, rstrip=True),
                str(SIZE + 1): plain("goose", single_word=True, normalized=True, special=False),
            }
        }
    ),
    "decoder with other ids": Kind({"added_tokens_decoder": DECODER | {str(SIZE + 7): plain("[E1]", special=False)}}),
    "decoder over added_tokens.json": Kind({"added_tokens_decoder": DECODER}, {"added_tokens.json": ADDED}),
    "a mask that strips": Kind(files={"special_tokens_map.json": MAP | {"mask_token": plain("[MASK]", lstrip=True)}}),
    "a map over the config": Kind({"mask_token": "[E1]"}, {"special_tokens_map.json": {"mask_token": "[/E1]"}}),
    "tokens of another name": Kind(
        {f"{name}_token": SPECIAL_NAMES[f"[{name.upper()}]"] for name in ("cls", "sep", "unk", "pad", "mask")},
        swap=SPECIAL_NAMES,
    ),
    "no mask in the vocabulary": Kind(swap={"[MASK]": "masked"}),
    "no mask token": Kind({"mask_token": None}),
    "special tokens split": Kind({"split_special_tokens": True}),
    "class in config.json": Kind(model={"model_type": "bert", "tokenizer_class": "BertTokenizerFast"}),
    "an Electra tokenizer": Kind({"tokenizer_class": "ElectraTokenizerFast", "do_lower_case": True}),
    "DistilBERT": Kind({"tokenizer_class": "DistilBertTokenizer"}, model=DISTILBERT),
    "DistilBERT's tokenizer in a BERT": Kind({"tokenizer_class": "DistilBertTokenizerFast"}),
    "as transformers 4 saves a BERT": Kind(
        {"added_tokens_decoder": DECODER, "tokenizer_class": "BertTokenizer", **BASIC, **MAP},
        {"special_tokens_map.json": {name: plain(token) for name, token in MAP.items()}},
        whole=True,
    ),
    "as transformers 4 saves a DistilBERT": Kind(
        {"added_tokens_decoder": DECODER, "tokenizer_class": "DistilBertTokenizer", **BASIC, **MAP},
        {"special_tokens_map.json": MAP, "added_tokens.json": {}},
        whole=True,
        model=DISTILBERT,
    ),
    "as transformers 3 saves a BERT": Kind(BASIC | MAP, {"special_tokens_map.json": MAP, "added_tokens.json": {}}),
    "tokenizer.json": Kind(whole=True),
    "tokenizer.json, cased": Kind({"do_lower_case": False}, whole=True),
    "tokenizer.json without cleaning": Kind(whole=True, change=_normalizer(clean_text=False)),
    "tokenizer.json without added tokens": Kind(whole=True, change=_without_added),
    "tokenizer.json with added tokens": Kind(
        whole=True, change=_add(plain("[E1]"), plain("goose", normalized=True, special=False))
    ),
    "tokenizer.json and added_tokens.json": Kind(
        files={"added_tokens.json": ADDED}, whole=True, change=_add(plain("[E1]", special=False, normalized=True))
    ),
    "tokenizer.json and a decoder": Kind(
        {"added_tokens_decoder": DECODER}, whole=True, change=_add(plain("[E1]", special=False))
    ),
    "tokenizer.json, DistilBERT": Kind({"tokenizer_class": "DistilBertTokenizer"}, whole=True, model=DISTILBERT),
    "whole": Kind(WHOLE, whole=True),
    "whole, cased": Kind(WHOLE, whole=True, change=_normalizer(lowercase=False)),
    "whole, with a decoder": Kind(WHOLE | {"added_tokens_decoder": {str(SIZE): plain("[E1]")}}, whole=True),
    "whole, with types": Kind(WHOLE | {"model_input_names": ["input_ids", "token_type_ids"]}, whole=True),
    "whole, of a later version": Kind({"tokenizer_class": "TokenizersBackend", **MAP}, whole=True),
    "whole, by the slow class": Kind({"tokenizer_class": "PreTrainedTokenizer"}, whole=True),
    "whole, BPE": Kind(WHOLE, whole=True, change=_bpe),
}
"""Folders that transformers opens and this project opens too, with the same ids."""


def _unigram(content: dict[str, Any]) -> None:
    """The tokenizer of a multilingual MiniLM, which is a BERT with XLM-RoBERTa's."""
    words = [["\u2581", -2.0], ["\u2581the", -3.0], ["s", -4.0], ["a", -4.0], ["\u2581goose", -5.0], ["文", -6.0]]
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    content["model"] = {"type": "Unigram", "unk_id": 3, "vocab": [[name, 0.0] for name in special] + words}
    content["added_tokens"] = [{"id": n} | plain(name) for n, name in enumerate(special)]
    content["normalizer"], content["decoder"] = {"type": "NFKC"}, None
    content["pre_tokenizer"] = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always"}
    frame = {"type": "RobertaProcessing", "sep": ["</s>", 2], "cls": ["<s>", 0]}
    content["post_processor"] = frame | {"trim_offsets": True, "add_prefix_space": True}


BUILT: dict[str, Kind] = {
    "XLM-RoBERTa's": Kind({"tokenizer_class": "XLMRobertaTokenizer"}, whole=True, change=_unigram),
    "ConvBERT's": Kind({"tokenizer_class": "ConvBertTokenizer", "do_lower_case": False}),
    "MPNet's": Kind({"tokenizer_class": "MPNetTokenizerFast"}, whole=True),
    "a class that nobody has": Kind({"tokenizer_class": "KoBertTokenizer"}, whole=True),
}
"""Folders whose class this project does not have, and whose tokenizer transformers builds."""

REFUSED: dict[str, tuple[Kind, str]] = {
    "Japanese": (Kind({"tokenizer_class": "BertJapaneseTokenizer"}), "tokenizer_class 'BertJapaneseTokenizer'"),
    "multilingual MiniLM": (Kind({"tokenizer_class": "XLMRobertaTokenizer"}), "tokenizer_class 'XLMRobertaTokenizer'"),
    "a class of its own": (Kind({"tokenizer_class": "KoBertTokenizer"}), "tokenizer_class 'KoBertTokenizer'"),
    "a class in config.json": (
        Kind(model={"model_type": "bert", "tokenizer_class": "MPNetTokenizer"}),
        "'MPNetTokenizer'",
    ),
    "code of its own": (Kind({"auto_map": {"AutoTokenizer": ["a.B", None]}}), "auto_map is not supported"),
    "versioned files": (
        Kind({"fast_tokenizer_files": ["tokenizer.4.0.json"]}),
        "fast_tokenizer_files is not supported",
    ),
    "cut at the left": (Kind({"truncation_side": "left"}), "truncation_side 'left' is not supported"),
    "padded at the left": (Kind({"padding_side": "left"}), "padding_side 'left' is not supported"),
    "cut at the left by tokenizer.json": (
        Kind(whole=True, change=lambda c: c.update(truncation={"direction": "Left", "max_length": 9})),
        "truncation_side 'left' is not supported",
    ),
    "an unknown token": (Kind(swap={"[UNK]": "unknown"}), r"vocab.txt has no \[UNK\]"),
    "no separator": (Kind(swap={"[SEP]": "separator"}), r"vocab.txt has no \[SEP\]"),
    "a separator of another name": (Kind({"sep_token": "<sep>"}), "vocab.txt has no <sep>"),
    "a token that is a number": (Kind({"cls_token": 101}), "a special or added token is malformed"),
    "added tokens without text": (Kind({"added_tokens_decoder": {"1": {"special": True}}}), "token is malformed"),
    "added tokens that are numbers": (Kind({"additional_special_tokens": [1, 2]}), "token is malformed"),
    "no tokenizer.json": (Kind(WHOLE), "has no tokenizer.json, which its tokenizer_class needs"),
    "another family": (Kind(whole=True, change=_bpe), "its model is 'BPE'"),
    "another normalizer": (Kind(whole=True, change=lambda c: c.update(normalizer={"type": "NFC"})), "is not BERT's"),
    "two opinions of case": (Kind(whole=True, change=_normalizer(lowercase=False)), "has lowercase False"),
}
"""Folders that are refused, each with a part of the line that says why."""

RANGES = [
    (0x20, 0x7E), (0x20, 0x7E), (0xA0, 0x17F), (0x300, 0x36F), (0x370, 0x5FF), (0x600, 0x6FF), (0x900, 0x97F),
    (0xE00, 0xE7F), (0x1100, 0x11FF), (0x1E00, 0x1EFF), (0x2000, 0x206F), (0x20A0, 0x20CF), (0x3000, 0x30FF),
    (0x4E00, 0x9FFF), (0xAC00, 0xD7A3), (0xE000, 0xE00F), (0xFB00, 0xFB06), (0xFE00, 0xFE0F), (0xFF00, 0xFFEF),
    (0x1F300, 0x1F64F), (0x20000, 0x20010), (0x0, 0x1F), (0x7F, 0x9F), (0xFFF0, 0xFFFF),
]  # fmt: skip
"""Ranges of characters, twice as many of ASCII."""

SPACES = [" ", "  ", "\t", "\n", "\r\n", "\u00a0", "\u2003", "\u3000", "\u200b", "\u2028", "\v", ""]
PIECES = [
    *ENTITIES, "[E2]", "[e1]", "[CLS]", "[SEP]", "[MASK]", "[PAD]", "[UNK]", "[mask]", "<s>", "</s>", "<mask>",
    "goose", "Goose", "king", "kingdom", "new words", "CamelCase", "camelcase", "Élan", "elan", "don't", "##ing",
    "naïve", "CAFÉ", "İstanbul", "Straße", "ﬁn", "x" * 101, "中文字", "日本語テキスト", "한국어", "e\u0301", "the",
    "sat", "1,234.56", "%", "🙂", "👨‍👩‍👧",
]  # fmt: skip


def strings(count: int, seed: int = 16) -> list[str]:
    """Draws strings of pieces, of single characters and of spaces of every sort. None has a lone surrogate."""
    draw = random.Random(seed)
    return ["".join(_part(draw) for _ in range(draw.randint(0, 9))) for _ in range(count)]


def _part(draw: random.Random) -> str:
    characters = "".join(chr(draw.randint(*draw.choice(RANGES))) for _ in range(draw.randint(1, 6)))
    return (draw.choice(PIECES) if draw.random() < 0.6 else characters) + draw.choice(SPACES)
