"""Mistakes of gradients, clipping, optimizer and loop, planted in the ports whose optimizer is written out in arrays:
ports/jax_plain and ports/keras_plain."""

from __future__ import annotations

from dataclasses import dataclass

Changes = dict[str, dict[str, str]]

BY_ROW = ("norm-repeats", "norm-repeats-words", "norm-repeats-tokens", "repeats-squared", "repeats-squared-tokens")
"""Mistakes of frameworks that give gradients of embeddings by row."""

MOMENTS = "m[n], v[n] = s.beta1 * m[n] + (1 - s.beta1) * g, s.beta2 * v[n] + (1 - s.beta2) * g**2"
ZEROS = "m, v = dict.fromkeys(p, 0.0), dict.fromkeys(p, 0.0)\n"
RECORDED = "record(step, gradients=gradients, norm=norm, clipped=clipped)\n"
STEPS = "    for t, step in enumerate(run.steps, 1):\n"
RATE = "step.learning_rate"


@dataclass(frozen=True)
class Script:
    """Parts that differ between the scripts."""

    module: str
    """The module of array functions, as the script names it."""
    total: str
    """Its sum over all entries."""
    largest: str
    """Its largest entry."""
    entries: str
    """How many entries a gradient `g` has."""
    norm: str
    """The line that computes the norm."""
    clipped: str
    """The clipped gradient `g`."""
    by_value: str
    """The gradient clipped entry by entry."""
    decayed: str
    """The set of names that decay."""
    update: str
    """The update of a parameter, with {} for what is subtracted."""
    prefix: str
    """In front of the parameters' names."""

    @property
    def move(self) -> str:
        """The line of Adam's update."""
        return f"move = m[n] / (1 - s.beta1**t) / ({self.module}.sqrt(v[n] / (1 - s.beta2**t)) + s.eps)"

    @property
    def decay(self) -> str:
        """The decay of a parameter."""
        return f"s.decay * (n in {self.decayed})"

    @property
    def step(self) -> str:
        """The line that updates a parameter."""
        return self.update.format(f"{RATE} * (move + {self.decay} * p[n])")

    def changes(self) -> Changes:
        """The mistakes by id."""
        return {
            **self._gradients(),
            **self._clipping(),
            **self._moves(),
            **self._decays(),
            **self._methods(),
            **_rates(),
        }

    def _gradients(self) -> Changes:
        words = f'gradients["{self.prefix}embeddings.word_embeddings.weight"]'
        return {
            "embeddings-frozen": self._made('0 * g if n.endswith("_embeddings.weight") else g'),
            "encoder-frozen": self._made('g if n.startswith("classifier") else 0 * g'),
            "gradients-scaled": self._made("3 * g"),
            "words-gradient-scaled": {self.norm: f"{words} = 4 * {words}\n            {self.norm}"},
            "gradients-kept": self._added("clipped"),
            "gradients-summed": self._added("gradients"),
        }

    def _made(self, gradient: str) -> dict[str, str]:
        line = f"gradients = {{n: {gradient} for n, g in gradients.items()}}"
        return {self.norm: f"{line}\n            {self.norm}"}

    def _added(self, kept: str) -> dict[str, str]:
        return {
            ZEROS: ZEROS + "    kept = dict.fromkeys(p, 0.0)\n",
            **self._made("g + kept[n]"),
            RECORDED: f"{RECORDED}            kept = {kept}\n",
        }

    def _clipping(self) -> Changes:
        root, total = f"{self.module}.sqrt", self.total
        squares = f"sum({total}(g**2) for n, g in gradients.items())"
        return {
            "clip-none": {self.clipped: "g"},
            "clip-each": {self.clipped: self.clipped.replace("norm", f"{root}({total}(g**2))")},
            "clip-value": {self.clipped: self.by_value},
            "clip-always": {self.clipped: "g * s.clip / (norm + 1e-6)"},
            "clip-average": {
                self.norm: f"{self.norm}\n            average = norm / sum({self.entries} for g in gradients.values())",
                self.clipped: self.clipped.replace("norm", "average"),
            },
            "clip-other": {self.clipped: self.clipped.replace("s.clip", "0.7")},
            "norm-after": {
                RECORDED: RECORDED.replace(
                    "norm=norm", f"norm={root}({squares})".replace("gradients.items", "clipped.items")
                )
            },
            "norm-no-words": {
                self.norm: f"norm = {root}({squares})".replace("items()", 'items() if ".word_" not in n')
            },
            "norm-largest": {self.norm: f"norm = max({self.largest}(abs(g)) for g in gradients.values())"},
            "norm-squared": {self.norm: f"norm = {squares}"},
        }

    def _moves(self) -> Changes:
        root = f"{self.module}.sqrt"
        ahead = self.move.replace("**t", "**(t + 1)")
        return {
            "no-bias-correction": {self.move: f"move = m[n] / ({root}(v[n]) + s.eps)"},
            "correction-of-step-1": {self.move: self.move.replace("**t", "")},
            "correction-ahead": {self.move: ahead},
            "eps-before": {self.move: self.move.replace(" + s.eps)", " + s.eps / (1 - s.beta2**t) ** 0.5)")},
            "eps-inside": {self.move: self.move.replace(") + s.eps)", " + s.eps))")},
            "eps-other": {self.move: self.move.replace("s.eps", "3e-7")},
            "beta1-other": {
                MOMENTS: MOMENTS.replace("s.beta1", "0.85"),
                self.move: self.move.replace("s.beta1", "0.85"),
            },
            "beta2-other": {MOMENTS: MOMENTS.replace("s.beta2", "0.9"), self.move: self.move.replace("s.beta2", "0.9")},
            "moments-reset": {MOMENTS: "m[n], v[n], t = (1 - s.beta1) * g, (1 - s.beta2) * g**2, 1"},
        }

    def _decays(self) -> Changes:
        names = f"(n in {self.decayed})"
        norm, bias = '"LayerNorm" in n', 'n.endswith("bias")'
        return {
            "decay-other": {self.decay: self.decay.replace("s.decay *", "0.03 *")},
            "decay-none": {self.decay: "0.0"},
            "decay-all": {self.decay: "s.decay"},
            "decay-layer-norm": {names: f"(n in {self.decayed} or {norm})"},
            "decay-biases": {names: f"(n in {self.decayed} or {bias} and not {norm})"},
            "decay-norm-weights": {names: f"(n in {self.decayed} or {norm} and not {bias})"},
            "decay-gradient": {
                MOMENTS: f"g = g + {self.decay} * p[n]\n                {MOMENTS}",
                self.step: self.update.format(f"{RATE} * move"),
            },
            "decay-without-rate": self._decayed("1"),
            "decay-of-peak": self._decayed("s.learning_rate"),
            "decay-corrected": self._decayed(f"{RATE} * (1 - s.beta2**t) ** 0.5 / (1 - s.beta1**t)"),
            "decay-after": {
                self.step: f"share = {RATE} * {self.decay}\n                "
                + self.update.format(f"({RATE} * move * (1 - share) + share * p[n])")
            },
        }

    def _decayed(self, share: str) -> dict[str, str]:
        return {self.step: self.update.format(f"({RATE} * move + {share} * {self.decay} * p[n])")}

    def _methods(self) -> Changes:
        root, total = f"{self.module}.sqrt", self.total
        return {
            "amsgrad": {
                ZEROS: ZEROS + "    top = dict.fromkeys(p, 0.0)\n",
                self.move: f"top[n] = {self.module}.maximum(top[n], v[n])\n                "
                + self.move.replace("v[n]", "top[n]"),
            },
            "sgd-momentum": {
                MOMENTS: f"m[n] = s.beta1 * m[n] + g + {self.decay} * p[n]",
                self.move: "move = m[n]",
                self.step: self.update.format(f"{RATE} * move"),
            },
            "lamb": {
                self.step: f"u = move + {self.decay} * p[n]\n                "
                f"sizes = {root}({total}(p[n] ** 2)), {root}({total}(u**2))\n                "
                + self.update.format(f"{RATE} * (sizes[0] / sizes[1] if min(sizes) > 0 else 1.0) * u")
            },
        }


