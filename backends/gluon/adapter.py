"""The backend MXNet with GluonNLP: its `BERTEncoder`, `BERTModel` and `BERTClassifier`, hybridized.

What differs from transformers in the stock blocks is set right here: the place of the embeddings' dropout, a rate for
each place of dropout, DistilBERT's head, the loss, the optimizer. MXNet takes its CPU threads from OMP_NUM_THREADS when
the process starts.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field
from typing import Any

import gluonnlp as nlp
import mxnet as mx
import numpy as np
from mxnet.gluon import HybridBlock, Parameter, nn

from backends import BACKENDS, check_precision
from backends.devices import gpu_number, peak_resident_memory
from shared.architecture import Architecture, Weights
from shared.batching import Batch
from shared.contract import Gradients, HiddenStates, Lazy
from shared.errors import InputError
from shared.job import Precision
from shared.recipe import Recipe

ACTIVATIONS = {"gelu": "gelu", "gelu_new": "approx_gelu", "relu": "relu"}
"""GluonNLP's names of `Architecture.activation`."""

# GluonNLP's blocks of a layer, and their names in HuggingFace's checkpoints.
BERT_LAYER = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "proj": "attention.output.dense",
    "layer_norm": "attention.output.LayerNorm",
    "ffn.ffn_1": "intermediate.dense",
    "ffn.ffn_2": "output.dense",
    "ffn.layer_norm": "output.LayerNorm",
}
DISTILBERT_LAYER = {
    "query": "attention.q_lin",
    "key": "attention.k_lin",
    "value": "attention.v_lin",
    "proj": "attention.out_lin",
    "layer_norm": "sa_layer_norm",
    "ffn.ffn_1": "ffn.lin1",
    "ffn.ffn_2": "ffn.lin2",
    "ffn.layer_norm": "output_layer_norm",
}


def load(
    architecture: Architecture,
    weights: Weights,
    recipe: Recipe,
    device: str,
    threads: int,
    precision: Precision = "float32",
    compile: bool = False,
) -> GluonModel:
    """Builds the model on `device` with these weights (see `shared.contract.Load`).

    `threads` must be what OMP_NUM_THREADS said when the process started: MXNet reads nothing else. Raises InputError
    where the device is a GPU that this MXNet does not see, and for any precision but float32 and float64.
    """
    number = gpu_number(device, mx.context.num_gpus())
    check_precision("gluon", device, precision)
    context = mx.cpu() if number is None else mx.gpu(number)
    # Dropout is drawn from MXNet's one global stream; initial weights are not.
    mx.random.seed(recipe.seed)
    network = _network(architecture)
    if precision == "float64":
        for cell in network.bert.encoder.transformer_cells:
            cell.attention_cell.__class__ = PlainAttention
        network.cast(precision)
    parameters = _parameters(network, architecture)
    for name, parameter in parameters.items():
        parameter.shape = weights[name].shape
        parameter.initialize(init=mx.init.Constant(weights[name]), ctx=context)
    network.hybridize(static_alloc=True, static_shape=compile)
    optimizer = Optimizer(recipe, parameters, precision)
    return GluonModel(architecture, context, network, parameters, optimizer, precision, compile)


class NormThenDropout(nn.LayerNorm):
    """Layer normalization, then dropout: what transformers does to the embeddings. GluonNLP drops out first."""

    def __init__(self, width: int, epsilon: float, rate: float) -> None:
        super().__init__(in_channels=width, epsilon=epsilon)
        self._rate = rate

    def hybrid_forward(self, F: Any, data: Any, gamma: Any, beta: Any) -> Any:
        """`data` and the result: [s, b, width]."""
        return F.Dropout(super().hybrid_forward(F, data, gamma, beta), p=self._rate)


