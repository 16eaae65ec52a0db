"""The adapter of TensorFlow with Keras: keras-hub's BertBackbone or DistilBertBackbone in `tf.function`s, which XLA
compiles if asked.

keras-hub fixes several things that a checkpoint's config.json should decide. Keras' optimizers differ from torch's in
the second moment's bias correction, the place of epsilon, and repeated tokens. Each repair has its reason beside it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from functools import partial
from typing import Any

# The libraries read both while they are imported. The second overrides Keras' own settings file.
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import numpy as np
import tensorflow as tf

from backends import BACKENDS, check_padding, check_precision
from backends.devices import check_capability, gpu_number, peak_resident_memory
from backends.keras.forward import Padded, Rows
from backends.keras.laid import Laid
from backends.keras.network import Parameter, build_network, parameters
from backends.keras.optimizer import adam_scalars, clip_factor
from backends.keras.packed import Packed
from backends.keras.word_rows import LayerWords
from backends.word_rows import RestRows
from shared.architecture import Weights
from shared.batching import Batch
from shared.contract import Build, Gradients, HiddenStates, Lazy
from shared.errors import InputError
from shared.job import Precision, stored


def load(build: Build) -> KerasModel:
    """Builds the model (see `shared.contract.Load`).

    TensorFlow takes device and threads before its first operation and keeps them: a second call in one process with
    other values raises RuntimeError. Raises InputError for a GPU that TensorFlow does not see, for a precision that the
    device lacks, and for a beta that is 1 in float32.
    """
    prepare(build)
    return KerasModel(build)


def prepare(build: Build) -> None:
    """Sets up the process for the model. Raises errors as `load` does."""
    recipe, device, threads, precision = build.recipe, build.device, build.threads, build.precision
    check_padding("keras", recipe, build.compile)
    dtype = stored(precision)
    for name, beta in (("beta1", recipe.beta1), ("beta2", recipe.beta2)):
        if np.dtype(dtype).type(beta) == 1:
            raise InputError(f"{name} is {beta!r}, which is 1 in the keras backend's {dtype}; pass at most 0.9999999")
    _use_device(device, precision)
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    keras.utils.set_random_seed(recipe.seed)  # dropout layers draw their seeds from it as they are made
    keras.config.set_floatx(dtype)  # the type of Python's numbers in tensors
    # The precision of layers that have no policy of their own. Their variables are float32 in the mixed policy too.
    keras.config.set_dtype_policy("mixed_bfloat16" if precision == "bfloat16" else dtype)


def _use_device(device: str, precision: Precision) -> None:
    gpus = tf.config.list_physical_devices("GPU")
    number = gpu_number(device, len(gpus))
    check_precision("keras", device, precision)
    if number is None:
        tf.config.set_visible_devices([], "GPU")
        return
    details = tf.config.experimental.get_device_details(gpus[number])
    check_capability(device, precision, details.get("compute_capability", (0, 0)))
    tf.config.set_visible_devices([gpus[number]], "GPU")
    # Otherwise TensorFlow takes all the memory at once, and there is no peak to measure.
    tf.config.experimental.set_memory_growth(gpus[number], True)
    # TensorFlow has tf32 on by default, torch off: 10 bits of mantissa are not float32.
    tf.config.experimental.enable_tensor_float_32_execution(precision == "tf32")


PADDED = (tf.TensorSpec([None, None], tf.int32),) * 3
LABELS = tf.TensorSpec([None], tf.int64)
"""Shapes of a batch's arrays. With these a `tf.function` is built once, and takes every width and batch size."""

Arrays = tuple[Any, ...]
"""A batch's arrays in the order of `Padded` or `Packed`."""


