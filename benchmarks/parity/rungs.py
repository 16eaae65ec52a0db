"""The rungs of the parity ladder and their bounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from shared.trace import STEEP_STEPS

NOISE_FACTOR = 10
"""Two correct programs round in different orders. Ten times torch's own error is more than any was seen to differ, and
a tenth or less of what each mistake in tests/backends/mutations.py brings (docs/parity.md has both)."""


HALF_ULP = 2.0**-24
"""float32's rounding error, relative."""


@dataclass(frozen=True)
class Rung:
    """One comparison. The bound on an array's error is the larger of NOISE_FACTOR times torch's error and the floor

        relative * (the array's largest entry) + of_norm * (global norm of the rung's arrays) + absolute

    which is there for where torch happens to be all but exact."""

    name: str
    what: str
    part: str
    """Of the trace."""
    causes: str
    """What usually fails here, the rungs below being sound."""
    only: str = ""
    """How the names of the arrays compared begin."""
    relative: float = 0.0
    of_norm: float = 0.0
    absolute: float = 0.0
    noise: Literal["each", "together"] = "each"
    """Torch's error of each array, or the largest of all that have a gradient: what parameters are after some steps
    follows from each other's errors."""
    worst: Literal["largest", "first"] = "largest"
    """Which of the arrays that exceed their bounds is named: by how far, or the first in the order of computation."""


OPTIMIZER = "bias correction, epsilon's place, weight decay or what is exempt from it, the optimizer's other defaults"


CLIPPING = "clipping per tensor, by another norm or none; gradients of repeated tokens squared before they are summed"


TRAINING = "what only later steps show: moments, the place of weight decay, the schedule, dropout left on"


RUNGS = (
    # Copied, so that nothing but the rounding of what was stored in another precision may differ.
    Rung("parameters", "parameters as loaded", "parameters", "the weight map, or a layout", relative=HALF_ULP),
    Rung("batches", "what each train_step received", "", "order, last batch, padding, schedule"),
    # Some ten roundings of numbers near the largest entry.
    Rung(
        "embeddings",
        "embeddings after LayerNorm",
        "states",
        "token types, positions, LayerNorm's epsilon, dropout left on in evaluation",
        only="embeddings",
        relative=1e-6,
    ),
    Rung(
        "layers",
        "output of each encoder layer",
        "states",
        "the mask, the activation, LayerNorm's epsilon, a transposed weight, layers in another order",
        only="layers/",
        relative=1e-6,
        worst="first",
    ),
    Rung("pooled", "pooled output", "states", "the pooler's activation, another token than the first", "pooled", 1e-6),
    # The bound of this project's tests against transformers, and of docs of others who compare logits.
    Rung("logits", "logits", "states", "the head: its layers, dropout left on", only="logits", absolute=1e-5),
    Rung(
        "dropout",
        "share of embeddings dropped in training",
        "",
        "dropout of the embeddings before LayerNorm in place of after it, a rate other than the checkpoint's",
    ),
    Rung("loss", "loss", "loss", "mean or sum, the log-softmax's accuracy, label smoothing", absolute=5e-6),
    # As tests/backends/test_against_transformers.py: entries of a matrix product err with its largest, and every
    # gradient with what flows back into it.
    Rung(
        "gradients",
        "gradient of every parameter",
        "gradients",
        "the loss's or an activation's derivative, a frozen parameter, the pad token's embedding",
        relative=1e-4,
        of_norm=1e-6,
    ),
    Rung("norm", "the gradients' global norm", "norm", CLIPPING, relative=1e-5),
    Rung("clipped", "gradients after clipping", "clipped", CLIPPING, relative=1e-4, of_norm=1e-6),
    Rung("norm, steep", "the same, at steep settings", "steep_norm", CLIPPING, relative=1e-5),
    Rung("clipped, steep", "the same, clipped at a tenth", "steep_clipped", CLIPPING, relative=1e-4, of_norm=1e-6),
    # Beyond noise nothing: the rate, and with it any sensible floor, may be zero in a warm-up.
    Rung("first step", "parameters after 1 step", "first_step", OPTIMIZER, relative=HALF_ULP, noise="together"),
    # Half a percent of what Adam moves a weight by in one step of rate 1e-3, whatever its gradient.
    Rung("first step, steep", "the same, at steep settings", "steep_first_step", OPTIMIZER, absolute=5e-6),
    Rung("losses", "loss at each step", "losses", TRAINING, absolute=5e-6),
    Rung("last step", "parameters after the last step", "last_step", TRAINING, relative=HALF_ULP, noise="together"),
    Rung("losses, steep", f"loss at {STEEP_STEPS} steep steps", "steep_losses", TRAINING, absolute=5e-6),
    Rung(
        "last step, steep",
        "parameters after them",
        "steep_last_step",
        TRAINING,
        relative=HALF_ULP,
        absolute=1e-5,
        noise="together",
    ),
    Rung("dev", "logits of dev after it", "dev", "evaluation: its order, its padding, its mode", absolute=1e-5),
)
"""From the ground up: what a rung compares follows from what those below it do."""


RUNG = {rung.name: rung for rung in RUNGS}
