"""The checkpoints that a room's `bare.py` can build."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from shared.architecture import Architecture
from shared.checkpoint.weights import WEIGHTS
from shared.errors import InputError


def check_bare(checkpoint: Path, architecture: Architecture) -> None:
    """Raises InputError if the bare scripts cannot build the checkpoint's network: they are a page each."""
    rates = set(asdict(architecture.dropout).values())
    asked = architecture.model_type, architecture.activation, architecture.layer_norm_eps, architecture.type_vocab_size
    if asked != ("bert", "gelu", 1e-12, 2) or len(rates) > 1 or not (checkpoint / WEIGHTS).is_file():
        raise InputError(
            f"the bare scripts cannot build {checkpoint}: they know BERT with gelu, layer_norm_eps 1e-12, two token "
            f"types and one dropout rate, in one {WEIGHTS}; pass minilm, random:bert-tiny, or another like these"
        )
