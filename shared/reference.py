"""Questions to the reference: torch with transformers' own network, which computes what a pack asks for.

The program is backends.torch.reference; the question lies in its folder as job.json.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from msgspec import Struct

from shared.files import to_json, write_whole
from shared.job import JOB
from shared.pack import Shapes
from shared.recipe import Recipe
from shared.search import Explanation, Term, Terms


class Describe(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="describe"):
    """Builds a model, and tells what a pack of it needs to know."""

    source: str
    """Folder with config.json, batches and, unless one of the next two is given, weights.npz."""
    batch: str
    """File of the first training batch."""
    perturb: float | None = None
    """If given, the weights are transformers' first ones, each moved by a normal number times this; they are written
    to the source."""
    checkpoint: str | None = None
    """If given, the weights are those of this folder in HuggingFace's layout, and transformers' first ones for a head
    that it lacks; they are written to the source."""
    threads: int


class Described(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The answer to `Describe`."""

    parameters: Shapes
    """In the order of the network's own."""
    layers: int
    """Hidden states after the embeddings'."""
    pooled: bool
    """Whether one state of width [b, width] goes into the last linear layer."""
    width: int
    num_labels: int
    norm: float
    """Global norm of the gradients of the first training batch."""
    loss: float


class Record(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="record"):
    """Answers a pack as a port would: leaves the recordings `out/float64` and `out/float32`, and in `out/replayed` what
    `Replay` makes of the latter."""

    pack: str
    out: str
    whole: tuple[str, ...] = ()
    """Parameters that a pack that wants sketches has whole beside them."""
    ladder: bool = False
    """Answers no more than the parity ladder compares. `out/replayed` is left out, and so are columns of padding alone,
    in batches whose states are not wanted: the networks that climb the ladder know padding by the mask alone."""
    threads: int


Lower = Literal["tf32", "bfloat16", "float16"]
Policy = Literal["products", "autocast", "stored", "all"]
"""Ways of a training in lower precision. `products`: the inputs of matrix products alone are rounded. `autocast`: as
torch.autocast does. `stored`: inputs and results of every operation are rounded, while LayerNorm, softmax and sums
compute in float32, and weights and optimizer stay float32. `all`: weights, gradients and moments are rounded too."""


class Rounded(Struct, frozen=True, forbid_unknown_fields=True):
    """One training in lower precision."""

    policy: Policy
    seed: int | None = None
    """See `backends.torch.rounding.arithmetic`."""


class RecordRounded(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="rounded"):
    """Answers a pack in lower precision, by several trainings: leaves of each the recording `out/N/recorded`, and in
    `out/N/replayed` what `Replay` makes of it."""

    pack: str
    out: str
    precision: Lower
    trainings: list[Rounded]
    whole: tuple[str, ...] = ()
    """See `Record`."""
    threads: int


class RecordChanged(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="changed"):
    """Answers a pack in float64 with each known mistake (shared/hypotheses.py): leaves the recordings `out/ID`."""

    pack: str
    out: str
    threads: int


class Adopted(Struct, frozen=True, forbid_unknown_fields=True):
    """A mistake that explains a port, so that the reference makes it too."""

    term: Term
    places: list[str] | None = None
    """Where: `embeddings`, `layers/N` or `head`; for a mistake of the loss, `loss` or `gradients`. None for
    everywhere."""


class Replay(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="replay"):
    """Computes in float64, from the values that a port recorded on its way, those that should follow from them."""

    pack: str
    recording: str
    """A recording under the pack's names."""
    out: str
    threads: int
    adopted: list[Adopted] = []
    apart: bool = False
    """Leaves the part `apart` of each training step: squares of the embeddings' gradients, those of repeated rows
    squared before they are summed."""


