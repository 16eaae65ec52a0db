"""The tokenizer that this project built of a folder before it followed added_tokens.json, special_tokens_map.json and
tokenizer_class in all. Cells of folders for which both agree keep their ids."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from shared.checkpoint.tokenizer_settings import NORMALIZER, json_object, text_of
from shared.errors import InputError


def former_tokenizer(folder: Path) -> Any:
    """The tokenizer; None if the folder was refused."""
    try:
        return _former(folder)
    except Exception:  # tokenizers raises plain Exception
        return None


def _former(folder: Path) -> Any:
    config_file = folder / "tokenizer_config.json"
    config = json_object(folder / "special_tokens_map.json") | json_object(config_file)
    for side in ("truncation_side", "padding_side"):
        if config.get(side, "right") != "right":
            raise InputError(f"{config_file}: {side} {config[side]!r}")
    whole, vocabulary = folder / "tokenizer.json", folder / "vocab.txt"
    tokenizer = _from_json(whole, config) if whole.is_file() else _from_vocabulary(vocabulary, config)
    for id, added in config.get("added_tokens_decoder", {}).items():
        if tokenizer.token_to_id(text_of(added)) != int(id):
            raise InputError(f"{config_file} adds token {text_of(added)!r}")
    return tokenizer


# Functions import `tokenizers` themselves: commands that encode nothing start faster without it.
def _from_vocabulary(file: Path, config: dict[str, Any]):  # type: ignore[no-untyped-def]
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    special = {name: text_of(config.get(f"{name}_token") or f"[{name.upper()}]") for name in ("unk", "sep", "cls")}
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