class KerasModel:
    """See `shared.contract.Model`. A keras-hub network with TensorFlow's fused Adam."""

    def __init__(self, build: Build) -> None:
        architecture, recipe, rest = build.architecture, build.recipe, RestRows.of(build)
        if rest is not None:
            architecture = rest.rows.small(architecture)
        self._network, self._stack, layers = build_network(architecture)
        self._parameters = parameters(architecture, layers)
        self._recipe = recipe
        self._pad_id = architecture.pad_id
        self._device = build.device
        self._dtype = stored(build.precision)
        self._steps = 0
        self._words = None
        if rest is not None:
            (block,) = (p for p in self._parameters if p.name == rest.rows.name)
            self._words = LayerWords(rest, block, layers[block.name.removesuffix(".weight")])
        self.width_multiple = BACKENDS["keras"].width_multiple(build.compile)
        self.set_weights(build.weights)
        self._moments = [
            tuple(tf.Variable(tf.zeros_like(p.variable.value), trainable=False) for _ in "mv") for p in self._parameters
        ]
        # No branch in these depends on a tensor, so they need no autograph, which would double the time to build them.
        function = partial(tf.function, autograph=False)
        compiled = partial(function, jit_compile=True) if build.compile else function
        self._rows_of: type[Padded] | type[Packed] = Packed if recipe.padding == "none" else Padded
        rows = Packed.SIGNATURE if recipe.padding == "none" else PADDED
        scalars = [tf.TensorSpec([], self._dtype)] * 3
        self._train = compiled(self._train_graph, input_signature=(rows, LABELS, *scalars))
        self._predict = compiled(lambda rows: self._evaluate(rows, self._stack.logits, False), input_signature=(rows,))
        self._gradients = compiled(self._gradients_graph, input_signature=(rows, LABELS))
        self._states = {
            dropout: function(
                lambda rows, dropout=dropout: self._evaluate(rows, self._stack.states, dropout),
                input_signature=(rows,),
            )
            for dropout in (False, True)
        }

    def train_step(self, batch: Batch, learning_rate: float) -> Lazy:
        if self._words is not None:
            batch = self._words.step(batch, learning_rate)
        self._steps += 1
        loss, correct = self._train(self._arrays(batch), batch.labels, *self._scalars(learning_rate))
        return lambda: (float(loss), int(correct))

    def predict(self, batch: Batch) -> np.ndarray:
        self._refresh()
        return np.array(self._predict(self._arrays(batch)))

    def gradients(self, batch: Batch) -> Gradients:
        if self._words is not None:
            batch = self._words.rest.rows.placed(batch)
        loss, raw, norm, clipped = self._gradients(self._arrays(batch), batch.labels)
        return Gradients(float(loss), self._named(raw), float(norm), self._named(clipped))

    def hidden_states(self, batch: Batch, dropout: bool = False) -> HiddenStates:
        self._refresh()
        states = self._states[dropout](self._arrays(batch))
        return HiddenStates(
            embeddings=self._array(states["embeddings"]),
            layers=[self._array(layer) for layer in states["layers"]],
            pooled=self._array(states["pooled"]),
            logits=self._array(states["logits"]),
        )

    def weights(self) -> Weights:
        found = {p.name: p.from_keras(p.variable.numpy()) for p in self._parameters}
        return found if self._words is None else found | {self._words.name: self._words.table()}

    def set_weights(self, weights: Weights) -> None:
        if self._words is not None:
            weights = weights | {self._words.name: self._words.take(weights[self._words.name])}
        for p in self._parameters:
            p.variable.assign(p.to_keras(weights[p.name]))

    def state(self) -> Iterator[tuple[str, np.ndarray]]:
        yield "steps", np.array(self._steps)
        if self._words is not None:
            yield from self._words.rest.state()
        for name, variable in self._changing():
            yield name, variable.numpy()

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        self._steps = int(state["steps"])
        if self._words is not None:
            self._words.restore(state)
        for name, variable in self._changing():
            variable.assign(state[name])

    def _changing(self) -> Iterator[tuple[str, Any]]:
        """All variables that a step changes: parameters, moments, and the stream of each layer of dropout."""
        for p, (first, second) in zip(self._parameters, self._moments, strict=True):
            yield from ((f"weights/{p.name}", p.variable), (f"first/{p.name}", first), (f"second/{p.name}", second))
        for number, stream in enumerate(self._network.non_trainable_variables):
            yield f"stream/{number}", stream

    def synchronize(self) -> None:
        tf.test.experimental.sync_devices()

    def peak_memory(self) -> int:
        if self._device == "cpu":
            return peak_resident_memory()
        return int(tf.config.experimental.get_memory_info("GPU:0")["peak"])  # the one GPU that is visible

    def _arrays(self, batch: Batch) -> Arrays:
        arrays = batch.input_ids, batch.token_type_ids, batch.attention_mask
        return tuple(Laid.of(*arrays)) if self._rows_of is Packed else arrays

    def _array(self, tensor: Any) -> np.ndarray:
        array: np.ndarray = tensor.numpy().astype(self._dtype)
        return array

    def _evaluate(self, rows: Arrays, call: Callable[[Rows, bool], Any], training: bool) -> Any:
        """Calls the network without gradients: any word may be looked up."""
        with nullcontext() if self._words is None else self._words.looked_up():
            return call(self._rows_of(*rows), training)

    def _refresh(self) -> None:
        if self._words is not None:
            self._words.refresh()

    def _scalars(self, learning_rate: float) -> tuple[float, float, float]:
        """Rate, epsilon and decay factor of this step, for `_update`."""
        rate, epsilon = adam_scalars(self._recipe, learning_rate, self._steps, self._dtype)
        return rate, epsilon, 1 - learning_rate * self._recipe.decay

    def _named(self, gradients: list[Any]) -> Weights:
        found = {p.name: p.from_keras(g.numpy()) for p, g in zip(self._parameters, gradients, strict=True)}
        if self._words is None:
            return found
        return found | {self._words.name: self._words.rest.rows.spread(found[self._words.name])}

    def _loss_and_gradients(self, rows: Arrays, labels: Any, training: bool) -> tuple[Any, list[Any], Any]:
        with tf.GradientTape() as tape:
            logits = self._stack.logits(self._rows_of(*rows), training)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
        gradients = tape.gradient(loss, [p.variable.value for p in self._parameters])
        return loss, [self._dense(g, p) for g, p in zip(gradients, self._parameters, strict=True)], logits

    def _dense(self, gradient: Any, parameter: Parameter) -> Any:
        """Makes a gradient one tensor. An embedding's gradient comes as one row for each token, repeated tokens apart;
        the squares of these rows add up neither to the squared norm nor to Adam's second moment."""
        if not isinstance(gradient, tf.IndexedSlices):
            return gradient
        by_row = self._without_pad(gradient, parameter)
        return tf.math.unsorted_segment_sum(by_row.values, by_row.indices, parameter.shape[0])

    def _without_pad(self, gradient: Any, parameter: Parameter) -> Any:
        """Removes the pad token's gradient: transformers gives that embedding none, even if a text holds the token."""
        if "word_embeddings" not in parameter.name:
            return gradient
        kept = tf.cast(gradient.indices != self._pad_id, gradient.values.dtype)[:, None]
        return tf.IndexedSlices(gradient.values * kept, gradient.indices, gradient.dense_shape)

    def _clip(self, gradients: list[Any]) -> tuple[Any, list[Any]]:
        """Computes the global norm and the clipped gradients."""
        norm = tf.linalg.global_norm(gradients)
        if self._recipe.clip is None:
            return norm, gradients
        factor = clip_factor(norm, self._recipe.clip)
        return norm, [factor * gradient for gradient in gradients]

    def _gradients_graph(self, rows: Arrays, labels: Any) -> tuple[Any, list[Any], Any, list[Any]]:
        loss, gradients, _ = self._loss_and_gradients(rows, labels, training=False)
        return loss, gradients, *self._clip(gradients)

    def _train_graph(self, rows: Arrays, labels: Any, rate: Any, epsilon: Any, shrink: Any) -> tuple[Any, Any]:
        loss, gradients, logits = self._loss_and_gradients(rows, labels, training=True)
        _, gradients = self._clip(gradients)
        self._update(gradients, rate, epsilon, shrink)
        correct = tf.math.count_nonzero(tf.argmax(logits, axis=-1) == labels)
        return loss, correct

    def _update(self, gradients: list[Any], rate: Any, epsilon: Any, shrink: Any) -> None:
        recipe = self._recipe
        zero, beta1, beta2 = (tf.constant(number, self._dtype) for number in (0.0, recipe.beta1, recipe.beta2))
        for p, (m, v), gradient in zip(self._parameters, self._moments, gradients, strict=True):
            variable = p.variable.value
            if recipe.decays(p.name) and recipe.optimizer == "adamw":
                variable.assign(shrink * variable)
            elif recipe.decays(p.name):
                gradient += recipe.decay * variable
            tf.raw_ops.ResourceApplyAdam(
                var=variable.handle,
                m=m.handle,
                v=v.handle,
                beta1_power=zero,
                beta2_power=zero,
                lr=rate,
                beta1=beta1,
                beta2=beta2,
                epsilon=epsilon,
                grad=gradient,
            )
