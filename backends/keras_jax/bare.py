"""Fine-tuning steps with keras-hub's BertBackbone in one jitted function, as one writes them without a harness."""

# ruff: noqa: E402  the clock is read before anything is imported
from __future__ import annotations

import time

STARTED = time.perf_counter()

import json
import math
import os
import resource
import sys
from pathlib import Path
from typing import Any

os.environ["KERAS_BACKEND"] = "jax"

import jax
import jax.numpy as jnp
import keras
import keras_hub
import numpy as np
from safetensors.numpy import load_file

IMPORTED = time.perf_counter()


def build(checkpoint: Path) -> Any:
    """The backbone with the checkpoint's weights under a classifier of two labels."""
    dropout = json.loads((checkpoint / "config.json").read_text())["hidden_dropout_prob"]
    backbone = keras_hub.models.BertBackbone.from_preset(str(checkpoint), dropout=dropout)
    for block in backbone.transformer_layers:  # keras-hub has the tanh approximation, BERT has the exact one
        block._feedforward_intermediate_dense.activation = lambda x: keras.activations.gelu(x, approximate=False)
    head = keras.layers.Dense(2, kernel_initializer=keras.initializers.RandomNormal(stddev=0.02))
    logits = head(keras.layers.Dropout(dropout)(backbone.output["pooled_output"]))
    stored = load_file(checkpoint / "model.safetensors")
    if "classifier.weight" in stored:
        head.set_weights([stored["classifier.weight"].T, stored["classifier.bias"]])
    return keras.Model(backbone.input, logits)


def update(variable: Any, m: Any, v: Any, gradient: Any, decay: bool, rate: Any, epsilon: Any) -> Any:
    """AdamW's step of one variable: its new value and moments."""
    m = m + 0.1 * (gradient - m)
    v = v + 0.001 * (gradient**2 - v)
    shrunk = variable * (1 - 2e-5 * 0.01) if decay else variable
    return shrunk - rate * m / (jnp.sqrt(v) + epsilon), m, v


def training_step(model: Any) -> Any:
    """One jitted step of training, which reuses the memory of the state that it is given."""
    decays = [v.name in ("kernel", "embeddings", "position_embeddings") for v in model.trainable_variables]

    def loss_of(variables: Any, random: Any, ids: Any, mask: Any, labels: Any) -> Any:
        inputs = {"token_ids": ids, "segment_ids": jnp.zeros_like(ids), "padding_mask": mask}
        logits, random = model.stateless_call(variables, random, inputs, training=True)
        return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=1)), random

    def train_step(state: Any, ids: Any, mask: Any, labels: Any, rate: Any, epsilon: Any) -> Any:
        variables, first, second, random = state
        (loss, random), gradients = jax.value_and_grad(loss_of, has_aux=True)(variables, random, ids, mask, labels)
        norm = jnp.sqrt(sum(jnp.sum(gradient**2) for gradient in gradients))
        gradients = [gradient * jnp.minimum(1.0 / (norm + 1e-6), 1.0) for gradient in gradients]
        new = [update(*each, rate, epsilon) for each in zip(variables, first, second, gradients, decays, strict=True)]
        return (*map(list, zip(*new, strict=True)), random), loss

    return jax.jit(train_step, donate_argnums=0)


def main(checkpoint: str, batches_file: str, threads: str, answer_file: str) -> None:
    os.environ["NPROC"] = threads  # XLA's, read as it starts
    keras.utils.set_random_seed(1)
    with np.load(batches_file) as batches:
        steps = list(zip(*(batches[k] for k in ("input_ids", "attention_mask", "labels")), strict=True))
    model = build(Path(checkpoint))
    train = training_step(model)
    variables, random = ([v.value for v in vs] for vs in (model.trainable_variables, model.non_trainable_variables))
    state = variables, [jnp.zeros_like(v) for v in variables], [jnp.zeros_like(v) for v in variables], random

    def step(state: Any, number: int) -> Any:
        first, second = 1 - 0.9 ** (number + 1), math.sqrt(1 - 0.999 ** (number + 1))
        return train(state, *steps[number], np.float32(2e-5 * second / first), np.float32(1e-8 * second))

    loaded = time.perf_counter()
    state, loss = step(state, 0)
    losses = [jax.block_until_ready(loss)]
    first = time.perf_counter()
    for number in range(1, len(steps)):
        state, loss = step(state, number)
        losses.append(loss)
    jax.block_until_ready(state)
    done = time.perf_counter()
    answer = {
        "import_seconds": IMPORTED - STARTED,
        "load_seconds": loaded - IMPORTED,
        "start_seconds": loaded - STARTED,
        "first_step_seconds": first - loaded,
        "other_steps_seconds": done - first,
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "losses": [float(loss) for loss in losses],
    }
    with open(answer_file, "w") as file:
        json.dump(answer, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
