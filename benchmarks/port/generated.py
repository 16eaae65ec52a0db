"""The default pack's source: a small BERT and generated ids, made so that mistakes show.

Two layers of 64, a vocabulary of 1,000. Rows differ in length, have two segments and repeat tokens; one has the pad
token as real text. The reference moves every parameter by a normal number times PERTURB: smaller moves leave the rows'
logits nearly equal, and a tanh GELU then moves the loss by a few roundings only.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from shared.files import write_json
from shared.pack import Arrays

PERTURB = 0.2
CONFIG = {
    "model_type": "bert",
    "vocab_size": 1000,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 256,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "max_position_embeddings": 64,
    "type_vocab_size": 2,
    "pad_token_id": 0,
    "initializer_range": 0.02,
    "id2label": {"0": "0", "1": "1", "2": "2"},
    "label2id": {"0": 0, "1": 1, "2": 2},
}
"""Three labels: with two, several losses are one function."""

IDS = (4, 300)
"""Ids are drawn from these, so that they repeat within a batch."""
START, END = 1, 2
STEPS, WARM_UP_STEPS = 6, 2
"""Training steps, and those in which the rate rises."""
SEED = 14


def write_source(folder: Path, config: dict[str, object], batches: dict[str, tuple[int, int]]) -> None:
    """Writes config.json, and a file batches/NAME.npz for each name with its rows and tokens."""
    write_json(folder / "config.json", config)
    (folder / "batches").mkdir()
    random = np.random.RandomState(SEED)
    vocabulary, types = int(str(config["vocab_size"])), int(str(config.get("type_vocab_size", 1)))
    labels = len(config["id2label"])  # type: ignore[arg-type]
    pad = int(str(config.get("pad_token_id") or 0))
    for name, (rows, width) in batches.items():
        batch = make_batch(random, rows, width, min(vocabulary, IDS[1]), types > 1, labels, pad)
        np.savez(folder / "batches" / f"{name}.npz", **batch)  # type: ignore[arg-type]


def make_batch(
    random: np.random.RandomState, rows: int, width: int, vocabulary: int, pairs: bool, labels: int, pad: int
) -> Arrays:
    """Draws a batch, int64 [rows, width] and labels [rows]. The first row has no padding; the second has the pad token
    as real text, in its middle."""
    ids = np.full((rows, width), pad, np.int64)
    types, mask = np.zeros_like(ids), np.zeros_like(ids)
    for row in range(rows):
        length = width if row == 0 else int(random.randint(width // 2, width))
        split = int(random.randint(3, length - 2))
        ids[row, :length] = random.randint(IDS[0], vocabulary, length)
        ids[row, 0], ids[row, split], ids[row, length - 1] = START, END, END
        types[row, split + 1 : length] = int(pairs)
        mask[row, :length] = 1
    if rows > 1:
        ids[1, 2] = pad
    return {
        "input_ids": ids,
        "token_type_ids": types,
        "attention_mask": mask,
        "labels": random.randint(0, labels, rows).astype(np.int64),
    }
