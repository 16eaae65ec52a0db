"""Reads the tokenizer of a checkpoint folder as AutoTokenizer of transformers 5 does.

`read_settings` (shared.checkpoint.tokenizer_settings) gathers what the folder's files say; this module builds what
transformers' BertTokenizer, or its PreTrainedTokenizerFast, builds of that.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, Literal

from shared.checkpoint.built_tokenizer import tokenizer_folder
from shared.checkpoint.former_tokenizer import former_tokenizer
from shared.checkpoint.tokenizer_settings import NORMALIZER, TokenizerSettings, read_settings, text_of
from shared.errors import InputError
from shared.files import hash_files, read_json

TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "tokenizer_config.json", "special_tokens_map.json")
"""Files of a checkpoint folder that belong to its tokenizer, but for ADDED_TOKENS."""

ADDED_TOKENS = "added_tokens.json"
"""The file of tokens that were added to a tokenizer before transformers 4.34."""

# Functions import `tokenizers` themselves: commands that encode nothing start faster without it.


def tokenizer_files(folder: Path) -> list[Path]:
    """Lists the files of the folder's tokenizer, in the order of TOKENIZER_FILES. They lie in the cache if transformers
    built it. Raises InputError if there is neither tokenizer.json nor vocab.txt, or the class is not supported."""
    return _listed(tokenizer_folder(folder))


def files_to_hash(folder: Path) -> list[Path]:
    """Lists the files of the folder's tokenizer that a checkpoint is known by: added_tokens.json only if it makes a
    difference. Raises InputError as `tokenizer_files` does."""
    if tokens_version(folder, pairs=False) == 2:
        return tokenizer_files(folder)
    return [file for file in _listed(folder) if file.name != ADDED_TOKENS]


def _listed(folder: Path) -> list[Path]:
    found = [folder / name for name in (*TOKENIZER_FILES, ADDED_TOKENS) if (folder / name).is_file()]
    if not found or found[0].name not in TOKENIZER_FILES[:2]:
        raise InputError(f"{folder} has no tokenizer.json and no vocab.txt; add the checkpoint's tokenizer files")
    return found


def read_tokenizer(folder: Path):  # type: ignore[no-untyped-def]
    """Builds the tokenizer that transformers builds from the folder. Raises InputError naming a file that cannot be
    read, or a setting that is not supported."""
    file = tokenizer_files(folder)[0]
    settings = read_settings(tokenizer_folder(folder))
    try:
        return _whole(settings) if settings.kind == "whole" else _bert(settings)
    except InputError:
        raise
    except Exception as error:  # tokenizers raises plain Exception
        raise InputError(f"{file} cannot be read ({error}); restore the checkpoint's file") from None


def _whole(settings: TokenizerSettings) -> Any:
    """The tokenizer that PreTrainedTokenizerFast makes of tokenizer.json."""
    from tokenizers import Tokenizer

    file = settings.folder / "tokenizer.json"
    if settings.content is None:
        raise InputError(f"{settings.folder} has no tokenizer.json, which its tokenizer_class needs; add it")
    tokenizer = Tokenizer.from_file(str(file))
    _add_tokens(tokenizer, settings)
    return tokenizer


def _bert(settings: TokenizerSettings) -> Any:
    """The tokenizer that BertTokenizer makes of the vocabulary, in vocab.txt or tokenizer.json, and the settings."""
    from tokenizers import Tokenizer, normalizers, pre_tokenizers, processors

    special = settings.special()
    unk, sep, cls = (text_of(special.get(f"{name}_token", "")) for name in ("unk", "sep", "cls"))
    tokenizer = Tokenizer(_word_pieces(settings, unk))
    there = {text_of(token) for token in settings.added}
    for name, token in (("unk", unk), ("sep", sep), ("cls", cls)):
        if tokenizer.token_to_id(token) is None and (name == "unk" or token not in there):
            file = tokenizer_files(settings.folder)[0]
            raise InputError(f"{file} has no {token or f'{name}_token'}; restore the checkpoint's file")
    tokenizer.normalizer = normalizers.BertNormalizer(
        **{ours: settings.fields.get(name, default) for name, (ours, default) in NORMALIZER.items()}
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    _add_tokens(tokenizer, settings)
    tokenizer.post_processor = processors.BertProcessing(
        (sep, tokenizer.token_to_id(sep)), (cls, tokenizer.token_to_id(cls))
    )
    return tokenizer


def _word_pieces(settings: TokenizerSettings, unk: str) -> Any:
    """The model of either file's vocabulary. Raises InputError if tokenizer.json is not BERT's, or has a normalizer
    that transformers would replace by another without a word."""
    from tokenizers import models

    if settings.content is None:
        return models.WordPiece.from_file(str(settings.folder / "vocab.txt"), unk_token=unk)
    file, content = settings.folder / "tokenizer.json", settings.content
    model, normalizer = content["model"], content.get("normalizer") or {}
    if model.get("type", "WordPiece") != "WordPiece" or not isinstance(model["vocab"], dict):
        raise InputError(f"{file}: its model is {model.get('type')!r}; pass a BERT or DistilBERT checkpoint")
    if normalizer.get("type") != "BertNormalizer":
        raise InputError(f"{file}: its normalizer is not BERT's; pass a BERT or DistilBERT checkpoint")
    for name, (ours, default) in NORMALIZER.items():
        if name not in settings.fields and normalizer.get(ours) != default:
            value = normalizer.get(ours)
            raise InputError(f"{file} has {ours} {value}, and tokenizer_config.json no {name}; add it there")
    return models.WordPiece(model["vocab"], unk_token=unk)


def _add_tokens(tokenizer: Any, settings: TokenizerSettings) -> None:
    """Adds the tokens that the files add, and special tokens that are missing, as TokenizersBackend of transformers
    does: an id follows from the order, not from the file."""
    from tokenizers import AddedToken

    tokenizer.encode_special_tokens = bool(settings.fields.get("split_special_tokens", False))
    named = settings.special()
    there = [token.content for token in tokenizer.get_added_tokens_decoder().values()]
    there += [text_of(token) for token in settings.added]
    tokens = list(settings.added)
    for token in (*named.values(), *settings.extra):
        if text_of(token) not in there and token not in tokens:
            tokens.append(token)
    names = {text_of(token) for token in named.values()}
    for number, token in enumerate(tokens):
        if isinstance(token, str):
            tokens[number] = AddedToken(token, special=True)
        elif not token.special and text_of(token) in names:
            token.special = True
    if tokens:
        tokenizer.add_tokens(tokens)


def gives_types(folder: Path) -> bool:
    """Whether the second text of a pair has token type 1 in a BERT network. A DistilBERT has no token types, and those
    that it is given mean nothing. Raises InputError as `read_tokenizer` does."""
    return read_settings(tokenizer_folder(folder)).gives_types() or not is_bert(folder)


def is_bert(folder: Path) -> bool:
    """Whether the folder's network has token types."""
    file = folder / "config.json"
    return not file.is_file() or read_json(file).get("model_type") == "bert"


