"""Results of benchmarks.speed: what was measured, in one file."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.speed.modes import Mode
from benchmarks.workers.attempts import DISTURBED
from shared.errors import InputError
from shared.files import write_whole


@dataclass(frozen=True)
class Took:
    """What one process took for two passes over a sample."""

    seconds: float
    """Of the second pass, synchronised at both ends."""
    first_pass_seconds: float
    """With tracing, compilation and allocation for every shape of the sample."""
    first_step_seconds: float
    start_seconds: float
    """From the process's first line to the first step: import, build and load."""
    peak_memory_bytes: int

    @classmethod
    def of(cls, answer: dict[str, Any]) -> Took:
        """Of a worker's answer, or a baseline's."""
        first, second = answer["epochs"]
        return cls(
            seconds=second["seconds"],
            first_pass_seconds=first["seconds"],
            first_step_seconds=answer["first_step_seconds"],
            start_seconds=answer["start_seconds"],
            peak_memory_bytes=answer["peak_memory_bytes"],
        )


@dataclass(frozen=True)
class Measured:
    """One attempt at one mode in one round."""

    mode: Mode
    round: int
    """From 1."""
    attempt: int
    """From 1."""
    busy_cores: float
    """Kept busy by other processes meanwhile."""
    took: Took

    @property
    def disturbed(self) -> bool:
        return self.busy_cores > DISTURBED


@dataclass(frozen=True)
class Rates:
    """What a framework reached on this machine, before a round (or, one beyond the last, after it)."""

    backend: str
    round: int
    product: dict[str, float]
    """FLOP/s of matrix products by precision."""
    bandwidth: float
    """Bytes a second."""


@dataclass
class Results:
    """All that was measured for one question, kept in one file that is written anew after each measurement."""

    file: Path
    asked: dict[str, Any]
    measured: list[Measured] = field(default_factory=list)
    rates: list[Rates] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    """By the mode's name, why its backend cannot."""
    arguments: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By the mode's name, what a stock trainer was told."""

    @classmethod
    def at(cls, file: Path, asked: dict[str, Any]) -> Results:
        """Those that the file holds, or none yet. Raises InputError where it is no such file."""
        if not file.is_file():
            return cls(file, asked)
        try:
            held = json.loads(file.read_text(encoding="utf-8"))
            measured = [
                Measured(**(entry | {"mode": Mode(**entry["mode"]), "took": Took(**entry["took"])}))
                for entry in held["measured"]
            ]
            rates = [Rates(**entry) for entry in held["rates"]]
            return cls(file, asked, measured, rates, held["refused"], held["arguments"])
        except (ValueError, KeyError, TypeError):
            raise InputError(f"{file} holds no rounds of benchmarks.speed; delete it and measure again") from None

    def write(self) -> None:
        write_whole(self.file, json.dumps({k: v for k, v in asdict(self).items() if k != "file"}, indent=1))

    def has(self, mode: Mode, round: int) -> bool:
        return any(m.mode == mode and m.round == round for m in self.measured)

    def counted(self, mode: Mode) -> list[Measured]:
        """Of each round the least disturbed attempt."""
        rounds = sorted({m.round for m in self.measured if m.mode == mode})
        return [
            min((m for m in self.measured if m.mode == mode and m.round == n), key=lambda m: m.busy_cores)
            for n in rounds
        ]

    def best_rate(self, precision: str) -> float | None:
        """FLOP/s, the highest that any framework reached; None where none can."""
        return max((r.product[precision] for r in self.rates if precision in r.product), default=None)

    def best_bandwidth(self) -> float:
        return max(r.bandwidth for r in self.rates)
