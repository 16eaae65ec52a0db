"""keras-hub's text classifier as loaded, with Keras' `compile` and `fit` on arrays padded to max_len."""

# ruff: noqa: E402  the clock is read before anything slow is imported
from __future__ import annotations

import time

STARTED = time.time()

import os
from pathlib import Path
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import keras_hub
import numpy as np
import tensorflow as tf

from backends.devices import peak_resident_memory
from backends.trainer_clock import Passes, answer_job
from shared.answer import TrainerAnswer
from shared.batching import make_batch
from shared.encoding import read_encoded
from shared.job import Job

CLASSIFIERS = {
    "BertBackbone": keras_hub.models.BertTextClassifier,
    "DistilBertBackbone": keras_hub.models.DistilBertTextClassifier,
}


class Clock(keras.callbacks.Callback):
    """Tells `passes` what `fit` does. Every batch has the same width, and the last may have fewer rows."""

    def __init__(self, passes: Passes, sizes: list[int], width: int) -> None:
        super().__init__()
        self.passes, self.sizes, self.width = passes, sizes, width

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.passes.begin_pass()

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.passes.batch(self.sizes[batch], self.width)
        self.passes.begin_step()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.passes.end_step()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.passes.end_pass()


def train(job: Job) -> TrainerAnswer:
    recipe = job.recipe
    tf.config.threading.set_intra_op_parallelism_threads(job.threads)
    tf.config.threading.set_inter_op_parallelism_threads(job.threads)
    keras.utils.set_random_seed(recipe.seed)
    backbone = keras_hub.models.Backbone.from_preset(job.checkpoint)
    # `from_preset` of the classifier would load the same backbone, but wants a field in config.json that some lack.
    classifier = CLASSIFIERS[type(backbone).__name__](backbone, num_classes=len(job.labels))
    optimizer = {"learning_rate": recipe.learning_rate, "weight_decay": recipe.decay, "global_clipnorm": recipe.clip}
    classifier.compile(
        optimizer=keras.optimizers.AdamW(**optimizer),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    data = read_encoded(Path(job.data))["train"]
    padded = make_batch(data, np.arange(len(data)), recipe)
    inputs = {"token_ids": padded.input_ids, "padding_mask": padded.attention_mask}
    if "segment_ids" in classifier.input:
        inputs["segment_ids"] = padded.token_type_ids
    sizes = [len(data.labels[start : start + recipe.batch_size]) for start in range(0, len(data), recipe.batch_size)]
    passes = Passes(STARTED, tf.test.experimental.sync_devices)
    fit = {"batch_size": recipe.batch_size, "epochs": recipe.epochs, "shuffle": False}
    classifier.fit(inputs, padded.labels, callbacks=[Clock(passes, sizes, padded.input_ids.shape[1])], **fit)
    on_gpu = job.device != "cpu"
    peak = tf.config.experimental.get_memory_info("GPU:0")["peak"] if on_gpu else peak_resident_memory()
    arguments = {
        "classifier": type(classifier).__name__,
        "optimizer": "AdamW",
        **optimizer,
        "loss": "SparseCategoricalCrossentropy",
        "metrics": ["accuracy"],
        **fit,
    }
    return passes.answer(peak, arguments)


if __name__ == "__main__":
    answer_job(train)
