"""Builds a folder's tokenizer by transformers, and keeps it as tokenizer.json: python -m backends.torch.build_tokenizer
SRC_FOLDER DST_FOLDER

No code of the folder is run.
"""

from __future__ import annotations

import sys
from pathlib import Path

from shared.errors import InputError, tell
from shared.files import write_json


def build(source: Path, target: Path) -> None:
    """Writes tokenizer.json and tokenizer_config.json into `target`. Raises InputError if transformers cannot open the
    tokenizer, or if it is no tokenizer of the library `tokenizers`."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False, local_files_only=True)
    except Exception as error:  # each class has its own for what it lacks
        raise InputError((str(error).strip() or type(error).__name__).splitlines()[0]) from None
    if not tokenizer.is_fast:
        raise InputError(f"transformers runs {type(tokenizer).__name__} in Python")
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    tokenizer.backend_tokenizer.save(str(target / "tokenizer.json"))
    kept = ("model_input_names", "truncation_side", "padding_side", "split_special_tokens")
    longest = tokenizer.model_max_length
    write_json(
        target / "tokenizer_config.json",
        {"tokenizer_class": "PreTrainedTokenizerFast"}
        | {name: getattr(tokenizer, name) for name in kept}
        | ({"model_max_length": longest} if longest < 10**9 else {}),
    )


def main(arguments: list[str]) -> int:
    """Builds the tokenizer of the first folder into the second. Prints an error in one line, and returns 2 for one."""
    try:
        build(*map(Path, arguments))
    except InputError as error:
        tell(str(error))
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