class Limit(Struct, frozen=True, forbid_unknown_fields=True):
    """The bound on an array's error: the larger of two numbers, the second by the array's largest entry and the norm
    of all arrays of the rung."""

    least: float
    relative: float
    of_norm: float
    absolute: float

    def bound(self, size: float, norm: float = 0.0) -> float:
        """The bound on an array whose largest entry is of this size."""
        return max(self.least, self.relative * size + self.of_norm * norm + self.absolute, 1e-300)


class Explain(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="explain"):
    """Searches the mistakes that explain a recording at rungs that go through the network, and replays it with them."""

    replay: Replay
    """Its `adopted` are there from the start. `out` has the recording replayed with what was found too."""
    limits: dict[str, dict[str, Limit]]
    """Bounds by rung that is wrong by itself and by array, if what lies below the array was recorded."""
    loss: list[Term] = []
    """Mistakes of the loss that explain the port's losses; its gradients may have them too."""
    deep: bool = True
    """Mistakes are tried together too, not alone only."""

    @property
    def threads(self) -> int:
        """Threads of the reference."""
        return self.replay.threads


class Reason(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The result of a search at one rung."""

    rung: str
    explanations: list[Explanation]
    """Those of the fewest mistakes, the nearest first; the first is adopted. Empty if nothing explains."""
    tried: int
    best: list[Term] = []
    """Nearest mistakes if nothing explains."""
    best_share: float = 0.0


class Explained(Struct, frozen=True, forbid_unknown_fields=True):
    """The answer to `Explain`."""

    reasons: list[Reason]
    adopted: list[Adopted]
    """Mistakes that the reference makes too, those from the start included."""


class ExplainLosses(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="losses"):
    """Searches the mistakes with which the reference's losses, step by step, are a port's."""

    pack: str
    losses: dict[str, list[float]]
    """The port's, by run: one at each step."""
    limits: dict[str, list[float]]
    """The bound on each difference."""
    threads: int


class Ranked(Struct, frozen=True, forbid_unknown_fields=True):
    """Mistakes, and how well the reference's losses with them are a port's."""

    terms: Terms
    share: float
    """The largest difference of the losses that were computed, as a share of its bound."""
    explained: int
    """Losses that lie within their bound, from the first on."""
    confirmed: bool = True
    """Without fitted numbers, or more losses move than numbers were fitted."""

    def says(self) -> str:
        """The mistakes in plain words."""
        return " and ".join(term.says() for term in self.terms)

    @property
    def ids(self) -> list[str]:
        """The mistakes' ids."""
        return [term.id for term in self.terms]


class LossesExplained(Struct, frozen=True, forbid_unknown_fields=True):
    """The answer to `ExplainLosses`."""

    within: list[Ranked]
    """Those that bring every loss within its bound, the plainest and nearest first."""
    nearest: list[Ranked]
    """The others that come nearest."""
    unmoved: list[str]
    """Ids of mistakes that move no loss by more than three bounds, so that losses cannot tell them."""
    tried: int
    """Combinations of mistakes."""


class Train(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="train"):
    """Fine-tunes the reference, with mistakes or without. The answer is a `shared.answer.Fit`."""

    checkpoint: str
    """A folder in HuggingFace's layout."""
    data: str
    """An encoded folder (shared.encoding) with the splits train and dev."""
    labels: tuple[str, ...]
    metrics: tuple[str, ...]
    recipe: Recipe
    adopted: list[Adopted]
    """The mistakes."""
    by_rules: bool
    """Updates are computed by shared/rules, which mistakes of gradients, clipping and optimizer need; without them by
    torch. What is compared is computed alike."""
    threads: int


class Done(Struct, frozen=True, forbid_unknown_fields=True):
    """The answer to the others: the files lie in `out`."""

    made: list[str] = []
    """Ids of the recordings of `RecordChanged`."""


Question = Describe | Record | RecordRounded | RecordChanged | Replay | Explain | ExplainLosses | Train


def write_question(question: Question, folder: Path) -> None:
    """Writes the question into its folder."""
    write_whole(folder / JOB, to_json(question, indent=1))