class PlainAttention(nlp.model.bert.DotProductSelfAttentionCell):
    """GluonNLP's self-attention by matrix products that know float64; its own operators are float32 alone. The same
    parameters."""

    def hybrid_forward(self, F: Any, qkv: Any, valid_len: Any, **parameters: Any) -> tuple[Any, Any]:
        """`qkv` [s, b, width]; `valid_len` [b, s] or None. Gives the context [s, b, width] and the weights
        [b, heads, s, s]."""
        query, key, value = (
            F.FullyConnected(
                qkv, parameters[f"{part}_weight"], parameters[f"{part}_bias"], num_hidden=self.units, flatten=False
            )
            .reshape((0, 0, self._num_heads, -1))
            .transpose((1, 2, 0, 3))  # [b, heads, s, width of a head]
            .reshape((-3, 0, 0))
            for part in ("query", "key", "value")
        )
        scores = F.batch_dot(query, key, transpose_b=True) / math.sqrt(self.units / self._num_heads)
        if valid_len is None:
            weights = F.softmax(scores, axis=-1)
        else:
            lengths = F.repeat(valid_len, repeats=self._num_heads, axis=0)
            weights = F.softmax(scores, length=lengths.astype("int32"), use_length=True, axis=-1)
        weights = self.dropout_layer(weights)
        context = F.batch_dot(weights, value).reshape((-4, -1, self._num_heads, 0, 0))
        context = context.transpose((2, 0, 1, 3)).reshape((0, 0, -3))
        return context, weights.reshape((-4, -1, self._num_heads, 0, 0))


def _network(a: Architecture) -> HybridBlock:
    """A classifier on a BERT, or on a DistilBERT: to GluonNLP a BERT without token types. Takes ids, types (None for
    DistilBERT) and lengths, gives logits. Uninitialized."""
    encoder = nlp.model.BERTEncoder(
        num_layers=a.layers,
        units=a.width,
        hidden_size=a.feed_forward,
        max_length=a.max_positions,
        num_heads=a.heads,
        dropout=0.5,  # Any rate but 0 makes the layers of dropout, which are then replaced.
        activation=ACTIVATIONS[a.activation],
        layer_norm_eps=a.layer_norm_eps,
    )
    encoder.dropout_layer = nn.Dropout(0)
    encoder.layer_norm = NormThenDropout(a.width, a.layer_norm_eps, a.dropout.embeddings)
    for cell in encoder.transformer_cells:
        cell.attention_cell.dropout_layer = nn.Dropout(a.dropout.attention)
        cell.dropout_layer = nn.Dropout(a.dropout.attention_output)
        cell.ffn.dropout_layer = nn.Dropout(a.dropout.feed_forward_output)
    bert = nlp.model.BERTModel(
        encoder,
        vocab_size=a.vocab_size,
        token_type_vocab_size=a.type_vocab_size,
        units=a.width,
        embed_size=a.width,
        use_decoder=False,
        use_classifier=False,
        use_token_type_embed=a.model_type == "bert",
    )
    if a.model_type == "distilbert":
        bert.pooler = nn.Dense(a.width, activation="relu", flatten=False)
    return nlp.model.BERTClassifier(bert, num_classes=a.num_labels, dropout=a.dropout.classifier)


def _parameters(network: HybridBlock, a: Architecture) -> dict[str, Parameter]:
    """Every parameter under its HuggingFace name, in the order of `Architecture.shapes`. Layouts are the same."""
    bert, encoder = network.bert, network.bert.encoder
    distil = a.model_type == "distilbert"
    found = {
        f"{a.model_type}.embeddings.word_embeddings.weight": bert.word_embed[0].weight,
        f"{a.model_type}.embeddings.position_embeddings.weight": encoder.position_weight,
    }
    if not distil:
        found["bert.embeddings.token_type_embeddings.weight"] = bert.token_type_embed[0].weight
    blocks = {
        f"{a.model_type}.embeddings.LayerNorm": encoder.layer_norm,
        "pre_classifier" if distil else "bert.pooler.dense": bert.pooler,
        "classifier": network.classifier[-1],
    }
    names = DISTILBERT_LAYER if distil else BERT_LAYER
    for n, cell in enumerate(encoder.transformer_cells):
        layer = f"distilbert.transformer.layer.{n}" if distil else f"bert.encoder.layer.{n}"
        for part in ("query", "key", "value"):
            for kind in ("weight", "bias"):
                found[f"{layer}.{names[part]}.{kind}"] = getattr(cell.attention_cell, f"{part}_{kind}")
        blocks[f"{layer}.{names['proj']}"] = cell.proj
        blocks[f"{layer}.{names['layer_norm']}"] = cell.layer_norm
        for part in ("ffn_1", "ffn_2", "layer_norm"):
            blocks[f"{layer}.{names[f'ffn.{part}']}"] = getattr(cell.ffn, part)
    for name, block in blocks.items():
        norm = isinstance(block, nn.LayerNorm)
        found[f"{name}.weight"] = block.gamma if norm else block.weight
        found[f"{name}.bias"] = block.beta if norm else block.bias
    return {name: found[name] for name in a.shapes()}