def _rates() -> Changes:
    rates = {STEPS: "    rates = [step.learning_rate for step in run.steps]\n" + STEPS}
    fallen = "(rates[t - 1] if t <= s.warm_up_steps else 0.4 * rates[t - 1] + 0.6 * s.learning_rate)"
    return {
        "rate-late": {RATE: "(rates[t - 2] if t > 1 else s.learning_rate)", **rates},
        "rate-early": {RATE: "[*rates, 0.0][t]", **rates},
        "rate-of-peak": {RATE: "s.learning_rate"},
        "rate-end": {RATE: fallen, **rates},
        "rate-scaled": {RATE: "2 * step.learning_rate"},
    }


JAX_SCRIPT = Script(
    module="jnp",
    total="jnp.sum",
    largest="jnp.max",
    entries="g.size",
    norm="norm = jnp.sqrt(sum((g**2).sum() for g in gradients.values()))",
    clipped="g * jnp.minimum(1, s.clip / (norm + 1e-6))",
    by_value="jnp.clip(g, -s.clip, s.clip)",
    decayed="decayed",
    update="p[n] = p[n] - {}",
    prefix="",
)
KERAS_SCRIPT = Script(
    module="tf",
    total="tf.reduce_sum",
    largest="tf.reduce_max",
    entries="g.shape.num_elements()",
    norm="norm = tf.linalg.global_norm(list(gradients.values()))",
    clipped="g * tf.minimum(1.0, s.clip / (norm + 1e-6))",
    by_value="tf.clip_by_value(g, -s.clip, s.clip)",
    decayed="s.decayed",
    update="p[n].assign_sub({})",
    prefix="bert.",
)
