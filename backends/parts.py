"""Standard parts of each framework that the adapters replace: a straightforward port would use them.

A room's `parts.py` puts them, one by one, in place of the adapter's code, so that `benchmarks.parity --against stock`
can tell what each of them changes. Importing this imports no framework.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from backends import BACKENDS
from shared.contract import Build
from shared.errors import InputError
from shared.job import stored


@dataclass(frozen=True)
class Part:
    """A standard part of one framework."""

    backend: str
    name: str
    what: str
    """A sentence that says what the part does."""
    repair: str
    """A sentence that says what this project does instead."""
    kinds: tuple[Literal["bert", "distilbert"], ...] = ("bert", "distilbert")
    """Networks that have the part."""
    usual: bool = True
    """Whether most ports use the part. False for an alternative to another part."""
    told: tuple[str, ...] = ()
    """Known mistakes (shared/hypotheses.py) that `port check` tells it as on the default pack; none if it holds
    there."""

    def __str__(self) -> str:
        return f"{self.backend} {self.name}"

    @property
    def check(self) -> str:
        """Ten lines or fewer of Python that show it, to be run in the backend's environment."""
        return (BACKENDS[self.backend].folder / "checks" / f"{self.name}.py").read_text(encoding="utf-8")


PARTS: tuple[Part, ...] = (
    Part(
        "torch",
        "trainer",
        "`transformers.Trainer` takes the loss, the gradients, the clipping and the optimizer's groups upon itself.",
        "Nothing needs repair: the adapter does the same without Trainer, with `torch.optim.AdamW` fused.",
    ),
    Part(
        "gluon",
        "dropout",
        "GluonNLP's `BERTEncoder` drops out embeddings before LayerNorm, transformers after it.",
        "`NormThenDropout` in backends/gluon/network.py takes the place of the encoder's LayerNorm.",
        told=("dropout-before-norm",),
    ),
    Part(
        "gluon",
        "epsilon",
        "GluonNLP's DistilBERT has 1e-5 as LayerNorm's epsilon, HuggingFace's 1e-12.",
        "The encoder is built with the checkpoint's epsilon.",
        kinds=("distilbert",),
    ),
    Part(
        "gluon",
        "loss",
        "`SoftmaxCELoss` goes through oneDNN's log_softmax on a CPU, which is off by some 3e-6, and gradients with it.",
        "`GluonModel._loss` writes the log of the sum of exponentials out.",
    ),
    Part(
        "gluon",
        "pad",
        "MXNet trains the pad token's embedding where a text holds that token; torch's `padding_idx` never does.",
        "`GluonModel._backward` sets that row of the gradient to zero.",
        told=("pad-trained",),
    ),
    Part(
        "gluon",
        "clipping",
        "`gluonnlp.utils.clip_grad_global_norm` sums squares by `multi_sum_sq`, which adds up in float32 one by one.",
        "`Optimizer.norm_and_factor` takes the norm by dot products.",
    ),
    Part(
        "gluon",
        "bertadam",
        "GluonNLP's `bertadam` has no bias correction.",
        "`Optimizer.step` puts the correction into the rate and the epsilon of MXNet's `adamw_update`.",
        told=("no-bias-correction",),
    ),
    Part(
        "gluon",
        "adam",
        "MXNet's `adam` adds weight decay to the gradient, and epsilon before bias correction.",
        "`Optimizer.step` as above; the recipe's `optimizer adam` and `eps_place before` ask for these on purpose.",
        usual=False,
        told=("eps-before", "decay-gradient"),
    ),
    Part(
        "keras",
        "gelu",
        "keras-hub's BERT computes the tanh approximation of GELU whatever config.json's `hidden_act` says.",
        "`_repair` in backends/keras/network.py sets each layer's activation.",
        kinds=("bert",),
        told=("gelu-tanh",),
    ),
    Part(
        "keras",
        "epsilon",
        "keras-hub has 1e-12 as LayerNorm's epsilon whatever config.json says.",
        "`_repair` sets each LayerNorm's epsilon.",
    ),
    Part(
        "keras",
        "pad",
        "Keras trains the pad token's embedding where a text holds that token; torch's `padding_idx` never does.",
        "`KerasModel._dense` gives it no gradient.",
        told=("pad-trained",),
    ),
    Part(
        "keras",
        "clipping",
        "Keras' `global_clipnorm` takes the norm of embeddings' gradients before repeated tokens are summed.",
        "`KerasModel._dense` sums them first; `KerasModel._clip` then takes torch's norm.",
        told=("norm-repeats-tokens",),
    ),
    Part(
        "keras",
        "adamw",
        "`keras.optimizers.AdamW` adds epsilon before bias correction, and corrects by powers of beta in float32.",
        "`adam_scalars` finds the rate and epsilon at which TensorFlow's fused Adam is torch's.",
        told=("eps-before",),
    ),
    Part(
        "keras",
        "rows",
        "`keras.optimizers.AdamW`, given embeddings' gradients as TensorFlow makes them, by row and repeated tokens "
        "apart (its other differences included).",
        "As for `clipping`: `KerasModel._dense` sums them first.",
        told=("eps-before", "repeats-squared-tokens"),
    ),
    Part(
        "keras",
        "decay",
        "`keras.optimizers.AdamW` decays biases and LayerNorms too unless told which not to (its other differences "
        "included).",
        "`KerasModel._update` decays what the recipe does not exempt.",
        told=("eps-before", "decay-all"),
    ),
    Part(
        "keras-jax",
        "gelu",
        "keras-hub's BERT computes the tanh approximation of GELU whatever config.json's `hidden_act` says.",
        "As for keras, whose network this is: `_repair` in backends/keras/network.py sets each layer's activation.",
        kinds=("bert",),
        told=("gelu-tanh",),
    ),
    Part(
        "keras-jax",
        "epsilon",
        "keras-hub has 1e-12 as LayerNorm's epsilon whatever config.json says.",
        "As for keras: `_repair` sets each LayerNorm's epsilon.",
    ),
    Part(
        "keras-jax",
        "pad",
        "Keras trains the pad token's embedding where a text holds that token; torch's `padding_idx` never does.",
        "`Network._without_pad` in backends/keras_jax/network.py sets that row of the gradient to zero.",
        told=("pad-trained",),
    ),
    Part(
        "keras-jax",
        "clipping",
        "Keras' `global_clipnorm` takes torch's norm here: JAX sums the gradients of repeated tokens, TensorFlow does "
        "not.",
        "Nothing needs repair: `clip` in backends/keras_jax/optimizer.py does the same, with torch's 1e-6.",
    ),
    Part(
        "keras-jax",
        "adamw",
        "`keras.optimizers.AdamW` adds epsilon before bias correction, and corrects by powers of beta in float32.",
        "`update` in backends/keras_jax/optimizer.py is torch's step, corrected by the host's float64.",
        told=("eps-before",),
    ),
    Part(
        "keras-jax",
        "decay",
        "`keras.optimizers.AdamW` decays biases and LayerNorms too unless told which not to (its other differences "
        "included).",
        "`update` decays what the recipe does not exempt.",
        told=("eps-before", "decay-all"),
    ),
)


def parts_of(backend: str, kind: str) -> tuple[Part, ...]:
    """Parts that a kind of network (`bert`, `distilbert`) has in a backend."""
    return tuple(part for part in PARTS if part.backend == backend and kind in part.kinds)


def check_mode(build: Build) -> None:
    """Raises InputError for a precision besides float32 and float64, for `compile`, for `touched` and for padding
    `none`: standard parts are compared without any."""
    modes = build.compile, build.touched is not None, build.recipe.padding == "none"
    if build.precision != stored(build.precision) or any(modes):
        raise InputError(
            "a framework's standard parts are run in float32, not compiled, with padding, and update the whole word "
            "embedding; leave out --precision, --compile, --padding none and --embedding-update"
        )