@dataclass
class Optimizer:
    """`torch.optim.AdamW` or `Adam`, with the recipe's switches, on MXNet's fused `adamw_update`."""

    recipe: Recipe
    parameters: dict[str, Parameter]
    precision: Precision
    steps: int = 0
    moments: dict[str, tuple[mx.nd.NDArray, mx.nd.NDArray]] = field(default_factory=dict)
    """First and second, of each parameter's shape."""

    def __post_init__(self) -> None:
        for name, parameter in self.parameters.items():
            self.moments[name] = (mx.nd.zeros_like(parameter.data()), mx.nd.zeros_like(parameter.data()))

    def step(self, learning_rate: float) -> None:
        """Clips the gradients that lie in the parameters and updates these.

        `adamw_update` computes w -= eta * (lr * m / (sqrt(v) + epsilon) + wd * w) with the uncorrected m and v, so
        bias correction (Kingma and Ba 2015, end of section 2) goes into lr, and into epsilon where that is added after
        it.
        """
        recipe = self.recipe
        self.steps += 1
        lr, epsilon = 1.0, recipe.eps
        if recipe.bias_correction:
            # The operator's betas are float32, and so must the correction's be: 1 - 0.999 differs by 1.3e-5.
            first, second = (1 - float(np.float32(beta)) ** self.steps for beta in (recipe.beta1, recipe.beta2))
            lr = math.sqrt(second) / first
            if recipe.eps_place == "after":
                epsilon *= math.sqrt(second)
        _, scale = self.norm_and_factor()
        # The operator takes its own factor in float32 alone.
        one = mx.nd.ones(1, ctx=scale.context)
        for name, parameter in self.parameters.items():
            weight, gradient, decay, factor = parameter.data(), parameter.grad(), 0.0, scale
            added = recipe.decay if recipe.decays(name) and recipe.optimizer == "adam" else 0.0
            if added or self.precision == "float64":
                gradient, factor = mx.nd.broadcast_mul(gradient, scale.reshape([1] * gradient.ndim)), one
            if added:
                gradient = gradient + added * weight
            elif recipe.decays(name):
                decay = recipe.decay
            mx.nd.contrib.adamw_update(
                weight,
                gradient,
                *self.moments[name],
                factor,
                lr=lr,
                eta=learning_rate,
                beta1=recipe.beta1,
                beta2=recipe.beta2,
                epsilon=epsilon,
                wd=decay,
                out=weight,
            )

    def norm_and_factor(self) -> tuple[mx.nd.NDArray, mx.nd.NDArray]:
        """The gradients' global norm, [1], and what they are to be multiplied with, [1], as
        `torch.nn.utils.clip_grad_norm_` has it."""
        gradients = [parameter.grad().reshape(-1) for parameter in self.parameters.values()]
        norm = mx.nd.sqrt(mx.nd.add_n(*(mx.nd.dot(gradient, gradient) for gradient in gradients)))
        if self.recipe.clip is None:
            return norm, mx.nd.ones_like(norm)
        factor = mx.nd.minimum(self.recipe.clip / (norm + 1e-6), 1.0)
        # Were the factor not finite, `adamw_update` would skip the step in silence; so the gradients make the weights
        # NaN, as they do in torch.
        return norm, mx.nd.where(norm < math.inf, factor, mx.nd.ones_like(factor))


