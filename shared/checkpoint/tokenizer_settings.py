"""Gathers what the files of a folder say about its tokenizer, as transformers 5 does
(`PreTrainedTokenizerBase._from_pretrained`)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from shared.errors import InputError
from shared.limits import ADDED_TOKENS, TOKENIZER_PARTS
from shared.parsing import parse_json, small_text

Kind = Literal["bert", "whole"]
"""`bert` is built from a vocabulary and tokenizer_config.json; `whole` is tokenizer.json as it is."""

CLASSES: dict[str, tuple[Kind, bool]] = {
    "BertTokenizer": ("bert", True),
    "ElectraTokenizer": ("bert", True),
    "LayoutLMTokenizer": ("bert", True),
    "LxmertTokenizer": ("bert", True),
    "MobileBertTokenizer": ("bert", True),
    "SqueezeBertTokenizer": ("bert", True),
    "DistilBertTokenizer": ("bert", False),
    "PreTrainedTokenizer": ("whole", False),
    "TokenizersBackend": ("whole", False),
}
"""Classes that tokenizer_class may name, each with its kind and whether it gives token types. `Fast` may follow."""

NAMED = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
"""Fields of special tokens, in transformers' order."""

DEFAULTS = {name: f"[{name.removesuffix('_token').upper()}]" for name in NAMED[2:]}
"""BERT's special tokens, which hold if no file names others."""

NORMALIZER = {
    "do_lower_case": ("lowercase", True),
    "tokenize_chinese_chars": ("handle_chinese_chars", True),
    "strip_accents": ("strip_accents", None),
}
"""Fields of tokenizer_config.json. Each has its name in `tokenizers`, and the value that transformers takes if it is
missing."""

WITHOUT_EFFECT = ("never_split", "do_basic_tokenize")
"""Fields of tokenizer_config.json that transformers 5 does not use."""

REFUSED = ("auto_map", "fast_tokenizer_files", "init_inputs")
"""Fields of tokenizer_config.json that are refused: code of its own, other versions of tokenizer.json, arguments."""


@dataclass(frozen=True)
class TokenizerSettings:
    """Settings in the files of a folder, before a tokenizer is built. A special token is text, or a
    `tokenizers.AddedToken`."""

    folder: Path
    name: str
    """The class, without `Fast`; a key of CLASSES."""
    fields: dict[str, Any]
    """Fields of tokenizer_config.json, those of special_tokens_map.json over them."""
    own: dict[str, Any]
    """Special tokens that are named, but by none of NAMED."""
    extra: list[Any]
    """Special tokens without a name."""
    added: list[Any]
    """Added tokens (`tokenizers.AddedToken`), in the order of the ids that their files give."""
    content: dict[str, Any] | None
    """tokenizer.json."""

    @property
    def kind(self) -> Kind:
        """The kind of its class."""
        return CLASSES[self.name][0]

    @property
    def config_file(self) -> Path:
        """The file that error messages name."""
        return self.folder / "tokenizer_config.json"

    def special(self) -> dict[str, Any]:
        """Every special token that has a name, in transformers' order."""
        found = {name: self.fields.get(name, DEFAULTS.get(name) if self.kind == "bert" else None) for name in NAMED}
        if self.kind == "whole" and found["pad_token"] is None:
            found["pad_token"] = ((self.content or {}).get("padding") or {}).get("pad_token")
        return {name: token for name, token in (found | self.own).items() if token is not None}

    def gives_types(self) -> bool:
        """Whether the second text of a pair has token type 1."""
        names = self.fields.get("model_input_names")
        return "token_type_ids" in names if isinstance(names, list) else CLASSES[self.name][1]


def read_settings(folder: Path) -> TokenizerSettings:
    """Gathers the settings of a folder whose class is in CLASSES. Raises InputError naming a file that cannot be read,
    or a setting that is not supported."""
    config_file = folder / "tokenizer_config.json"
    fields = json_object(config_file)
    name = class_name(folder)
    for refused in REFUSED:
        if fields.get(refused):
            raise InputError(f"{config_file}: {refused} is not supported; pass a checkpoint without it")
    content = _tokenizer_json(folder / "tokenizer.json")
    try:
        settings = _gathered(folder, name, fields, content)
    except InputError:
        raise
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError) as error:
        raise InputError(f"{config_file}: a special or added token is malformed ({error}); restore the file") from None
    _refuse_left(settings)
    return settings


def class_name(folder: Path) -> str:
    """The class that the folder names, without `Fast`. Raises InputError for a file that cannot be read."""
    named = json_object(folder / "tokenizer_config.json").get("tokenizer_class")
    named = str(named or json_object(folder / "config.json").get("tokenizer_class") or "BertTokenizer")
    others = {"PreTrainedTokenizerFast": "TokenizersBackend", "PythonBackend": "PreTrainedTokenizer"}
    return others.get(named, named.removesuffix("Fast"))


