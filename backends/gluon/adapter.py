"""The adapter of MXNet with GluonNLP: `BERTEncoder`, `BERTModel` and `BERTClassifier`, hybridized.

Repairs make them compute what transformers computes: the place of the embeddings' dropout, a rate for each place of
dropout, DistilBERT's head, the loss, the optimizer. MXNet takes the number of CPU threads from OMP_NUM_THREADS when the
process starts.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import mxnet as mx
import numpy as np
from mxnet.gluon import HybridBlock, Parameter

from backends import BACKENDS, check_padding, check_precision
from backends.devices import gpu_number, peak_resident_memory
from backends.gluon.layer_norm import for_cpu
from backends.gluon.network import PlainAttention, build_network, named_parameters
from backends.gluon.optimizer import Optimizer
from backends.gluon.word_rows import NetworkWords
from backends.word_rows import RestRows
from shared.architecture import Architecture, Weights
from shared.batching import Batch
from shared.contract import Build, Gradients, HiddenStates, Lazy
from shared.errors import InputError
from shared.job import Precision


def load(build: Build) -> GluonModel:
    """Builds the model (see `shared.contract.Load`).

    `threads` must be the value of OMP_NUM_THREADS at the start of the process: MXNet reads nothing else. Raises
    InputError if this MXNet does not see the GPU, and for a precision besides float32 and float64.
    """
    architecture, recipe, precision = build.architecture, build.recipe, build.precision
    number = gpu_number(build.device, mx.context.num_gpus())
    check_precision("gluon", build.device, precision)
    check_padding("gluon", recipe)
    context = mx.cpu() if number is None else mx.gpu(number)
    # MXNet draws dropout from one global stream. Initial weights are given and not drawn.
    mx.random.seed(recipe.seed)
    rest = RestRows.of(build)
    small = architecture if rest is None else rest.rows.small(architecture)
    network = build_network(small)
    if precision == "float64":
        for cell in network.bert.encoder.transformer_cells:
            cell.attention_cell.__class__ = PlainAttention
        network.cast(precision)
    elif number is None:
        for_cpu(network)
    parameters = named_parameters(network, small)
    for name, parameter in parameters.items():
        values = build.weights[name]
        if rest is not None and name == rest.rows.name:
            values = rest.rows.block(values)
        parameter.shape = values.shape
        parameter.initialize(init=mx.init.Constant(values), ctx=context)
    words = None if rest is None else NetworkWords(rest, parameters[rest.rows.name], context)
    network.hybridize(static_alloc=True, static_shape=build.compile)
    optimizer = Optimizer(recipe, parameters, precision)
    return GluonModel(architecture, context, network, parameters, optimizer, precision, build.compile, words)


@dataclass
class GluonModel:
    """See `shared.contract.Model`."""

    architecture: Architecture
    context: mx.Context
    network: HybridBlock
    parameters: dict[str, Parameter]
    optimizer: Optimizer
    precision: Precision
    static_shape: bool = False
    """Whether memory and the order of operations are planned once for a shape, and again when the shape changes."""
    words: NetworkWords | None = None
    """The whole word embedding, if the network has a block of its rows."""
    predicting: HybridBlock = field(init=False)
    """The same layers in a second graph. With one graph, MXNet would plan memory again, beside the old memory, when
    training goes on after a prediction."""

    def __post_init__(self) -> None:
        self.predicting = copy.copy(self.network) if self.words is None else self.words.network(self.network)

    @property
    def width_multiple(self) -> int:
        return BACKENDS["gluon"].width_multiple(self.static_shape)

    def train_step(self, batch: Batch, learning_rate: float) -> Lazy:
        """Enqueues one optimizer step. The result waits for it."""
        if self.words is not None:
            batch = self.words.step(batch, learning_rate)
        with mx.autograd.record():
            logits = self._logits(self.network, batch)
            labels = self._array(batch.labels, self.precision)
            loss = self._loss(logits, labels)
        self._backward(loss)
        self.optimizer.step(learning_rate)
        outcome = mx.nd.concat(loss.detach(), (mx.nd.argmax(logits.detach(), axis=1) == labels).sum(), dim=0)

        def wait() -> tuple[float, int]:
            mean, correct = outcome.asnumpy()
            return float(mean), int(correct)

        return wait

    def predict(self, batch: Batch) -> np.ndarray:
        """Returns the logits, [b, num_labels], dropout off."""
        self._refresh()
        return self._logits(self.predicting, batch).asnumpy()

    def gradients(self, batch: Batch) -> Gradients:
        """Returns loss and gradients, dropout off. The gradients also stay in the parameters, until the next train step
        overwrites them."""
        if self.words is not None:
            batch = self.words.rest.rows.placed(batch)
        with mx.autograd.record(train_mode=False):
            loss = self._loss(self._logits(self.network, batch), self._array(batch.labels, self.precision))
        self._backward(loss, train_mode=False)
        raw = {name: parameter.grad().asnumpy() for name, parameter in self.parameters.items()}
        norm, factor = self.optimizer.norm_and_factor()
        clipped = {
            name: mx.nd.broadcast_mul(parameter.grad(), factor.reshape([1] * parameter.grad().ndim)).asnumpy()
            for name, parameter in self.parameters.items()
        }
        if self.words is not None:
            rows = self.words.rest.rows
            raw, clipped = (each | {rows.name: rows.spread(each[rows.name])} for each in (raw, clipped))
        return Gradients(float(loss.asscalar()), raw, float(norm.asscalar()), clipped)

    def hidden_states(self, batch: Batch, dropout: bool = False) -> HiddenStates:
        """Returns the states of one forward pass. It is not hybridized, as a hybridized block does not call hooks."""
        self._refresh()
        network = self.network if self.words is None else self.predicting
        bert, encoder = network.bert, network.bert.encoder
        seen: list[mx.nd.NDArray] = []
        blocks = [encoder.layer_norm, *encoder.transformer_cells, bert.pooler]
        # A layer returns its output, or its output and its attention weights.
        hooks = [
            block.register_forward_hook(
                lambda _, __, output: seen.append(output[0] if isinstance(output, tuple) else output)
            )
            for block in blocks
        ]
        network.hybridize(False)
        with mx.autograd.train_mode() if dropout else mx.autograd.predict_mode():
            logits = self._logits(network, batch).asnumpy()
        for hook in hooks:
            hook.detach()
        network.hybridize(static_alloc=True, static_shape=self.static_shape)
        # GluonNLP's encoder computes on [s, b, width].
        embeddings, *layers = [output.asnumpy().transpose(1, 0, 2) for output in seen[:-1]]
        return HiddenStates(embeddings, layers, seen[-1].asnumpy(), logits)

    def weights(self) -> Weights:
        """Returns a copy of every parameter."""
        found = {name: parameter.data().asnumpy() for name, parameter in self.parameters.items()}
        return found if self.words is None else found | {self.words.name: self.words.table()}

    def set_weights(self, weights: Weights) -> None:
        """Overwrites every parameter; the optimizer's moments stay."""
        if self.words is not None:
            weights = weights | {self.words.name: self.words.take(weights[self.words.name])}
        for name, parameter in self.parameters.items():
            parameter.data()[:] = weights[name]

    def state(self) -> Iterator[tuple[str, np.ndarray]]:
        """Yields all that the next steps depend on. MXNet gives no access to dropout's stream: see `reseed`."""
        yield "steps", np.array(self.optimizer.steps)
        if self.words is not None:
            yield from self.words.rest.state()
        for name, parameter in self.parameters.items():
            first, second = self.optimizer.moments[name]
            yield f"weights/{name}", parameter.data().asnumpy()
            yield f"first/{name}", first.asnumpy()
            yield f"second/{name}", second.asnumpy()

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Takes up a state that `state` gave."""
        self.optimizer.steps = int(state["steps"])
        if self.words is not None:
            self.words.restore(state)
        for name, parameter in self.parameters.items():
            first, second = self.optimizer.moments[name]
            parameter.data()[:] = state[f"weights/{name}"]
            first[:] = state[f"first/{name}"]
            second[:] = state[f"second/{name}"]
        self.reseed()

    def reseed(self) -> None:
        """Starts dropout's stream again, from the recipe's seed and the number of steps so far."""
        numbers = np.random.SeedSequence((self.optimizer.recipe.seed, self.optimizer.steps)).generate_state(1)
        mx.random.seed(int(numbers[0]))

    def synchronize(self) -> None:
        """Waits until MXNet's engine has finished all its work."""
        mx.nd.waitall()

    def peak_memory(self) -> int:
        """Peak memory in bytes. MXNet's pool on a GPU keeps all memory that it once took, so on a GPU the peak is the
        memory in use now (by all processes, and by CUDA itself)."""
        if self.context.device_type == "cpu":
            return peak_resident_memory()
        free, total = mx.context.gpu_memory_info(self.context.device_id)
        return total - free

    def _loss(self, logits: mx.nd.NDArray, labels: mx.nd.NDArray) -> mx.nd.NDArray:
        """Mean cross-entropy, [1]. It is written out because `SoftmaxCELoss` is off by some 3e-6 on the CPU (oneDNN's
        log_softmax), and every gradient with it."""
        # The maximum cancels, so it needs no gradient.
        shifted = mx.nd.broadcast_sub(logits, mx.nd.max(logits, axis=1, keepdims=True).detach())
        return mx.nd.mean(mx.nd.log(mx.nd.sum(mx.nd.exp(shifted), axis=1)) - mx.nd.pick(shifted, labels, axis=1))

    def _backward(self, loss: mx.nd.NDArray, train_mode: bool = True) -> None:
        loss.backward(train_mode=train_mode)
        # transformers gives the pad token's embedding no gradient, even if a text holds that token.
        pad = self.architecture.pad_id if self.words is None else self.words.rest.rows.pad
        self.parameters[self.architecture.word_table].grad()[pad] = 0

    def _refresh(self) -> None:
        if self.words is not None:
            self.words.refresh()

    def _array(self, values: np.ndarray, dtype: str) -> mx.nd.NDArray:
        return mx.nd.array(values, ctx=self.context, dtype=dtype)

    def _logits(self, network: HybridBlock, batch: Batch) -> mx.nd.NDArray:
        a = self.architecture
        # MXNet's Embedding takes the last row for any id beyond the table, without an error.
        _require_below(batch.input_ids.max(initial=0), a.vocab_size, "vocab_size")
        _require_below(batch.input_ids.shape[1] - 1, a.max_positions, "max_positions")
        types = None
        if a.model_type == "bert":
            _require_below(batch.token_type_ids.max(initial=0), a.type_vocab_size, "type_vocab_size")
            types = self._array(batch.token_type_ids, "int32")
        lengths = self._array(batch.attention_mask.sum(axis=1), self.precision)
        return network(self._array(batch.input_ids, "int32"), types, lengths)


def _require_below(largest: int, size: int, field_name: str) -> None:
    if largest >= size:
        raise InputError(
            f"a batch needs {field_name} of {largest + 1} or more, the checkpoint has {size}; "
            "pass a smaller max_len, or the tokenizer that belongs to it"
        )
