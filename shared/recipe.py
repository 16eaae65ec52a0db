"""A recipe: every hyper-parameter of a published fine-tuning run, and the learning rate that follows from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from typing import Any, Literal, get_type_hints

import msgspec

from shared.errors import InputError
from shared.limits import COUNT, LABELS, POSITIONS


def _option(default: Any, help: str) -> Any:
    return field(default=default, metadata={"help": help})


@dataclass(frozen=True)
class Recipe:
    """Hyper-parameters of a fine-tuning.

    The default is `bert`: google-research/bert's fine-tuning (Devlin et al. 2018, A.3, and run_classifier.py) with
    `torch.optim.AdamW` in place of its optimizer, which has no bias correction and eps 1e-6. Field types and help texts
    become command-line options. A value at its default is no part of a cell's identity.
    """

    max_len: int = _option(128, "tokens of a row, special tokens included; longer rows are cut, the longer text first")
    padding: Literal["max_length", "longest", "bucket", "none"] = _option(
        "max_length",
        "pad to max_len, to the longest row of a random batch, batch rows of similar length, or lay a random batch's "
        "rows end to end",
    )
    batch_size: int = _option(32, "rows of a batch")
    shuffle: bool = _option(True, "draw a new order for each epoch, from the seed")
    last_batch: Literal["keep", "drop", "rollover"] = _option(
        "keep", "train on a short last batch, drop it, or roll its rows over into the next epoch"
    )
    epochs: int = _option(3, "passes over the training split")
    learning_rate: float = _option(2e-5, "peak learning rate")
    schedule: Literal["linear", "constant"] = _option("linear", "rate after warm-up: linear to zero, or constant")
    warm_up: float = _option(0.1, "share of all steps in which the rate rises linearly from zero")
    optimizer: Literal["adamw", "adam"] = _option(
        "adamw", "weight decay decoupled (adamw) or added to the gradient (adam)"
    )
    beta1: float = _option(0.9, "decay of the first moment")
    beta2: float = _option(0.999, "decay of the second moment")
    eps: float = _option(1e-8, "the optimizer's epsilon")
    eps_place: Literal["after", "before"] = _option(
        "after", "add epsilon after the second moment's bias correction (torch), or before it (Keras, MXNet)"
    )
    bias_correction: bool = _option(True, "correct Adam's moments for their start at zero")
    decay: float = _option(0.01, "weight decay")
    decay_exempt: tuple[str, ...] = _option(
        ("bias", "LayerNorm", "layer_norm"), "no decay for parameters whose HuggingFace name contains one of these"
    )
    clip: float | None = _option(1.0, "bound on the gradient's global norm; 'none' for no clipping")
    dropout: float | None = _option(None, "every dropout rate, the head's too; 'none' for the checkpoint's own")
    head_init: Literal["normal", "uniform"] = _option(
        "normal", "the head's first weights: normal(0, 0.02) with zero bias, or uniform +-1/sqrt(width) as in nn.Linear"
    )
    head_dropout: float | None = _option(None, "dropout before the last layer; 'none' for the checkpoint's own")
    train_split: str = _option("train", "the task's split to train on")
    dev_split: str = _option("dev", "the task's split to evaluate after each epoch")
    test_split: str = _option("test", "the task's split to score at the end")
    held_out: float = _option(0.0, "share of the training split to use as dev (scikit-learn's train_test_split)")
    held_out_seed: int = _option(0, "seed of that split")
    held_out_test: float = _option(0.0, "share of the held-out rows to use as test, by a second such split")
    train_rows: int | None = _option(None, "number of training rows; 'none' for all")
    dev_rows: int | None = _option(None, "number of dev rows; 'none' for all")
    rows_seed: int | None = _option(
        None, "take these rows after datasets' shuffle with this seed; 'none' for the first rows without a shuffle"
    )
    num_labels: int | None = _option(None, "labels of the head, if more than the task has; 'none' for the task's own")
    eval_before: bool = _option(False, "evaluate on dev before the first step too")
    keep: Literal["last", "best"] = _option("last", "test the last epoch's weights, or those of the best dev epoch")
    seed: int = _option(1, "seed of order, head and dropout")

    def __post_init__(self) -> None:
        def require(ok: bool, name: str, wanted: str) -> None:
            if not ok:
                raise InputError(f"{name} is {getattr(self, name)!r}; pass {wanted}")

        require(4 <= self.max_len <= POSITIONS, "max_len", f"4 to {POSITIONS:,}")
        for name in ("batch_size", "epochs"):
            require(1 <= getattr(self, name) <= COUNT, name, f"1 to {COUNT:,}")
        for name in ("learning_rate", "eps"):
            require(0 < getattr(self, name) < float("inf"), name, "a number above 0")
        require(0 <= self.decay < float("inf"), "decay", "0 or more")
        require(0 <= self.seed < 2**32, "seed", "a whole number from 0 to 4294967295")
        require(0 <= self.held_out_seed < 2**32, "held_out_seed", "a whole number from 0 to 4294967295")
        for name in ("train_rows", "dev_rows"):
            value = getattr(self, name)
            require(value is None or 1 <= value <= COUNT, name, f"1 to {COUNT:,}, or none")
        require(self.rows_seed is None or 0 <= self.rows_seed < 2**32, "rows_seed", "0 to 4294967295, or none")
        ok = self.num_labels is None or 2 <= self.num_labels <= LABELS
        require(ok, "num_labels", f"2 to {LABELS:,}, or none for the task's own")
        for name in ("beta1", "beta2", "held_out", "held_out_test"):
            require(0 <= getattr(self, name) < 1, name, "a number from 0 to below 1")
        require(0 <= self.warm_up <= 1, "warm_up", "a share from 0 to 1")
        require(self.clip is None or self.clip > 0, "clip", "a number above 0, or none")
        for name in ("dropout", "head_dropout"):
            value = getattr(self, name)
            require(value is None or 0 <= value < 1, name, "a rate from 0 to below 1, or none")
        for name, allowed in CHOICES.items():
            require(getattr(self, name) in allowed, name, "one of " + ", ".join(allowed))

    def decays(self, parameter: str) -> bool:
        """Whether weight decay applies to the parameter of this HuggingFace name."""
        return self.decay > 0 and not any(part in parameter for part in self.decay_exempt)

    def only(self, names: Sequence[str]) -> Recipe:
        """Keeps these fields and sets all others to their defaults. Recipes that are equal then are alike to whatever
        depends on these fields alone."""
        return Recipe(**{name: getattr(self, name) for name in names})

    def label_names(self, labels: tuple[str, ...]) -> tuple[str, ...]:
        """Names of the head's labels: the task's, and one for each label that the head has beyond them. Raises
        InputError if the head has fewer labels than the task."""
        if self.num_labels is None:
            return labels
        if self.num_labels < len(labels):
            raise InputError(f"num_labels is {self.num_labels}; the task has {len(labels)} labels: pass that or more")
        return labels + tuple(f"unused {n}" for n in range(len(labels), self.num_labels))

    def asked(self) -> dict[str, Any]:
        """Fields that differ from the default, as JSON values. A cell's identity holds these."""
        return {f.name: _plain(getattr(self, f.name)) for f in fields(self) if getattr(self, f.name) != f.default}

    def to_json(self) -> dict[str, Any]:
        """All fields, as JSON values."""
        return {name: _plain(value) for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Recipe:
        """Makes a recipe of JSON values; absent fields get their default. Raises InputError for an unknown field or a
        value that is not accepted."""
        known = {f.name for f in fields(cls)}
        for name in values:
            if name not in known:
                raise InputError(f"unknown recipe field {name!r}; known: {', '.join(sorted(known))}")
        return cls(**{name: _typed(name, value) for name, value in values.items()})


CHOICES: dict[str, tuple[str, ...]] = {
    "padding": ("max_length", "longest", "bucket", "none"),
    "last_batch": ("keep", "drop", "rollover"),
    "schedule": ("linear", "constant"),
    "optimizer": ("adamw", "adam"),
    "eps_place": ("after", "before"),
    "head_init": ("normal", "uniform"),
    "keep": ("last", "best"),
}


def learning_rate_at(recipe: Recipe, step: int, total_steps: int) -> float:
    """Learning rate of a step, counted from 0.

    The schedules are `get_linear_schedule_with_warmup` and `get_constant_schedule_with_warmup` of transformers: step 0
    of a warm-up has rate zero. Warm-up lasts int(share * total_steps) steps, as in google-research/bert's
    run_classifier.py.
    """
    warm_up_steps = int(recipe.warm_up * total_steps)
    if step < warm_up_steps:
        return recipe.learning_rate * step / max(1, warm_up_steps)
    if recipe.schedule == "constant":
        return recipe.learning_rate
    return recipe.learning_rate * max(0.0, (total_steps - step) / max(1, total_steps - warm_up_steps))


@cache
def _hints() -> dict[str, Any]:
    return get_type_hints(Recipe)


def _typed(name: str, value: Any) -> Any:
    """The value as the field has it, a number as it is written. Raises InputError if it is of another type."""
    hint = _hints()[name]
    kind = str if name in CHOICES else hint  # which words are allowed is checked with the others
    try:
        found = msgspec.convert(value, kind, strict=True)
    except (msgspec.ValidationError, OverflowError):
        wanted = WORDS[next(one for one in WORDS if kind in (one, one | None))]
        raise InputError(f"{name} is {value!r}; pass {wanted}{'' if kind in WORDS else ', or none'}") from None
    return found if isinstance(found, tuple) else value


WORDS: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a word",
    tuple[str, ...]: "a list of words",
}
"""The types of fields, in words."""


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