def _gathered(folder: Path, name: str, fields: dict[str, Any], content: dict[str, Any] | None) -> TokenizerSettings:
    if "additional_special_tokens" in fields and not fields.get("extra_special_tokens"):
        fields["extra_special_tokens"] = fields.pop("additional_special_tokens")
    own = {key: fields.pop(key) for key in list(fields) if _is_own(key, fields[key]) and isinstance(fields[key], str)}
    if isinstance(fields.get("extra_special_tokens"), dict):
        own |= fields.pop("extra_special_tokens")
    added: dict[int, Any] = {}
    if "added_tokens_decoder" in fields:
        added = {int(id): token_of(token) for id, token in fields["added_tokens_decoder"].items()}
    else:
        _take_map(json_object(folder / "special_tokens_map.json"), fields, own)
        special = {text_of(fields[key]) for key in NAMED if fields.get(key)}
        special |= {text_of(token) for token in fields.get("extra_special_tokens") or []}
        for text, id in json_object(folder / "added_tokens.json").items():
            added[int(id)] = token_of({"content": text, "normalized": text not in special, "special": text in special})
        added |= {int(one["id"]): token_of(one) for one in (content or {}).get("added_tokens", [])}
    of_text = {text_of(token): token for token in added.values()}
    for key in NAMED:
        if fields.get(key) is not None:
            fields[key] = of_text.get(text_of(fields[key]), token_of(fields[key]))
    if len(added) > ADDED_TOKENS:
        raise InputError(f"{folder} adds {len(added):,} tokens, and {ADDED_TOKENS:,} are taken at most")
    unnamed = fields.get("extra_special_tokens", fields.get("additional_special_tokens")) or []
    if len(unnamed) + len(own) > ADDED_TOKENS:
        raise InputError(f"{folder} has more than {ADDED_TOKENS:,} special tokens; pass another tokenizer")
    later = {key: token_of(token) for key, token in fields.items() if _is_own(key, token)}
    return TokenizerSettings(
        folder=folder,
        name=name,
        fields=fields,
        own=later | {key: token_of(token) for key, token in own.items()},
        extra=[token_of(token) for token in unnamed],
        added=[added[id] for id in sorted(added)],
        content=content,
    )


def _take_map(tokens: dict[str, Any], fields: dict[str, Any], own: dict[str, Any]) -> None:
    """Takes the content of special_tokens_map.json into the other fields, over those of tokenizer_config.json."""
    for key, value in tokens.items():
        if key == "extra_special_tokens" and isinstance(value, list):
            there = list(fields.get(key) or [])
            fields[key] = there + [token for token in value if token not in there]
        elif key == "extra_special_tokens" and isinstance(value, dict):
            own |= value
        else:
            fields[key] = value | {"special": True} if isinstance(value, dict) else value


def _is_own(key: str, value: Any) -> bool:
    """Whether the field is a special token that none of NAMED names."""
    return key.endswith("_token") and key not in NAMED and isinstance(value, str | dict)


def token_of(token: Any) -> Any:
    """The token as `tokenizers` takes it: text stays text, properties become an AddedToken."""
    from tokenizers import AddedToken

    if isinstance(token, str | AddedToken):
        return token
    if not isinstance(token, dict) or not isinstance(token.get("content"), str):
        raise TypeError(f"{token!r} is no token")
    known = ("content", "single_word", "lstrip", "rstrip", "normalized", "special")
    return AddedToken(**{name: value for name, value in token.items() if name in known})


def text_of(token: Any) -> str:
    """The text of a token, which files write plain or with its properties."""
    return str(token["content"] if isinstance(token, dict) else token)


def _refuse_left(settings: TokenizerSettings) -> None:
    """Raises InputError if texts are to be cut or padded at their left."""
    for side, part in (("truncation_side", "truncation"), ("padding_side", "padding")):
        file, value = settings.config_file, settings.fields.get(side)
        if value is None:
            within = (settings.content or {}).get(part)
            file = settings.folder / "tokenizer.json"
            value = str(within.get("direction", "right")).lower() if isinstance(within, dict) else "right"
        if value != "right":
            raise InputError(f"{file}: {side} {value!r} is not supported; set it to 'right'")


def _tokenizer_json(file: Path) -> dict[str, Any] | None:
    """The content of tokenizer.json, which holds a model; None if there is no such file. Raises InputError."""
    if not file.is_file():
        return None
    content = json_object(file)
    if not isinstance(content.get("model"), dict):
        raise InputError(f"{file} cannot be read (it has no model); restore the checkpoint's file")
    parts = sum(_count_parts(part) for name, part in content.items() if name not in ("model", "added_tokens"))
    if parts > TOKENIZER_PARTS:
        raise InputError(f"{file} has {parts:,} parts, and {TOKENIZER_PARTS:,} are run at most; pass another tokenizer")
    return content


def _count_parts(part: Any) -> int:
    if isinstance(part, dict):
        return 1 + sum(map(_count_parts, part.values()))
    return sum(map(_count_parts, part)) if isinstance(part, list) else 0


def json_object(file: Path) -> dict[str, Any]:
    """Reads a JSON object; an empty one if there is no such file. Raises InputError if the file holds something
    else."""
    if not file.is_file():
        return {}
    try:
        content = parse_json(small_text(file))
    except ValueError as error:
        fault = "cannot be read" if file.name == "tokenizer.json" else "is no JSON"
        raise InputError(f"{file} {fault} ({error}); restore the checkpoint's file") from None
    if not isinstance(content, dict):
        raise InputError(f"{file} holds no JSON object; restore the checkpoint's file")
    return content
