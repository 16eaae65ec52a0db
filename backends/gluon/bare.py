"""Fine-tuning steps with GluonNLP's BERTClassifier and MXNet's adamw_update, written as one would without a harness."""

# ruff: noqa: E402  the clock is read before anything is imported
from __future__ import annotations

import time

STARTED = time.perf_counter()

import json
import math
import resource
import sys
from pathlib import Path
from typing import Any

import gluonnlp as nlp
import mxnet as mx
import numpy as np
from safetensors.numpy import load_file

IMPORTED = time.perf_counter()

# From GluonNLP's structural names to HuggingFace's.
RENAMED = (
    ("bert.encoder.transformer_cells.", "encoder.layer."),
    ("attention_cell.proj_", "attention.self."),
    ("ffn.ffn_1.", "intermediate.dense."),
    ("ffn.ffn_2.", "output.dense."),
    ("ffn.layer_norm.", "output.LayerNorm."),
    (".proj.", ".attention.output.dense."),
    ("bert.encoder.layer_norm.", "embeddings.LayerNorm."),
    (".layer_norm.", ".attention.output.LayerNorm."),
    ("gamma", "weight"),
    ("beta", "bias"),
    ("bert.word_embed.0.", "embeddings.word_embeddings."),
    ("bert.token_type_embed.0.", "embeddings.token_type_embeddings."),
    ("bert.encoder.position_weight", "embeddings.position_embeddings.weight"),
    ("bert.pooler.", "pooler.dense."),
    ("classifier.0.", "classifier."),
    ("classifier.1.", "classifier."),
)


def build(checkpoint: Path, labels: int = 2) -> tuple[Any, list[tuple[Any, float]]]:
    """Builds the hybridized classifier with the checkpoint's weights. Returns it, and its parameters with their weight
    decay."""
    config = json.loads((checkpoint / "config.json").read_text())
    width, dropout = config["hidden_size"], config["hidden_dropout_prob"]
    encoder = nlp.model.BERTEncoder(
        num_layers=config["num_hidden_layers"],
        units=width,
        hidden_size=config["intermediate_size"],
        num_heads=config["num_attention_heads"],
        max_length=config["max_position_embeddings"],
        dropout=dropout,
        layer_norm_eps=config["layer_norm_eps"],
    )
    bert = nlp.model.BERTModel(
        encoder,
        vocab_size=config["vocab_size"],
        token_type_vocab_size=config["type_vocab_size"],
        units=width,
        embed_size=width,
        use_decoder=False,
        use_classifier=False,
    )
    model = nlp.model.BERTClassifier(bert, num_classes=labels, dropout=dropout)
    weights = {"classifier.weight": np.random.normal(0.0, 0.02, (labels, width)), "classifier.bias": np.zeros(labels)}
    weights |= {name.removeprefix("bert."): w for name, w in load_file(checkpoint / "model.safetensors").items()}
    parameters = []
    for name, parameter in model._collect_params_with_prefix().items():
        for ours, theirs in RENAMED:
            name = name.replace(ours, theirs)
        parameters.append((parameter, 0.0 if "bias" in name or "LayerNorm" in name else 0.01))
        parameter.shape = weights[name].shape
        parameter.initialize(mx.init.Constant(weights[name]))
    model.hybridize(static_alloc=True)
    return model, parameters


def training_step(model: Any, parameters: list[tuple[Any, float]]) -> Any:
    """Makes a function that takes step 0, 1, ... with AdamW and clipping, and returns the loss before it."""
    cross_entropy = mx.gluon.loss.SoftmaxCELoss()
    moments = [(mx.nd.zeros_like(p.data()), mx.nd.zeros_like(p.data())) for p, _ in parameters]

    def train_step(number: int, input_ids: Any, attention_mask: Any, labels: Any) -> mx.nd.NDArray:
        ids, lengths = mx.nd.array(input_ids, dtype="int32"), mx.nd.array(attention_mask.sum(axis=1))
        with mx.autograd.record():
            loss = cross_entropy(model(ids, mx.nd.zeros_like(ids), lengths), mx.nd.array(labels)).mean()
        loss.backward()
        gradients = [parameter.grad().reshape(-1) for parameter, _ in parameters]
        norm = mx.nd.sqrt(mx.nd.add_n(*(mx.nd.dot(gradient, gradient) for gradient in gradients)))
        clip = mx.nd.minimum(1.0 / (norm + 1e-6), 1.0)
        # The operator corrects no bias, so rate and epsilon hold the correction (Kingma and Ba 2015, end of section 2).
        first, second = 1 - 0.9 ** (number + 1), math.sqrt(1 - 0.999 ** (number + 1))
        for (parameter, decay), (mean, variance) in zip(parameters, moments, strict=True):
            mx.nd.contrib.adamw_update(
                parameter.data(),
                parameter.grad(),
                mean,
                variance,
                clip,
                lr=second / first,
                eta=2e-5,
                epsilon=1e-8 * second,
                wd=decay,
                out=parameter.data(),
            )
        return loss

    return train_step


def main(checkpoint: str, batches_file: str, threads: str, answer_file: str) -> None:
    """Trains on every batch of the file, and writes times, peak memory and losses as JSON."""
    mx.random.seed(1)  # threads are not set here: MXNet takes them from OMP_NUM_THREADS
    with np.load(batches_file) as batches:
        steps = list(zip(*(batches[k] for k in ("input_ids", "attention_mask", "labels")), strict=True))
    train_step = training_step(*build(Path(checkpoint)))
    mx.nd.waitall()
    loaded = time.perf_counter()
    losses = [train_step(0, *steps[0])]
    mx.nd.waitall()
    first = time.perf_counter()
    losses += [train_step(number, *steps[number]) for number in range(1, len(steps))]
    mx.nd.waitall()
    done = time.perf_counter()
    answer = {
        "import_seconds": IMPORTED - STARTED,
        "load_seconds": loaded - IMPORTED,
        "start_seconds": loaded - STARTED,
        "first_step_seconds": first - loaded,
        "other_steps_seconds": done - first,
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "losses": [float(loss.asscalar()) for loss in losses],
    }
    with open(answer_file, "w") as file:
        json.dump(answer, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
