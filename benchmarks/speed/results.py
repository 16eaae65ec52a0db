"""Results of benchmarks.speed: all that was measured for one question, in one file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from msgspec import UNSET, Struct, UnsetType, field

from benchmarks.speed.asked import SpeedAsked
from benchmarks.speed.variants import Variant
from benchmarks.workers.attempts import DISTURBED
from shared.answer import Trained, TrainerAnswer
from shared.errors import InputError
from shared.files import from_json, to_json, write_whole
from shared.job import Precision


class Took(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The cost of one process, which passed over a sample twice."""

    seconds: float
    """The second pass, synchronised at both ends."""
    first_pass_seconds: float
    """The first pass, with compilation and allocation for every shape of the sample."""
    first_step_seconds: float
    start_seconds: float
    """Time from the process's first line to the first step: import, build and load."""
    peak_memory_bytes: int

    @classmethod
    def of(cls, answer: Trained | TrainerAnswer) -> Took:
        """The cost that an answer tells."""
        first, second = answer.epochs
        return cls(
            seconds=second.seconds,
            first_pass_seconds=first.seconds,
            first_step_seconds=answer.first_step_seconds,
            start_seconds=answer.start_seconds,
            peak_memory_bytes=answer.peak_memory_bytes,
        )


class Measured(Struct, frozen=True, forbid_unknown_fields=True, rename={"variant": "mode"}):
    """One attempt at one variant in one round."""

    variant: Variant
    round: int
    """Counted from 1."""
    attempt: int
    """Counted from 1."""
    busy_cores: float
    """Cores that other processes kept busy meanwhile."""
    took: Took

    @property
    def disturbed(self) -> bool:
        """Whether other processes kept too many cores busy."""
        return self.busy_cores > DISTURBED


class Rated(Struct, frozen=True, forbid_unknown_fields=True):
    """The rates that a framework reached before a round, or, with a number one beyond the last, after it."""

    backend: str
    round: int
    product: dict[str, float]
    """FLOP/s of matrix products, by precision."""
    bandwidth: float
    """Bytes a second."""


class Results(Struct, forbid_unknown_fields=True):
    """All that was measured for one question."""

    asked: SpeedAsked
    measured: list[Measured] = field(default_factory=list)
    rates: list[Rated] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    """Reasons why variants cannot be measured, by their names."""
    arguments: dict[str, dict[str, Any]] = field(default_factory=dict)
    """All arguments of a library's own trainer, by the variant's name."""
    nodes: list[str] | UnsetType = UNSET
    """The nodes of a cluster that measured."""

    @classmethod
    def read(cls, file: Path, asked: SpeedAsked) -> Results:
        """The file's results, or none yet if there is no file. Raises InputError if it holds something else."""
        if not file.is_file():
            return cls(asked)
        try:
            return from_json(file.read_bytes(), cls)
        except ValueError:
            raise InputError(f"{file} holds no rounds of benchmarks.speed; delete it and measure again") from None

    def write(self, file: Path) -> None:
        """Replaces the file."""
        write_whole(file, to_json(self, indent=1))

    def has(self, variant: Variant, round: int) -> bool:
        """Whether the variant was measured in the round."""
        return any(m.variant == variant and m.round == round for m in self.measured)

    def counted(self, variant: Variant) -> list[Measured]:
        """The least disturbed attempt of each round, by round."""
        quietest: dict[int, Measured] = {}
        for made in (m for m in self.measured if m.variant == variant):
            if made.round not in quietest or made.busy_cores < quietest[made.round].busy_cores:
                quietest[made.round] = made
        return [quietest[number] for number in sorted(quietest)]

    def best_rate(self, precision: Precision) -> float | None:
        """The highest FLOP/s that any framework reached; None if none computes in this precision."""
        return max((r.product[precision] for r in self.rates if precision in r.product), default=None)

    def best_bandwidth(self) -> float:
        """The highest bytes a second that any framework reached."""
        return max(r.bandwidth for r in self.rates)
