"""The cost of training: floating-point operations of the matrix products, bytes that the optimizer moves, and the least
time that both can take."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from shared.architecture import Architecture
from shared.batching import batch_width
from shared.packing import attended_widths
from shared.recipe import Recipe

TRAINING = 3
"""Operations of a training step, divided by those of a forward pass. Backward costs two products for each forward one,
one for the gradient of either factor. The first layer is no exception, as embeddings are trained too."""


@dataclass(frozen=True)
class Work:
    """The work of training once on each of some batches."""

    steps: int
    rows: int
    tokens: int
    """Real tokens."""
    padded_tokens: int
    """Tokens computed on, padding included if there is any."""
    real_flops: int
    """Operations if each row were computed at its own length."""
    all_flops: int
    """Operations at the widths that are computed at."""
    needed_flops: int | None = None
    """Those of `real_flops` that a logit depends on (`unread_flops`). None in files from before they were counted."""

    @classmethod
    def of(
        cls,
        a: Architecture,
        lengths: np.ndarray,
        batches: Iterable[np.ndarray],
        recipe: Recipe,
        width_multiple: int = 1,
        attention_groups: int = 1,
    ) -> Work:
        """Counts the work of these batches.

        `lengths`, int64 [n], are the tokens of each training row. `batches` are the row numbers of each batch, int64
        [b]. A batch is as wide as `shared.batching.batch_width` says. With padding `none` attention alone is: it is
        computed in `attention_groups` groups of rows or fewer (`shared.packing.group_rows`).
        """
        own = [lengths[rows] for rows in batches]
        widths = [batch_width(part, recipe, width_multiple) for part in own]
        if packed := recipe.padding == "none":
            wide = [attended_widths(*one, attention_groups) for one in zip(own, widths, strict=True)]
        else:
            wide = [np.full(len(part), width) for part, width in zip(own, widths, strict=True)]
        real, attended = (np.concatenate([np.empty(0, np.int64), *parts]) for parts in (own, wide))
        computed = real if packed else attended
        return cls(
            steps=len(own),
            rows=len(real),
            tokens=int(real.sum()),
            padded_tokens=int(computed.sum()),
            real_flops=training_flops(a, real),
            all_flops=training_flops(a, computed, attended),
            needed_flops=training_flops(a, real) - TRAINING * unread_flops(a, real),
        )


def forward_flops(a: Architecture, lengths: np.ndarray, attended: np.ndarray | None = None) -> int:
    """Operations of one forward pass over rows of these numbers of tokens (int64 [n]). A multiplication and an addition
    count as two. `attended` are the tokens that attention is computed on, if they are others: int64 [n].

    Only matrix products count. Embeddings, LayerNorm, softmax, activations and dropout are left out, as is usual
    (Kaplan et al. 2020, table 1, has the same terms for a decoder). For a row of s tokens, width w and feed-forward f
    each layer takes 2s(4w² + 2wf) for its six linear maps, and 2 · 2s²w for the attention scores and the weighted sum
    of values. The pooler (in DistilBERT pre_classifier) adds 2w² and the classifier 2w · labels, for one token a row.
    """
    s = lengths.astype(np.int64)
    linear = 2 * s * (4 * a.width**2 + 2 * a.width * a.feed_forward)
    attention = 4 * (s if attended is None else attended.astype(np.int64)) ** 2 * a.width
    head = 2 * a.width * (a.width + a.num_labels)
    return int(a.layers * (linear + attention).sum() + head * len(s))


def training_flops(a: Architecture, lengths: np.ndarray, attended: np.ndarray | None = None) -> int:
    """Operations of forward and backward pass over rows of these numbers of tokens (int64 [n]), without the optimizer.
    `attended` is as in `forward_flops`."""
    return TRAINING * forward_flops(a, lengths, attended)


def unread_flops(a: Architecture, lengths: np.ndarray) -> int:
    """Operations of one forward pass over rows of these numbers of tokens (int64 [n]) that no logit depends on. The
    classifier reads each row's first token alone: of the last layer the others need keys and values, and neither query
    nor attention's output nor feed-forward."""
    others = lengths.astype(np.int64) - 1
    linear = 2 * (2 * a.width**2 + 2 * a.width * a.feed_forward)
    return int((others * (linear + 4 * lengths.astype(np.int64) * a.width)).sum())


def optimizer_bytes(a: Architecture, recipe: Recipe, bytes_each: int = 4, touched: int | None = None) -> int:
    """Bytes that Adam must move in one step. `touched` is the number of the word embedding's rows that training can
    touch: the others need not move (backends/word_rows.py). None counts all rows.

    Adam reads weight, gradient and both moments and writes weight and moments: seven numbers of `bytes_each` bytes a
    parameter. Clipping reads every gradient once more, as no weight can change before the norm is known. Its factor
    costs nothing, as the update can apply it. Zeroing gradients costs nothing either, as backward overwrites them.
    Weights are float32 in every precision but float64.
    """
    parameters = sum(int(np.prod(shape)) for shape in a.shapes().values())
    if touched is not None and not (recipe.optimizer == "adam" and recipe.decays(a.word_table)):
        parameters -= (a.vocab_size - touched) * a.width
    return parameters * bytes_each * (7 + (recipe.clip is not None))


def floor_seconds(operations: int, steps: int, step_bytes: int, rate: float, bandwidth: float) -> float:
    """The least time for these operations in so many steps, in seconds: the operations at `rate` FLOP/s, plus the
    optimizer's bytes of every step at `bandwidth` bytes a second. The two are summed because, with clipping, no update
    can start before the whole backward pass has ended."""
    return operations / rate + steps * step_bytes / bandwidth
