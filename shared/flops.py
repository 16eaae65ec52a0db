"""What training asks of a machine: floating-point operations of the matrix products, bytes of the optimizer, and the
least time that both can take."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from shared.architecture import Architecture
from shared.batching import batch_width
from shared.recipe import Recipe

TRAINING = 3
"""A training step's operations over a forward pass's: behind each matrix product stand two of its size, one for either
factor's gradient. There is no exception at the first layer, as embeddings are trained too."""


@dataclass(frozen=True)
class Work:
    """Of some batches of training rows, each trained on once."""

    steps: int
    rows: int
    tokens: int
    """Real ones."""
    padded_tokens: int
    """Padding included."""
    real_flops: int
    """Of training, were each row computed at its own length."""
    all_flops: int
    """Of training at the batches' widths."""

    @classmethod
    def of(
        cls,
        a: Architecture,
        lengths: np.ndarray,
        batches: Iterable[np.ndarray],
        recipe: Recipe,
        width_multiple: int = 1,
    ) -> Work:
        """`lengths` int64 [n]: tokens of each training row. `batches`: their row numbers, int64 [b] each, which are as
        wide as `shared.batching.batch_width` says."""
        own = [lengths[rows] for rows in batches]
        widths = [np.full(len(part), batch_width(part, recipe, width_multiple)) for part in own]
        real, computed = (np.concatenate([np.empty(0, np.int64), *parts]) for parts in (own, widths))
        return cls(
            steps=len(own),
            rows=len(real),
            tokens=int(real.sum()),
            padded_tokens=int(computed.sum()),
            real_flops=training_flops(a, real),
            all_flops=training_flops(a, computed),
        )


def forward_flops(a: Architecture, lengths: np.ndarray) -> int:
    """Of one forward pass over rows of these tokens (int64 [n]), a multiplication and an addition counted as two.

    Matrix products alone: embeddings, LayerNorm, softmax, activations and dropout are left out, as is usual (Kaplan et
    al. 2020, table 1, has the same terms for a decoder). For a row of s tokens, width w and feed-forward f each layer
    takes 2s(4w² + 2wf) for its six linear maps, and 2 · 2s²w for the scores and for what they weigh; then come the
    pooler (in DistilBERT pre_classifier), 2w², and the classifier, 2w · labels, for one token a row."""
    s = lengths.astype(np.int64)
    linear = 2 * s * (4 * a.width**2 + 2 * a.width * a.feed_forward)
    attention = 4 * s**2 * a.width
    head = 2 * a.width * (a.width + a.num_labels)
    return int(a.layers * (linear + attention).sum() + head * len(s))


def training_flops(a: Architecture, lengths: np.ndarray) -> int:
    """Of forward and backward passes over rows of these tokens (int64 [n]), the optimizer left out."""
    return TRAINING * forward_flops(a, lengths)


def optimizer_bytes(a: Architecture, recipe: Recipe, bytes_each: int = 4) -> int:
    """That Adam must move in a step: it reads weight, gradient and both moments and writes weight and moments, seven of
    `bytes_each` a parameter. Clipping reads every gradient once more, as no weight can change before the norm is
    known; its factor costs nothing, as the update can apply it. Nor does zeroing: gradients are made anew. Weights
    are float32 in every precision but float64."""
    parameters = sum(int(np.prod(shape)) for shape in a.shapes().values())
    return parameters * bytes_each * (7 + (recipe.clip is not None))


def floor_seconds(work: Work, step_bytes: int, rate: float, bandwidth: float) -> float:
    """The least time for this work without its padding: operations by the machine's FLOP/s, and each step's optimizer
    bytes by its bytes a second. The two are summed, as no update can start before the whole backward pass has
    ended when gradients are clipped."""
    return work.real_flops / rate + work.steps * step_bytes / bandwidth