def tokens_version(folder: Path, pairs: bool) -> Literal[1, 2]:
    """1 if texts (pairs, if so) have the ids and types that this project gave them when it did not follow
    added_tokens.json, special_tokens_map.json and tokenizer_class in all; else 2. Raises InputError as `read_tokenizer`
    does."""
    return _version(folder, pairs, hash_files([*tokenizer_files(folder), *folder.glob("config.json")]))


@cache
def _version(folder: Path, pairs: bool, digest: str) -> Literal[1, 2]:
    if pairs and not gives_types(folder):
        return 2
    former = former_tokenizer(folder)
    return 1 if former is not None and _behaviour(former) == _behaviour(read_tokenizer(folder)) else 2


def _behaviour(tokenizer: Any) -> list[Any]:
    """All that the ids of a text depend on, but for the vocabulary's own file."""
    tokenizer.no_padding()
    tokenizer.no_truncation()
    model, framed = tokenizer.model, tokenizer.encode("", "")
    word_pieces = [getattr(model, name, None) for name in ("unk_token", "continuing_subword_prefix", WORD)]
    steps = [repr(step) for step in (tokenizer.normalizer, tokenizer.pre_tokenizer)]
    # Space around an added token means nothing if all space is dropped.
    around = [] if steps[1] == "BertPreTokenizer()" else ["lstrip", "rstrip"]
    flags = ["content", "single_word", "normalized", "special", *around]
    added = {id: [getattr(token, flag) for flag in flags] for id, token in tokenizer.get_added_tokens_decoder().items()}
    size = tokenizer.get_vocab_size()
    return [size, *word_pieces, *steps, added, framed.ids, framed.type_ids, tokenizer.encode_special_tokens]


WORD = "max_input_chars_per_word"
"""The longest word that WordPiece splits."""
