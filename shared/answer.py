"""A worker's events while it works, and its answer at the end. Writer and reader use the same types.

Seconds are of wall time, memory is in bytes, losses are in nats.
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

Count = Annotated[int, Meta(ge=0, le=2**53)]
"""A number of things; larger ones are no exact numbers in every program's JSON."""

Some = Annotated[int, Meta(ge=1, le=2**53)]
"""A number of things, of which there is one at least."""

Seconds = Annotated[float, Meta(ge=-1e9, le=1e9)]
"""A duration of wall time. Clocks that were set back gave negative ones."""

Scores = dict[str, float]
"""`loss` and each metric of the task, by name."""


class Epoch(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One pass over the training split, and the evaluation on dev after it."""

    seconds: Seconds
    """Time of the epoch's training, with the device synchronised at both ends."""
    steps: Some
    rows: Some
    tokens: Count
    """Real tokens trained on."""
    padded_tokens: Some
    """Tokens computed on, padding included if there is any."""
    train_loss: float
    """Mean over the epoch's rows, dropout on."""
    train_accuracy: float
    dev: Scores | None
    """Scores after the epoch; None if dev has no labels."""
    dev_seconds: Seconds
    dev_batch_accuracy: float | None = None
    """See `shared.metrics.batch_accuracy`; None if dev has no labels."""
    program_seconds: Seconds = 0.0
    """Part of `seconds`: the host's time on programs for new shapes (`Programs`)."""
    first_seconds: Seconds = 0.0
    """Part of `seconds`: the steps that were the first of their shape, each waited for. 0 if nothing is compiled. Of a
    training that was interrupted, the first step of each process is among them in any case."""
    first_tokens: Count = 0
    """Tokens computed on in those steps, padding included."""


class Details(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """More scores of one split, which published recipes print."""

    confusion: list[list[Count]]
    """Counts of rows, indexed [label][prediction]."""
    report: dict[str, Any]
    """scikit-learn's classification report, under the labels' names."""
    batch_mcc: list[float]
    """Matthews correlation of each batch."""
    batch_accuracy: float
    """See `shared.metrics.batch_accuracy`."""
    labels: list[Count] = []
    """The true labels, in the split's order, beside which predictions are compared; empty in older records."""


class Fit(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The result of a fine-tuning, without the weights."""

    total_steps: Count
    received: str
    """sha256, hex, over the arguments of each train_step that ran, in order: shapes, ids, types, mask, labels, learning
    rate."""
    first_step_seconds: Seconds
    """Time of the first train_step, compilation included. The first epoch's seconds include it too."""
    step_loss: list[float]
    step_accuracy: list[float]
    dev_before: Scores | None
    """Scores before the first step. None unless the recipe asks for them."""
    epochs: list[Epoch]
    kept_epoch: Count
    """The epoch, from 1, whose weights were tested; 0 if none was kept."""
    test: Scores | None
    """None if the task has no test split, or one without labels."""
    test_seconds: Seconds
    peak_memory_bytes: Count
    interruptions: Count = 0
    """How often the training was interrupted and went on from a checkpoint. A step that was computed twice is counted
    once, and no time between is counted."""
    diverged: Count | None = None
    """The step, from 1, at which a loss, a logit or a weight was first seen to be NaN or infinite; 0 if that was before
    the first step. Training ended there: losses and epochs are those before, and nothing was kept or tested. None if
    all stayed finite."""

    def __post_init__(self) -> None:
        if self.kept_epoch > len(self.epochs):
            raise ValueError(f"kept_epoch is {self.kept_epoch} of {len(self.epochs)} epochs")
        if len({frozenset(epoch.dev or {}) for epoch in self.epochs}) > 1:
            raise ValueError("the epochs have different scores")

    @property
    def kept(self) -> Epoch | None:
        """The epoch whose weights were tested; None if none was kept."""
        return self.epochs[self.kept_epoch - 1] if self.kept_epoch else None

    def steady_epoch_seconds(self) -> list[float]:
        """Training time of each epoch without compilation: without its time on programs, if the backend tells that.
        If not, a step that was the first of its shape counts by its tokens, at the pace of all other steps. If nothing
        is compiled, or there are no other steps, the first step of the first epoch counts as the mean of that epoch's
        other steps; if there are none, the epoch counts as measured."""
        seconds = [epoch.seconds - epoch.program_seconds for epoch in self.epochs]
        if not seconds or self.epochs[0].program_seconds:
            return seconds
        first_tokens = sum(epoch.first_tokens for epoch in self.epochs)
        others = sum(epoch.padded_tokens for epoch in self.epochs) - first_tokens
        if first_tokens and others:
            pace = sum(epoch.seconds - epoch.first_seconds for epoch in self.epochs) / others
            return [epoch.seconds - epoch.first_seconds + pace * epoch.first_tokens for epoch in self.epochs]
        steps = self.epochs[0].steps
        if steps > 1:
            seconds[0] = (seconds[0] - self.first_step_seconds) * steps / (steps - 1)
        return seconds


class Programs(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Programs that a framework's compiler made in this process, one for each shape."""

    compiled: int
    from_cache: int
    """Read from disk instead: an earlier process left them there."""
    seconds: Seconds
    """The host's time on them, part of the calls that needed them."""


class Trained(Fit, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """The answer to a `train` job."""

    import_seconds: Seconds
    load_seconds: Seconds
    start_seconds: Seconds
    """From the process's first line to the first step."""
    predictions: dict[str, list[Count]]
    """Labels predicted for `dev` and, if there is one, `test`, in the split's order."""
    details: dict[str, Details] = {}
    """More scores of each split that has labels. The runner adds them, as it knows the labels' names."""
    programs: Programs | None = None
    """None for a backend that compiles no program for each shape."""


class Predicted(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The answer to a `predict` job; the logits are in the job's arrays."""

    import_seconds: float
    load_seconds: float


class Recorded(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The answer to a `record` or `answer` job; the recording (shared.recording) is in the job's folder `recording`."""

    dev: Scores
    """Scores after the last step. A loss that diverged is NaN here: the ladder names it."""


class Pass(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One pass of a library's own trainer over the rows."""

    steps: int
    rows: int
    padded_tokens: int
    seconds: float


class TrainerAnswer(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The answer of a library's own trainer (backends.trainer_clock) to a `train` job."""

    epochs: list[Pass]
    first_step_seconds: float
    start_seconds: float
    peak_memory_bytes: int
    arguments: dict[str, Any]
    """All arguments that the library was given."""


class Stretch(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of an epoch's training. See `Epoch` for the fields."""

    seconds: float = 0.0
    padded_tokens: int = 0
    program_seconds: float = 0.0
    first_seconds: float = 0.0
    first_tokens: int = 0

    def plus(self, other: Stretch) -> Stretch:
        """This and another part together."""
        return Stretch(**{name: getattr(self, name) + getattr(other, name) for name in self.__struct_fields__})


class Loaded(Struct, frozen=True, tag_field="event", tag="loaded"):
    """The model is ready."""

    import_seconds: float
    load_seconds: float


class DevScored(Struct, frozen=True, tag_field="event", tag="dev_before"):
    """Dev was evaluated before the first step."""

    dev: Scores | None


class Stepped(Struct, frozen=True, tag_field="event", tag="step"):
    """A step of training is done."""

    epoch: int
    step: int
    """Counted from 1, over all epochs."""
    of: int
    loss: float


class Working(Struct, frozen=True, tag_field="event", tag="working"):
    """A sign of life between steps whose loss is known: a batch of an evaluation, or one of the first steps."""

    what: str
    """The work, as progress shows it."""
    number: int
    """Counted from 1."""
    of: int


class EpochEnded(Struct, frozen=True, tag_field="event", tag="epoch"):
    """An epoch and the evaluation on dev after it are done."""

    number: int
    """Counted from 1."""
    of: int
    epoch: Epoch


class OneRecorded(Struct, frozen=True, kw_only=True, tag_field="event", tag="recorded"):
    """One of several recordings of a job is on the disk, and the next begins. The last one is told by the answer."""

    dev: Scores
    """As in `Recorded`."""


class Tried(Struct, frozen=True, tag_field="event", tag="tried"):
    """One of the known mistakes was tried."""

    number: int
    """Counted from 1."""
    of: int
    what: str
    """Its id, or `pairs`."""


class Remarked(Struct, frozen=True, tag_field="event", tag="remark"):
    """Something to know of the training's course, in a line."""

    line: str


Event = Loaded | DevScored | Stepped | Working | EpochEnded | OneRecorded | Tried | Remarked
