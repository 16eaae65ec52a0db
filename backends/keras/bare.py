"""Fine-tuning steps with keras-hub's BertBackbone in one tf.function, written as one would without a harness."""

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

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import keras_hub
import numpy as np
import tensorflow as tf
from safetensors.numpy import load_file

IMPORTED = time.perf_counter()


def build(checkpoint: Path) -> Any:
    """Builds a classifier of two labels on the backbone with the checkpoint's weights."""
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


def training_step(model: Any) -> Any:
    """Makes a function that takes one step with AdamW and clipping, and returns the loss before it."""
    variables = [variable.value for variable in model.trainable_weights]
    decays = [v.name in ("kernel", "embeddings", "position_embeddings") for v in model.trainable_weights]
    moments = [(tf.Variable(tf.zeros_like(v)), tf.Variable(tf.zeros_like(v))) for v in variables]

    @tf.function
    def train_step(ids: Any, mask: Any, labels: Any, rate: Any, epsilon: Any) -> Any:
        inputs = {"token_ids": ids, "segment_ids": tf.zeros_like(ids), "padding_mask": mask}
        with tf.GradientTape() as tape:
            logits = model(inputs, training=True)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
        # Embeddings' gradients come as slices, repeated tokens apart. Norm and second moment need their sums.
        gradients = [tf.convert_to_tensor(gradient) for gradient in tape.gradient(loss, variables)]
        gradients, _ = tf.clip_by_global_norm(gradients, 1.0)
        for variable, decay, (mean, variance), gradient in zip(variables, decays, moments, gradients, strict=True):
            if decay:
                variable.assign(variable * (1 - 2e-5 * 0.01))
            tf.raw_ops.ResourceApplyAdam(
                var=variable.handle,
                m=mean.handle,
                v=variance.handle,
                beta1_power=0.0,  # rate and epsilon hold the bias correction, as torch defines it
                beta2_power=0.0,
                lr=rate,
                beta1=0.9,
                beta2=0.999,
                epsilon=epsilon,
                grad=gradient,
            )
        return loss

    return train_step


def main(checkpoint: str, batches_file: str, threads: str, answer_file: str) -> None:
    """Trains on every batch of the file, and writes times, peak memory and losses as JSON."""
    tf.config.threading.set_intra_op_parallelism_threads(int(threads))
    tf.config.threading.set_inter_op_parallelism_threads(int(threads))
    keras.utils.set_random_seed(1)
    with np.load(batches_file) as batches:
        steps = list(zip(*(batches[k] for k in ("input_ids", "attention_mask", "labels")), strict=True))
    train_step = training_step(build(Path(checkpoint)))

    def step(number: int) -> Any:
        first, second = 1 - 0.9 ** (number + 1), math.sqrt(1 - 0.999 ** (number + 1))
        return train_step(*steps[number], tf.constant(2e-5 * second / first), tf.constant(1e-8 * second))

    loaded = time.perf_counter()
    losses = [step(0)]
    tf.test.experimental.sync_devices()
    first = time.perf_counter()
    losses += [step(number) for number in range(1, len(steps))]
    tf.test.experimental.sync_devices()
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
