"""Reads the tokenizer of a checkpoint folder as transformers does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from shared.errors import InputError

TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "tokenizer_config.json", "special_tokens_map.json")
"""Files of a checkpoint folder that belong to its tokenizer."""


def tokenizer_files(folder: Path) -> list[Path]:
    """Lists the files in TOKENIZER_FILES that the folder has. Raises InputError if it has neither tokenizer.json nor
    vocab.txt."""
    found = [folder / name for name in TOKENIZER_FILES if (folder / name).is_file()]
    if not found or found[0].name not in TOKENIZER_FILES[:2]:
        raise InputError(f"{folder} has no tokenizer.json and no vocab.txt; add the checkpoint's tokenizer files")
    return found


def read_tokenizer(folder: Path):  # type: ignore[no-untyped-def]
    """Builds the tokenizer that transformers builds from the folder. Raises InputError naming a file that cannot be
    read, or a setting that is not supported."""
    config_file = folder / "tokenizer_config.json"
    config = _json(folder / "special_tokens_map.json") | _json(config_file)
    for side in ("truncation_side", "padding_side"):
        if config.get(side, "right") != "right":
            raise InputError(f"{config_file}: {side} {config[side]!r} is not supported; set it to 'right'")
    file = tokenizer_files(folder)[0]
    try:
        tokenizer = _from_vocabulary(file, config) if file.name == "vocab.txt" else _from_json(file, config)
    except InputError:
        raise
    except Exception as error:  # tokenizers raises plain Exception
        raise InputError(f"{file} cannot be read ({error}); restore the checkpoint's file") from None
    for id, added in config.get("added_tokens_decoder", {}).items():
        if tokenizer.token_to_id(_text(added)) != int(id):
            raise InputError(f"{config_file} adds token {_text(added)!r}, which {file} lacks; add it there as id {id}")
    return tokenizer


NORMALIZER = {
    "do_lower_case": ("lowercase", True),
    "tokenize_chinese_chars": ("handle_chinese_chars", True),
    "strip_accents": ("strip_accents", None),
}
"""Fields of tokenizer_config.json. Each has its name in `tokenizers`, and the value that transformers takes if it is
missing."""


# These two functions import `tokenizers` themselves: commands that encode nothing start faster without it.
def _from_vocabulary(file: Path, config: dict[str, Any]):  # type: ignore[no-untyped-def]
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    special = {name: _text(config.get(f"{name}_token") or f"[{name.upper()}]") for name in ("unk", "sep", "cls")}
    tokenizer = Tokenizer(models.WordPiece.from_file(str(file), unk_token=special["unk"]))
    for token in special.values():
        if tokenizer.token_to_id(token) is None:
            raise InputError(f"{file} has no {token}; restore the checkpoint's file")
    tokenizer.add_special_tokens(
        [t for t in (*special.values(), "[PAD]", "[MASK]") if tokenizer.token_to_id(t) is not None]
    )
    tokenizer.normalizer = normalizers.BertNormalizer(
        **{ours: config.get(name, default) for name, (ours, default) in NORMALIZER.items()}
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    sep, cls = ((special[name], tokenizer.token_to_id(special[name])) for name in ("sep", "cls"))
    tokenizer.post_processor = processors.BertProcessing(sep, cls)
    return tokenizer


def _from_json(file: Path, config: dict[str, Any]):  # type: ignore[no-untyped-def]
    from tokenizers import Tokenizer, normalizers

    tokenizer = Tokenizer.from_file(str(file))
    if config.get("tokenizer_class") in ("PreTrainedTokenizerFast", "TokenizersBackend"):
        return tokenizer  # for these classes transformers takes the file as it is; for BERT's own the config decides
    if not isinstance(tokenizer.normalizer, normalizers.BertNormalizer):
        raise InputError(f"{file}: its normalizer is not BERT's; pass a BERT or DistilBERT checkpoint")
    for name, (ours, default) in NORMALIZER.items():
        value = getattr(tokenizer.normalizer, ours)
        if name not in config and value != default:
            raise InputError(f"{file} has {ours} {value}, and tokenizer_config.json no {name}; add it there")
        setattr(tokenizer.normalizer, ours, config.get(name, default))
    return tokenizer


def _json(file: Path) -> dict[str, Any]:
    """Reads a JSON object; an empty one if there is no such file. Raises InputError if the file holds something
    else."""
    if not file.is_file():
        return {}
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{file} is no JSON ({error}); restore the checkpoint's file") from None
    if not isinstance(content, dict):
        raise InputError(f"{file} holds no JSON object; restore the checkpoint's file")
    return content


def _text(token: str | dict[str, Any]) -> str:
    """The text of a token, which tokenizer_config.json writes plain or with its properties."""
    return token if isinstance(token, str) else token["content"]