@dataclass
class GluonModel:
    """The contract's Model."""

    architecture: Architecture
    context: mx.Context
    network: HybridBlock
    parameters: dict[str, Parameter]
    optimizer: Optimizer
    precision: Precision
    static_shape: bool = False
    """Memory and the order of operations are laid out once for a shape, and anew where the shape changes."""
    predicting: HybridBlock = field(init=False)
    """The same layers, in a graph of its own. One graph's memory would be laid out anew as training goes on after a
    prediction, beside the old."""

    def __post_init__(self) -> None:
        self.predicting = copy.copy(self.network)

    @property
    def width_multiple(self) -> int:
        return BACKENDS["gluon"].width_multiple(self.static_shape)

    def train_step(self, batch: Batch, learning_rate: float) -> Lazy:
        """One optimizer step, enqueued. The result waits for it."""
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
        """Logits, [b, num_labels], dropout off."""
        return self._logits(self.predicting, batch).asnumpy()

    def gradients(self, batch: Batch) -> Gradients:
        """Loss and every gradient, dropout off. The next train step overwrites what lies in the parameters."""
        with mx.autograd.record(train_mode=False):
            loss = self._loss(self._logits(self.network, batch), self._array(batch.labels, self.precision))
        self._backward(loss, train_mode=False)
        raw = {name: parameter.grad().asnumpy() for name, parameter in self.parameters.items()}
        norm, factor = self.optimizer.norm_and_factor()
        clipped = {
            name: mx.nd.broadcast_mul(parameter.grad(), factor.reshape([1] * parameter.grad().ndim)).asnumpy()
            for name, parameter in self.parameters.items()
        }
        return Gradients(float(loss.asscalar()), raw, float(norm.asscalar()), clipped)

    def hidden_states(self, batch: Batch, dropout: bool = False) -> HiddenStates:
        """What one forward pass computes. Not hybridized, as hooks are silent inside a hybridized block."""
        bert, encoder = self.network.bert, self.network.bert.encoder
        seen: list[mx.nd.NDArray] = []
        blocks = [encoder.layer_norm, *encoder.transformer_cells, bert.pooler]
        # A layer's output comes with its attention weights, where these are asked for.
        hooks = [
            block.register_forward_hook(
                lambda _, __, output: seen.append(output[0] if isinstance(output, tuple) else output)
            )
            for block in blocks
        ]
        self.network.hybridize(False)
        with mx.autograd.train_mode() if dropout else mx.autograd.predict_mode():
            logits = self._logits(self.network, batch).asnumpy()
        for hook in hooks:
            hook.detach()
        self.network.hybridize(static_alloc=True, static_shape=self.static_shape)
        # GluonNLP's encoder works on [s, b, width].
        embeddings, *layers = [output.asnumpy().transpose(1, 0, 2) for output in seen[:-1]]
        return HiddenStates(embeddings, layers, seen[-1].asnumpy(), logits)

    def weights(self) -> Weights:
        """A copy of every parameter."""
        return {name: parameter.data().asnumpy() for name, parameter in self.parameters.items()}

    def set_weights(self, weights: Weights) -> None:
        """Overwrites every parameter; the optimizer's moments stay."""
        for name, parameter in self.parameters.items():
            parameter.data()[:] = weights[name]

    def synchronize(self) -> None:
        """Returns when MXNet's engine has nothing left to do."""
        mx.nd.waitall()

    def peak_memory(self) -> int:
        """Bytes at the peak. MXNet's GPU pool keeps what it once took, so there the peak is what is taken now (by all
        processes, and CUDA's own share with it)."""
        if self.context.device_type == "cpu":
            return peak_resident_memory()
        free, total = mx.context.gpu_memory_info(self.context.device_id)
        return total - free

    def _loss(self, logits: mx.nd.NDArray, labels: mx.nd.NDArray) -> mx.nd.NDArray:
        """Mean cross-entropy, [1]. Written out, as `SoftmaxCELoss` is off by some 3e-6 on the CPU (oneDNN's
        log_softmax), and every gradient with it."""
        # No gradient flows through the maximum: it cancels.
        shifted = mx.nd.broadcast_sub(logits, mx.nd.max(logits, axis=1, keepdims=True).detach())
        return mx.nd.mean(mx.nd.log(mx.nd.sum(mx.nd.exp(shifted), axis=1)) - mx.nd.pick(shifted, labels, axis=1))

    def _backward(self, loss: mx.nd.NDArray, train_mode: bool = True) -> None:
        loss.backward(train_mode=train_mode)
        # transformers gives the pad token's embedding no gradient, even where a text holds that token.
        word_embeddings = self.parameters[f"{self.architecture.model_type}.embeddings.word_embeddings.weight"]
        word_embeddings.grad()[self.architecture.pad_id] = 0

    def _array(self, values: np.ndarray, dtype: str) -> mx.nd.NDArray:
        return mx.nd.array(values, ctx=self.context, dtype=dtype)

    def _logits(self, network: HybridBlock, batch: Batch) -> mx.nd.NDArray:
        a = self.architecture
        # MXNet's Embedding takes the last row for any id beyond the table, and says nothing.
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
