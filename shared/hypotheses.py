"""Known mistakes of ports, one row each: the table that packs are measured by and that a check searches.

A row says in words what is wrong and at which rung it shows first. Its change is written where it belongs, under the
same id: of the network in backends/torch/network_changes.py, of loss, gradients, clipping and optimizer in
shared/rules/.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["parameters", "network", "random", "loss", "gradients", "clipping", "optimizer", "loop"]
"""Kinds of change. `random` rows are told by statistics; `loop` rows change rates or the order of batches."""

CLEAR = 3.0
"""A mistake that moves nothing by more than this many bounds cannot be told from rounding."""


@dataclass(frozen=True)
class Number:
    """A number that a check fits."""

    low: float
    high: float
    known: tuple[float, ...] = ()
    """Values that ports are known to have; they are tried first."""
    linear: bool = False
    """The result is linear in the number; if not, its logarithm is searched."""
    shown: float = 0.0
    """The value with which a pack is measured."""


@dataclass(frozen=True)
class Hypothesis:
    """One known mistake."""

    id: str
    words: str
    """In plain words; a fitted number stands in place of {}."""
    rung: str
    kind: Kind
    number: Number | None = None
    group: str = ""
    """Two rows of one group cannot both be so."""

    def says(self, number: float | None) -> str:
        """The words, with the number."""
        return self.words if number is None else self.words.format(f"{number:.3g}")

    def says_shown(self) -> str:
        """The words, with the number that packs are measured with."""
        return self.says(None if self.number is None else self.number.shown)


EPS = Number(1e-16, 1e-1, shown=1e-5, known=(1e-5, 1e-6, 1e-7, 1e-8, 1e-3, 1e-12))
SMALL_EPS = Number(1e-16, 1e-1, shown=1e-7, known=(1e-8, 1e-6, 1e-7, 1e-12, 1e-5, 1e-3))

HYPOTHESES = (
    # The parameters as loaded.
    Hypothesis("weights-float16", "parameters were rounded to float16", "parameters", "parameters", group="rounded"),
    Hypothesis("weights-bfloat16", "parameters were rounded to bfloat16", "parameters", "parameters", group="rounded"),
    # The embeddings.
    Hypothesis("token-types-omitted", "no token type embedding is added", "embeddings", "network", group="types"),
    Hypothesis(
        "token-types-zero", "token types are dropped: every token has type 0", "embeddings", "network", group="types"
    ),
    Hypothesis("token-types-swapped", "token types 0 and 1 are swapped", "embeddings", "network", group="types"),
    Hypothesis("positions-from-1", "positions start at 1", "embeddings", "network", group="positions"),
    Hypothesis("positions-from-2", "positions start at 2", "embeddings", "network", group="positions"),
    Hypothesis("positions-omitted", "no position embedding is added", "embeddings", "network", group="positions"),
    Hypothesis("positions-skip-pads", "positions do not count pad tokens", "embeddings", "network", group="positions"),
    Hypothesis("words-scaled", "word embeddings are multiplied by the root of the width", "embeddings", "network"),
    Hypothesis("pad-zero", "the pad token's embedding is zero", "embeddings", "network"),
    Hypothesis(
        "embeddings-unnormed", "embeddings have no LayerNorm", "embeddings", "network", group="norm-of-embeddings"
    ),
    # LayerNorm, everywhere.
    Hypothesis("layer-norm-eps", "LayerNorm's epsilon is {}", "embeddings", "network", EPS),
    Hypothesis("layer-norm-unbiased", "LayerNorm divides by n - 1 in its variance", "embeddings", "network"),
    # The layers.
    Hypothesis("gelu-tanh", "GELU is its tanh approximation", "layers", "network", group="activation"),
    Hypothesis("gelu-sigmoid", "GELU is its sigmoid approximation", "layers", "network", group="activation"),
    Hypothesis("gelu-relu", "GELU is a ReLU", "layers", "network", group="activation"),
    Hypothesis("gelu-silu", "GELU is a SiLU", "layers", "network", group="activation"),
    Hypothesis("pre-norm", "LayerNorm comes before attention and feed-forward", "layers", "network", group="residual"),
    Hypothesis("norm-before-sum", "LayerNorm comes before the residual sum", "layers", "network", group="residual"),
    Hypothesis("residuals-omitted", "no residual is added", "layers", "network", group="residual"),
    Hypothesis("mask-none", "padding is not masked", "layers", "network", group="mask"),
    Hypothesis("mask-added", "a mask of zeros and ones is added to the scores", "layers", "network", group="mask"),
    Hypothesis("mask-multiplied", "scores are multiplied by the mask", "layers", "network", group="mask"),
    Hypothesis("mask-after-softmax", "the mask comes after the softmax", "layers", "network", group="mask"),
    Hypothesis("mask-one-short", "the mask leaves out the last real token", "layers", "network", group="mask"),
    Hypothesis("mask-one-long", "the mask lets one pad token in", "layers", "network", group="mask"),
    Hypothesis(
        "mask-of-ids",
        "the mask is made of the ids: the pad token is masked in a text too",
        "layers",
        "network",
        group="mask",
    ),
    Hypothesis("mask-inverted", "the mask is inverted", "layers", "network", group="mask"),
    Hypothesis("causal", "tokens see those before them alone", "layers", "network"),
    Hypothesis("heads-interleaved", "heads are split the other way", "layers", "network", group="split"),
    Hypothesis("heads-reshaped", "heads are reshaped without the transposition", "layers", "network", group="split"),
    Hypothesis("heads-merged", "heads are merged without the transposition", "layers", "network", group="merge"),
    Hypothesis(
        "scale-of-width", "scores are divided by the root of the whole width", "layers", "network", group="scale"
    ),
    Hypothesis("scale-none", "scores are not scaled", "layers", "network", group="scale"),
    Hypothesis("scale-twice", "scores are scaled twice", "layers", "network", group="scale"),
    Hypothesis("queries-keys-swapped", "queries and keys are swapped", "layers", "network"),
    Hypothesis("attention-unbiased", "queries, keys and values have no bias", "layers", "network"),
    Hypothesis("transposed-query", "the query's weight is transposed", "layers", "network"),
    Hypothesis("transposed-key", "the key's weight is transposed", "layers", "network"),
    Hypothesis("transposed-value", "the value's weight is transposed", "layers", "network"),
    Hypothesis("transposed-attention", "the weight of attention's output is transposed", "layers", "network"),
    Hypothesis("layers-reversed", "layers come in reversed order", "layers", "network", group="order"),
    Hypothesis("layers-first", "every layer has the first one's parameters", "layers", "network", group="order"),
    # The head.
    Hypothesis("pooler-linear", "the pooler has no tanh", "pooled", "network", group="pooler"),
    Hypothesis("pooler-relu", "the pooler's tanh is a ReLU", "pooled", "network", group="pooler"),
    Hypothesis("pooler-omitted", "there is no pooler", "pooled", "network", group="pooler"),
    Hypothesis("pooler-mean", "the mean of all tokens is pooled, padding too", "pooled", "network", group="token"),
    Hypothesis("pooler-mean-real", "the mean of real tokens is pooled", "pooled", "network", group="token"),
    Hypothesis("pooler-largest", "each entry's largest over all tokens is pooled", "pooled", "network", group="token"),
    Hypothesis("pooler-last", "the last token is pooled, padding or not", "pooled", "network", group="token"),
    Hypothesis("transposed-pooler", "the pooler's weight is transposed", "pooled", "network"),
    Hypothesis("head-unbiased", "the head has no bias", "logits", "network"),
    Hypothesis("head-softmax", "logits have gone through a softmax", "logits", "network", group="softmax"),
    Hypothesis("head-log-softmax", "logits have gone through a log-softmax", "logits", "network", group="softmax"),
    # Dropout.
    Hypothesis("dropout-on", "dropout is left on where it is off", "embeddings", "random", Number(0.0, 1.0)),
    Hypothesis("dropout-off", "dropout is off where it is on", "dropout", "random"),
    Hypothesis("dropout-before-norm", "dropout of the embeddings comes before LayerNorm", "dropout", "random"),
    Hypothesis("dropout-rate", "dropout's rate is {}", "dropout", "random", Number(0.0, 1.0)),
    # The loss.
    Hypothesis("loss-sum", "the loss is a sum over rows", "loss", "loss", group="reduction"),
    Hypothesis("loss-binary", "the loss is binary cross-entropy, a mean over labels", "loss", "loss", group="loss"),
    Hypothesis("loss-binary-sum", "the loss is binary cross-entropy, a sum over labels", "loss", "loss", group="loss"),
    Hypothesis("loss-softmax-twice", "the loss takes probabilities for logits", "loss", "loss", group="loss"),
    Hypothesis(
        "loss-smoothed", "labels are smoothed by {}", "loss", "loss", Number(0.0, 1.0, linear=True, shown=0.1), "loss"
    ),
    Hypothesis("loss-weighted", "classes are weighted", "loss", "loss", group="loss"),
    # The gradients.
    Hypothesis("pad-trained", "the pad token's embedding is trained", "gradients", "gradients"),
    Hypothesis("words-frozen", "word embeddings are frozen", "gradients", "gradients", group="frozen"),
    Hypothesis("embeddings-frozen", "all embeddings are frozen", "gradients", "gradients", group="frozen"),
    Hypothesis("encoder-frozen", "all but the head is frozen", "gradients", "gradients", group="frozen"),
    Hypothesis(
        "gradients-scaled",
        "gradients are {} times as large: accumulated undivided, or of a summed loss",
        "gradients",
        "gradients",
        Number(0.0, 1e4, linear=True, shown=2.0),
    ),
    Hypothesis(
        "words-gradient-scaled",
        "the word embeddings' gradient is {} times as large",
        "gradients",
        "gradients",
        Number(0.0, 1e4, linear=True, shown=2.0),
        "frozen",
    ),
    Hypothesis(
        "gradients-kept", "gradients of the step before are added, as clipped", "gradients", "gradients", group="kept"
    ),
    Hypothesis("gradients-summed", "gradients of all steps before are added", "gradients", "gradients", group="kept"),
    # Clipping.
    Hypothesis("clip-none", "gradients are not clipped", "clipped", "clipping", group="clip"),
    Hypothesis("clip-each", "each tensor is clipped by itself", "clipped", "clipping", group="clip"),
    Hypothesis("clip-value", "gradients are clipped entry by entry", "clipped", "clipping", group="clip"),
    Hypothesis(
        "clip-always", "gradients are brought to the clip's norm even below it", "clipped", "clipping", group="clip"
    ),
    Hypothesis("clip-average", "the norm is divided by the number of entries", "clipped", "clipping", group="clip"),
    Hypothesis(
        "clip-other",
        "gradients are clipped at a norm of {}",
        "clipped",
        "clipping",
        Number(0.0, 1e6, linear=True, shown=2.0),
        "clip",
    ),
    Hypothesis(
        "norm-repeats",
        "gradients of repeated rows of all embeddings are squared apart in the norm",
        "norm",
        "clipping",
        group="norm",
    ),
    Hypothesis(
        "norm-repeats-words",
        "gradients of repeated words are squared apart in the norm",
        "norm",
        "clipping",
        group="norm",
    ),
    Hypothesis(
        "norm-repeats-tokens",
        "gradients of repeated words and token types are squared apart in the norm",
        "norm",
        "clipping",
        group="norm",
    ),
    Hypothesis("norm-after", "the norm is that after clipping", "norm", "clipping", group="norm"),
    Hypothesis("norm-no-words", "the norm leaves out the word embeddings", "norm", "clipping", group="norm"),
    Hypothesis("norm-largest", "the norm is the largest entry", "norm", "clipping", group="norm"),
    Hypothesis("norm-squared", "the norm is squared", "norm", "clipping", group="norm"),
    # The optimizer.
    Hypothesis("no-bias-correction", "Adam corrects no bias", "first step", "optimizer", group="correction"),
    Hypothesis(
        "correction-of-step-1", "each step corrects the bias of step 1", "last step", "optimizer", group="correction"
    ),
    Hypothesis(
        "correction-ahead", "bias is corrected as at the next step", "first step", "optimizer", group="correction"
    ),
    Hypothesis("eps-before", "epsilon is added before bias correction", "first step", "optimizer", group="eps-place"),
    Hypothesis("eps-inside", "epsilon is added under the root", "first step", "optimizer", group="eps-place"),
    Hypothesis("eps-other", "the optimizer's epsilon is {}", "first step, steep", "optimizer", SMALL_EPS),
    Hypothesis(
        "beta1-other",
        "beta1 is {}",
        "last step",
        "optimizer",
        Number(0.0, 0.9999, (0.0, 0.8, 0.95, 0.5, 0.99), shown=0.95),
    ),
    Hypothesis(
        "beta2-other",
        "beta2 is {}",
        "last step",
        "optimizer",
        Number(0.0, 0.99999, (0.99, 0.98, 0.95, 0.9, 0.9999), shown=0.99),
    ),
    Hypothesis(
        "decay-other",
        "weight decay is {}",
        "first step, steep",
        "optimizer",
        Number(0.0, 1e3, linear=True, shown=0.05),
        "decay",
    ),
    Hypothesis("decay-none", "nothing decays", "first step, steep", "optimizer", group="decay"),
    Hypothesis("decay-all", "every parameter decays", "first step, steep", "optimizer", group="decayed"),
    Hypothesis(
        "decay-layer-norm", "LayerNorm's parameters decay too", "first step, steep", "optimizer", group="decayed"
    ),
    Hypothesis("decay-biases", "biases decay too, LayerNorm's not", "first step, steep", "optimizer", group="decayed"),
    Hypothesis(
        "decay-norm-weights",
        "LayerNorm's weights decay too, biases not",
        "first step, steep",
        "optimizer",
        group="decayed",
    ),
    Hypothesis("decay-gradient", "decay is added to the gradient", "first step", "optimizer", group="decay-place"),
    Hypothesis(
        "decay-without-rate", "decay is not multiplied by the rate", "first step", "optimizer", group="decay-place"
    ),
    Hypothesis(
        "decay-corrected", "decay is multiplied by the bias correction", "first step", "optimizer", group="decay-place"
    ),
    Hypothesis("decay-of-peak", "decay is multiplied by the peak rate", "first step", "optimizer", group="decay-place"),
    Hypothesis("decay-after", "weights decay after the update", "first step", "optimizer", group="decay-place"),
    Hypothesis("amsgrad", "the optimizer is AMSGrad", "last step", "optimizer", group="method"),
    Hypothesis("sgd-momentum", "the optimizer is SGD with momentum", "first step", "optimizer", group="method"),
    Hypothesis("lamb", "the optimizer is LAMB", "first step", "optimizer", group="method"),
    Hypothesis("adafactor", "the optimizer is Adafactor", "first step", "optimizer", group="method"),
    Hypothesis("moments-reset", "moments start at zero at each step", "last step", "optimizer", group="moments"),
    Hypothesis(
        "repeats-squared",
        "gradients of repeated rows of all embeddings are squared apart in the second moment",
        "first step",
        "optimizer",
        group="repeats",
    ),
    Hypothesis(
        "repeats-squared-tokens",
        "gradients of repeated words and token types are squared apart in the second moment",
        "first step",
        "optimizer",
        group="repeats",
    ),
    # The loop.
    Hypothesis("rate-late", "the rate is that of the step before", "first step", "loop", group="rate"),
    Hypothesis(
        "rate-early", "the rate is that of the next step: the warm-up is off by one", "first step", "loop", group="rate"
    ),
    Hypothesis("rate-of-peak", "the rate is constant, the peak", "first step", "loop", group="rate"),
    Hypothesis(
        "rate-end",
        "the rate falls {} times as fast after the warm-up",
        "last step",
        "loop",
        Number(-10.0, 10.0, linear=True, shown=0.5),
        "rate",
    ),
    Hypothesis(
        "rate-scaled",
        "the peak is {} times as high",
        "first step",
        "loop",
        Number(0.0, 1e4, linear=True, shown=2.0),
        "rate-scale",
    ),
    Hypothesis("batches-swapped", "batches come in another order", "losses", "loop"),
)
"""From the ground up."""

HYPOTHESIS = {hypothesis.id: hypothesis for hypothesis in HYPOTHESES}
"""Rows by id."""
