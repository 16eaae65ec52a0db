"""Variants, measurements and results of benchmarks.speed as tests make them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from msgspec import structs

from benchmarks.speed.asked import Asked, Processors, SpeedAsked
from benchmarks.speed.results import Measured, Rated, Results, Took
from benchmarks.speed.sample import Sample
from benchmarks.speed.variants import Variant
from shared.flops import Work
from shared.recipe import Recipe

RECIPE = Recipe(max_len=8, batch_size=2)
PADDED, BUCKETED = Variant("torch", "max_length"), Variant("torch", "bucket")
TRAINER = Variant("torch", "max_length", trainer=True)
WORK = Work(steps=4, rows=8, tokens=40, padded_tokens=64, real_flops=4_000, all_flops=8_000)
EPOCH = Work(steps=10, rows=20, tokens=100, padded_tokens=160, real_flops=10_000, all_flops=20_000)
COMMON = Asked(
    task="toy task",
    model="toy",
    data=["0" * 64],
    checkpoint="0" * 64,
    recipes=[RECIPE.asked()],
    versions={"torch": {"torch": "2.0"}},
    code="0" * 16,
    device="cpu",
    threads=2,
    machine=Processors("Toy CPU", 4, []),
)
ASKED = SpeedAsked(4, [PADDED, BUCKETED, TRAINER], **structs.asdict(COMMON))


def samples(folder: Path) -> dict[str, Sample]:
    """A sample for each way to pad, all of the same work; there is no data in their folders."""
    return {
        padding: Sample(replace(RECIPE, epochs=2), folder / padding, WORK, EPOCH)
        for padding in ("max_length", "longest", "bucket")
    }


def took(seconds: float, peak: int = 2**20) -> Took:
    """The cost of a process whose second pass took so many seconds."""
    return Took(
        seconds=seconds,
        first_pass_seconds=seconds + 3,
        first_step_seconds=2.0,
        start_seconds=5.0,
        peak_memory_bytes=peak,
    )


def results() -> Results:
    """Three rounds of each variant of ASKED, the trainer disturbed in the second, and three readings of rates."""
    made = Results(ASKED)
    for n, (padded, bucketed, trainer) in enumerate([(4.0, 1.0, 5.0), (8.0, 1.5, 8.0), (6.0, 1.2, 5.0)], 1):
        for variant, seconds, peak in ((PADDED, padded, 300), (BUCKETED, bucketed, 100), (TRAINER, trainer, 200)):
            busy = 0.3 if (variant, n) == (TRAINER, 2) else 0.0
            made.measured.append(Measured(variant, n, 1, busy, took(seconds, peak * 2**20)))
    made.rates += [
        Rated("torch", 1, {"float32": 1e4, "bfloat16": 2e4}, 500.0),
        Rated("keras", 1, {"float32": 2e4}, 800.0),
        Rated("torch", 2, {"float32": 1.5e4}, 600.0),
    ]
    return made
