"""The rungs of the parity ladder and their bounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

NOISE_FACTOR = 10
"""Two correct programs round in different orders. Ten times torch's own error is more than any was seen to differ, and
a tenth or less of what each mistake in tests/backends/mutations.py brings (docs/parity.md has both)."""

STEEP_STEPS = 10
"""Largest number of steps at the steep settings: rounding errors grow from step to step."""

HALF_ULP = 2.0**-24
"""float32's rounding error, relative."""


@dataclass(frozen=True)
class Rung:
    """One comparison. The bound on an array's error is the larger of NOISE_FACTOR times torch's error and the floor

        relative * (the array's largest entry) + of_norm * (global norm of the rung's arrays) + absolute

    The floor is for arrays that torch happens to compute almost exactly."""

    name: str
    what: str
    """The subject, as tables show it."""
    causes: str
    """Usual mistakes that fail this rung and none below it."""
    relative: float = 0.0
    of_norm: float = 0.0
    absolute: float = 0.0
    noise: Literal["each", "together"] = "each"
    """Torch's error that the bound takes: each array's own, or the largest of all arrays with a gradient. The second is
    for parameters after some steps, whose errors follow from one another's."""
    worst: Literal["largest", "first"] = "largest"
    """The array that is named, of those beyond their bounds: the one farthest beyond, or the first to be computed."""


OPTIMIZER = "bias correction, epsilon's place, weight decay or what is exempt from it, the optimizer's other defaults"
CLIPPING = "clipping per tensor, by another norm or none; gradients of repeated tokens squared before they are summed"
TRAINING = "what only later steps show: moments, the place of weight decay, the schedule, dropout left on"
"""Causes that several rungs share."""

RUNGS = (
    # Copied: they may differ only by rounding to another precision.
    Rung("parameters", "parameters as loaded", "the weight map, or a layout", relative=HALF_ULP),
    Rung("batches", "what each train_step received", "order, last batch, padding, schedule"),
    # About ten roundings of numbers near the largest entry.
    Rung(
        "embeddings",
        "embeddings after LayerNorm",
        "token types, positions, LayerNorm's epsilon, dropout left on in evaluation",
        relative=1e-6,
    ),
    Rung(
        "layers",
        "output of each encoder layer",
        "the mask, the activation, LayerNorm's epsilon, a transposed weight, layers in another order",
        relative=1e-6,
        worst="first",
    ),
    Rung("pooled", "pooled output", "the pooler's activation, another token than the first", relative=1e-6),
    # The bound of this project's tests against transformers, and of other projects that compare logits.
    Rung("logits", "logits", "the head: its layers, dropout left on", absolute=1e-5),
    Rung(
        "dropout",
        "share of embeddings dropped in training",
        "dropout of the embeddings before LayerNorm in place of after it, a rate other than the checkpoint's",
    ),
    Rung("loss", "loss", "mean or sum, the log-softmax's accuracy, label smoothing", absolute=5e-6),
    # As in tests/backends/test_against_transformers.py: an entry of a matrix product errs in proportion to the largest
    # entry, and a gradient in proportion to what flows back into it.
    Rung(
        "gradients",
        "gradient of every parameter",
        "the loss's or an activation's derivative, a frozen parameter, the pad token's embedding",
        relative=1e-4,
        of_norm=1e-6,
    ),
    Rung("norm", "the gradients' global norm", CLIPPING, relative=1e-5),
    Rung("clipped", "gradients after clipping", CLIPPING, relative=1e-4, of_norm=1e-6),
    Rung("norm, steep", "the same, at steep settings", CLIPPING, relative=1e-5),
    Rung("clipped, steep", "the same, clipped at a tenth", CLIPPING, relative=1e-4, of_norm=1e-6),
    # No floor but rounding: in a warm-up the first rate that moves anything is small, and so would be any floor.
    Rung("first step", "parameters after 1 step", OPTIMIZER, relative=HALF_ULP, noise="together"),
    # Half a percent of 1e-3, by which Adam moves a weight in one step at that rate, whatever its gradient.
    Rung("first step, steep", "the same, at steep settings", OPTIMIZER, absolute=5e-6),
    Rung("losses", "loss at each step", TRAINING, absolute=5e-6),
    Rung("last step", "parameters after the last step", TRAINING, relative=HALF_ULP, noise="together"),
    Rung("losses, steep", f"loss at {STEEP_STEPS} steep steps", TRAINING, absolute=5e-6),
    Rung(
        "last step, steep",
        "parameters after them",
        TRAINING,
        relative=HALF_ULP,
        absolute=1e-5,
        noise="together",
    ),
    Rung("dev", "logits of dev after it", "evaluation: its order, its padding, its mode", absolute=1e-5),
)
"""From the ground up: a rung's values follow from those of the rungs below it."""

RUNG = {rung.name: rung for rung in RUNGS}
"""Rungs by name."""
