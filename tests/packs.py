"""Makes small packs by hand, and ports of their parameters."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from shared.architecture import Weights

LAYERS, WIDTH, HEADS, FEED_FORWARD, VOCABULARY, POSITIONS = 2, 8, 2, 16, 20, 12
ROWS, TOKENS = 3, 5
SETTINGS = {
    "optimizer": "adamw",
    "learning_rate": 1e-3,
    "beta1": 0.9,
    "decayed": ["classifier.weight"],
    "dropout": 0.0,
    "layers": LAYERS,
    "heads": HEADS,
    "width": WIDTH,
}
HIDDEN = {
    "embeddings": [ROWS, TOKENS, WIDTH],
    **{f"layers/{n}": [ROWS, TOKENS, WIDTH] for n in range(LAYERS)},
    "pooled": [ROWS, WIDTH],
}


def shapes(layers: int = LAYERS, width: int = WIDTH, feed_forward: int = FEED_FORWARD) -> dict[str, tuple[int, ...]]:
    """Shapes of a BERT classifier's parameters, under HuggingFace's names and in their order."""
    found: dict[str, tuple[int, ...]] = {
        "bert.embeddings.word_embeddings.weight": (VOCABULARY, width),
        "bert.embeddings.position_embeddings.weight": (POSITIONS, width),
        "bert.embeddings.token_type_embeddings.weight": (2, width),
    }

    def add(name: str, *shape: int) -> None:
        found[f"{name}.weight"] = shape
        found[f"{name}.bias"] = shape[:1]

    add("bert.embeddings.LayerNorm", width)
    for n in range(layers):
        layer = f"bert.encoder.layer.{n}"
        for name in ("self.query", "self.key", "self.value", "output.dense"):
            add(f"{layer}.attention.{name}", width, width)
        add(f"{layer}.attention.output.LayerNorm", width)
        add(f"{layer}.intermediate.dense", feed_forward, width)
        add(f"{layer}.output.dense", width, feed_forward)
        add(f"{layer}.output.LayerNorm", width)
    add("bert.pooler.dense", width, width)
    add("classifier", 2, width)
    return found


def weights(seed: int = 0, **sizes: int) -> Weights:
    """Parameters of a BERT classifier, float32, all of them drawn at random."""
    random = np.random.default_rng(seed)
    return {name: random.standard_normal(shape, np.float32) for name, shape in shapes(**sizes).items()}


def untrained(seed: int = 0, **sizes: int) -> Weights:
    """Parameters as a fresh BERT has them: every bias is zero, every LayerNorm's weight is one."""
    drawn = weights(seed, **sizes)
    for name, array in drawn.items():
        if name.endswith("bias"):
            array[...] = 0
        elif "LayerNorm" in name:
            array[...] = 1
    return drawn


def write_pack(folder: Path, pack_id: str = "0123456789abcdef", form: int = 1) -> Path:
    """Writes a pack of five runs, and returns its folder."""
    (folder / "batches").mkdir(parents=True)
    parameters = weights()
    np.savez(folder / "weights.npz", **parameters)  # type: ignore[arg-type]
    runs: list[dict[str, Any]] = []
    wanted: dict[str, Any] = {}
    for name, trains, steps in (("eval", 0, 1), ("dropout", 0, 1), ("train", 1, 2), ("dev", 0, 2), ("steep", 1, 2)):
        start = "train" if name == "dev" else "weights.npz"
        run: dict[str, Any] = {"name": name, "trains": bool(trains), "weights": start, "settings": SETTINGS}
        run["steps"] = []
        wanted[name] = {"0": {"parameters": "parameters"}}
        for step in map(str, range(1, steps + 1)):
            batch = f"batches/{name}-{step}.npz"
            np.savez(folder / batch, **_batch(int(step)))  # type: ignore[arg-type]
            run["steps"].append({"name": step, "batch": batch, "learning_rate": 1e-3 * int(step)})
            wanted[name][step] = _wanted(name, bool(trains))
        runs.append(run)
    pack = {"format": form, "id": pack_id, "about": "a toy", "model_type": "bert", "runs": runs}
    (folder / "pack.json").write_text(json.dumps(pack))
    named = {name: list(array.shape) for name, array in parameters.items()}
    parts = {"parameters": named, "gradients": named, "clipped": named}
    (folder / "wanted.json").write_text(json.dumps({"format": 1, "parts": parts, "runs": wanted}))
    return folder


def _batch(seed: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    ids = random.integers(1, VOCABULARY, (ROWS, TOKENS))
    ones = np.ones_like(ids)
    return {
        "input_ids": ids,
        "token_type_ids": ones * 0,
        "attention_mask": ones,
        "labels": random.integers(0, 2, ROWS),
    }


def _wanted(run: str, trains: bool) -> dict[str, Any]:
    if run == "dropout":
        return {"hidden": {"embeddings": HIDDEN["embeddings"]}}
    wanted: dict[str, Any] = {"hidden": HIDDEN, "logits": {"value": [ROWS, 2]}, "loss": {"value": []}}
    if trains:
        named = {part: part for part in ("gradients", "clipped", "parameters")}
        wanted |= {**named, "norm": {"value": []}}
    return wanted
