"""keras-hub's text classifier as loaded, with Keras' `compile` and `fit` on arrays padded to max_len.

Imports no engine: Keras runs on the one that a trainer has named in KERAS_BACKEND before it imports this.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import keras_hub
import numpy as np

from backends.trainer_clock import Passes
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


def fit(job: Job, passes: Passes) -> dict[str, Any]:
    """Trains as the job says, and gives all that Keras was told."""
    recipe = job.recipe
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
    arguments = {"batch_size": recipe.batch_size, "epochs": recipe.epochs, "shuffle": False}
    classifier.fit(inputs, padded.labels, callbacks=[Clock(passes, sizes, padded.input_ids.shape[1])], **arguments)
    return {
        "classifier": type(classifier).__name__,
        "optimizer": "AdamW",
        **optimizer,
        "loss": "SparseCategoricalCrossentropy",
        "metrics": ["accuracy"],
        **arguments,
    }
