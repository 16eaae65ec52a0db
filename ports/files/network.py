"""BERT for sequence classification in numpy: its layout of the weights, and the loss's gradient by hand.

Kernels are [in, out]; query, key and value are one matrix. Stands for the library that a port in C++ has.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Arrays = dict[str, Any]
erf = np.frompyfunc(math.erf, 1, 1)


def ours(weights: Arrays, layers: int) -> Arrays:
    """HuggingFace's arrays under our names and in our layout, contiguous."""
    w = {name.replace("bert.", ""): array if "embeddings." in name else array.T for name, array in weights.items()}
    for n in range(layers):
        for kind in ("weight", "bias"):
            parts = [w.pop(f"encoder.layer.{n}.attention.self.{part}.{kind}") for part in ("query", "key", "value")]
            w[f"encoder.layer.{n}.qkv.{kind}"] = np.concatenate(parts, axis=-1)
    return {name.replace("encoder.layer.", "block").replace(".", "_"): np.array(a, order="C") for name, a in w.items()}


def softmax(x: Any) -> Any:
    """Along the last axis."""
    powers = np.exp(x - x.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


class Bert:
    """Weights and settings, and of the last batch its gradients and what they take."""

    def __init__(self, weights: Arrays, settings: dict[str, Any], seed: int) -> None:
        self.w, self.s, self.random = weights, settings, np.random.RandomState(seed)
        self.gradients: Arrays = {}
        self.kept: list[Any] = []
        """For each layer, what its backward pass takes."""

    def dense(self, x: Any, name: str) -> Any:
        """x [b, s, in] to [b, s, out]."""
        return x @ self.w[name + "_weight"] + self.w[name + "_bias"]

    def dense_back(self, d: Any, name: str, x: Any) -> Any:
        """Keeps the gradients of a dense layer's parameters. Returns that of its input."""
        self.gradients[name + "_weight"] = np.tensordot(x, d, ((0, 1), (0, 1)))
        self.gradients[name + "_bias"] = d.sum((0, 1))
        return d @ self.w[name + "_weight"].T

    def norm(self, x: Any, name: str) -> tuple[Any, Any]:
        """LayerNorm's output, and what its backward pass takes."""
        centred = x - x.mean(-1, keepdims=True)
        deviation = np.sqrt((centred**2).mean(-1, keepdims=True) + self.s["layer_norm_eps"])
        unit = centred / deviation
        return unit * self.w[name + "_weight"] + self.w[name + "_bias"], (unit, deviation)

    def norm_back(self, d: Any, name: str, unit: Any, deviation: Any) -> Any:
        """Keeps the gradients of a LayerNorm's parameters. Returns that of its input."""
        self.gradients[name + "_weight"], self.gradients[name + "_bias"] = (d * unit).sum((0, 1)), d.sum((0, 1))
        d = d * self.w[name + "_weight"]
        return (d - d.mean(-1, keepdims=True) - unit * (d * unit).mean(-1, keepdims=True)) / deviation

    def layer(self, x: Any, mask: Any, at: str) -> Any:
        """Output [b, s, width] of an encoder layer."""
        b, s, width = x.shape
        q, k, v = self.dense(x, at + "qkv").reshape(b, s, 3, self.s["heads"], -1).transpose(2, 0, 3, 1, 4)
        chances = softmax(q @ k.swapaxes(2, 3) / math.sqrt(width // self.s["heads"]) + mask)
        mixed = (chances @ v).swapaxes(1, 2).reshape(x.shape)
        summed = x + self.dense(mixed, at + "attention_output_dense")
        middle, first = self.norm(summed, at + "attention_output_LayerNorm")
        wide = self.dense(middle, at + "intermediate_dense")
        below = ((1 + erf(wide / math.sqrt(2))) / 2).astype(x.dtype)
        summed = middle + self.dense(wide * below, at + "output_dense")
        out, second = self.norm(summed, at + "output_LayerNorm")
        self.kept.append((x, q, k, v, chances, mixed, first, middle, wide, below, second))
        return out

    def layer_back(self, d: Any, at: str) -> Any:
        """The gradient of a layer's input."""
        x, q, k, v, chances, mixed, first, middle, wide, below, second = self.kept.pop()
        d = self.norm_back(d, at + "output_LayerNorm", *second)
        slope = below + wide * np.exp(-(wide**2) / 2) / math.sqrt(2 * math.pi)
        d_wide = self.dense_back(d, at + "output_dense", wide * below) * slope
        d = d + self.dense_back(d_wide, at + "intermediate_dense", middle)
        d = self.norm_back(d, at + "attention_output_LayerNorm", *first)
        b, heads, s, size = q.shape
        d_mixed = self.dense_back(d, at + "attention_output_dense", mixed).reshape(b, s, heads, size).swapaxes(1, 2)
        d_chances = d_mixed @ v.swapaxes(2, 3)
        d_scores = chances * (d_chances - (d_chances * chances).sum(-1, keepdims=True)) / math.sqrt(size)
        d_qkv = np.stack([d_scores @ k, d_scores.swapaxes(2, 3) @ q, chances.swapaxes(2, 3) @ d_mixed])
        return d + self.dense_back(d_qkv.transpose(1, 3, 0, 2, 4).reshape(b, s, -1), at + "qkv", x)

    def forward(self, batch: Arrays) -> tuple[Arrays, Any, Any]:
        """Hidden states by name, logits [b, labels], and the mean loss. Only the embeddings are dropped out of."""
        ids, types = batch["input_ids"], batch["token_type_ids"]
        tables = (self.w[f"embeddings_{kind}_embeddings_weight"] for kind in ("word", "position", "token_type"))
        words, places, segments = tables
        x, self.embedded = self.norm(words[ids] + places[: ids.shape[1]] + segments[types], "embeddings_LayerNorm")
        x = x * (self.random.random_sample(x.shape) >= self.s["dropout"]) / (1 - self.s["dropout"])
        hidden = {"embeddings": x}
        mask = np.where(batch["attention_mask"][:, None, None] == 1, 0, np.finfo(x.dtype).min).astype(x.dtype)
        self.kept = []
        for n in range(self.s["layers"]):
            hidden[f"layers/{n}"] = x = self.layer(x, mask, f"block{n}_")
        pooled = np.tanh(self.dense(x[:, :1], "pooler_dense"))
        logits = self.dense(pooled, "classifier")[:, 0]
        self.last = batch, x, pooled, softmax(logits)
        losses = -np.log(self.last[3][np.arange(len(ids)), batch["labels"]])
        return {**hidden, "pooled": pooled[:, 0]}, logits, losses.mean()

    def backward(self) -> Arrays:
        """Gradients of the loss of the last `forward`, for which the rate of dropout must be 0."""
        batch, x, pooled, chances = self.last
        d = chances.copy()
        d[np.arange(len(d)), batch["labels"]] -= 1
        d = self.dense_back(d[:, None] / len(d), "classifier", pooled) * (1 - pooled**2)
        first = self.dense_back(d, "pooler_dense", x[:, :1])
        d = np.zeros_like(x)
        d[:, :1] = first
        for n in reversed(range(self.s["layers"])):
            d = self.layer_back(d, f"block{n}_")
        d = self.norm_back(d, "embeddings_LayerNorm", *self.embedded)
        places = np.broadcast_to(np.arange(d.shape[1]), d.shape[:2])
        rows = {"word": batch["input_ids"], "position": places, "token_type": batch["token_type_ids"]}
        for kind, ids in rows.items():
            table = np.zeros_like(self.w[f"embeddings_{kind}_embeddings_weight"])
            np.add.at(table, ids, d)
            self.gradients[f"embeddings_{kind}_embeddings_weight"] = table
        self.gradients["embeddings_word_embeddings_weight"][self.s["pad_id"]] = 0
        return dict(self.gradients)
