"""The ladder on made-up traces: what it compares, lets pass and names.

tests/backends/test_ladder.py has real traces.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec import structs

from benchmarks.parity.ladder import Climb, Trace, Truth, climb, likely_causes
from benchmarks.parity.rungs import RUNGS
from shared.answer import Dropped, Received, Traced

Parts = dict[str, dict[str, np.ndarray]]
NOISE = 1e-7
DROPPED = Dropped(share=0.1, entries=10_000)
NAMES = ("layer.0.attention.self.key.bias", "layer.0.output.dense.weight", "classifier.weight")
RECEIVED = [Received(ids=f"i{n}", types=f"t{n}", mask=f"m{n}", labels=f"l{n}", rate=1e-3) for n in range(4)]


def parts() -> Parts:
    """Every part of a trace, in float64, its largest entry 1; the key's bias has no gradient."""
    random = np.random.RandomState(0)

    def values(*shape: int) -> np.ndarray:
        array = random.uniform(-1, 1, shape)
        array.flat[0] = 1.0
        return array

    def parameters() -> dict[str, np.ndarray]:
        return {NAMES[0]: values(6), NAMES[1]: values(6, 6), NAMES[2]: values(2, 6)}

    found: Parts = {"parameters": parameters(), "loss": {"value": np.array(0.7)}, "dev": {"logits": values(9, 2)}}
    found["parameters"] = {name: array.astype(np.float32).astype(np.float64) for name, array in parameters().items()}
    found["states"] = {
        "embeddings": values(2, 5, 6),
        "layers/0": values(2, 5, 6),
        "layers/1": values(2, 5, 6),
        "pooled": values(2, 6),
        "logits": values(2, 2),
        "attention_mask": np.array([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]]),
    }
    found["gradients"] = parameters() | {NAMES[0]: np.full(6, 1e-17)}
    for prefix in ("", "steep_"):
        found[f"{prefix}norm"] = {"value": np.array(3.0)}
        found[f"{prefix}clipped"] = {name: gradient / 10 for name, gradient in found["gradients"].items()}
        found[f"{prefix}first_step"] = parameters()
        found[f"{prefix}last_step"] = parameters()
        found[f"{prefix}losses"] = {"value": values(4)}
    return found


def written(folder: Path, found: Parts, received: list[Received] | None = None, dropped: Dropped = DROPPED) -> Trace:
    """The parts as a trace in a new folder."""
    folder.mkdir()
    for part, arrays in found.items():
        np.savez(folder / f"{part}.npz", **arrays)  # type: ignore[arg-type]
    steps = RECEIVED if received is None else received
    return Trace(folder, Traced(dropped=dropped, received=steps, steep_clip=0.3, dev={"accuracy": 0.5}))


def disturbed(found: Parts, by: float) -> Parts:
    """The parts with every entry moved by this much, up or down, except the mask and the parameters as loaded."""
    signs = np.random.RandomState(1)
    return {
        part: {
            name: a.copy()
            if part == "parameters" or name == "attention_mask"
            else np.asarray(a + by * signs.choice([-1, 1], a.shape))
            for name, a in arrays.items()
        }
        for part, arrays in found.items()
    }


@pytest.fixture
def truth(tmp_path: Path) -> Truth:
    return Truth(written(tmp_path / "exact", parts()), written(tmp_path / "torch", disturbed(parts(), NOISE)))


Findings = Callable[..., Climb]


@pytest.fixture
def findings(truth: Truth, tmp_path: Path) -> Findings:
    """Climbs with a trace that a function changed."""

    def found(
        change: Callable[[Parts], object] = lambda parts: None,
        received: list[Received] | None = None,
        dropped: Dropped = DROPPED,
    ) -> Climb:
        changed = disturbed(parts(), NOISE)
        change(changed)
        return climb(truth, written(tmp_path / "mine", changed, received, dropped))

    return found


def failing(found: Climb) -> list[str]:
    """Names of the rungs that fail."""
    return [finding.rung for finding in found.findings if not finding.holds]


def test_an_error_of_torchs_size_holds_on_every_rung(findings: Findings) -> None:
    """It is given as about once torch's own error."""
    found = findings()
    assert [finding.rung for finding in found.findings] == [rung.name for rung in RUNGS]
    assert failing(found) == []
    assert found.first_failure is None
    assert found.at("layers").error == pytest.approx(NOISE)
    assert found.at("layers").times_noise == pytest.approx(1.0)


CHANGES = {
    "parameters": ("parameters", NAMES[1], 1e-6),
    "embeddings": ("states", "embeddings", 1e-5),
    "layers": ("states", "layers/0", 1e-5),
    "pooled": ("states", "pooled", 1e-5),
    "logits": ("states", "logits", 1e-4),
    "loss": ("loss", "value", 1e-4),
    "gradients": ("gradients", NAMES[1], 1e-2),
    "norm": ("norm", "value", 1e-3),
    "clipped": ("clipped", NAMES[1], 1e-2),
    "norm, steep": ("steep_norm", "value", 1e-3),
    "clipped, steep": ("steep_clipped", NAMES[1], 1e-2),
    "first step": ("first_step", NAMES[1], 1e-4),
    "first step, steep": ("steep_first_step", NAMES[1], 1e-4),
    "losses": ("losses", "value", 1e-4),
    "last step": ("last_step", NAMES[1], 1e-4),
    "losses, steep": ("steep_losses", "value", 1e-4),
    "last step, steep": ("steep_last_step", NAMES[1], 1e-3),
    "dev": ("dev", "logits", 1e-3),
}


@pytest.mark.parametrize("rung", CHANGES)
def test_one_wrong_entry_fails_its_rung_alone_and_is_named(findings: Findings, rung: str) -> None:
    part, name, by = CHANGES[rung]

    def change(found: Parts) -> None:
        found[part][name].flat[1 if found[part][name].size > 1 else 0] += by

    found = findings(change)
    assert failing(found) == [rung]
    assert found.first_failure == found.at(rung)
    assert found.at(rung).worst == name
    assert found.at(rung).error == pytest.approx(by, abs=2 * NOISE)
    assert likely_causes(found.at(rung))


def test_every_rung_that_subtracts_is_tried_above() -> None:
    assert set(CHANGES) | {"batches", "dropout"} == {rung.name for rung in RUNGS}


def test_the_first_wrong_layer_is_named_not_the_worst(findings: Findings) -> None:
    def change(found: Parts) -> None:
        found["states"]["layers/0"][0, 0, 0] += 1e-4
        found["states"]["layers/1"][0, 0, 0] += 1.0

    found = findings(change).at("layers")
    assert (found.worst, found.error) == ("layers/0", pytest.approx(1.0, rel=0.01))


def test_padding_is_not_compared(findings: Findings) -> None:
    def change(found: Parts) -> None:
        found["states"]["layers/0"][1, 2:] = 99.0

    assert failing(findings(change)) == []


def test_a_parameter_without_gradient_may_err_as_torch_does(tmp_path: Path) -> None:
    """Its noise does not widen another parameter's bound."""
    exact, torch, mine = parts(), disturbed(parts(), NOISE), disturbed(parts(), NOISE)
    torch["last_step"][NAMES[0]][0] += 1e-3
    mine["last_step"][NAMES[0]][1] -= 2e-3
    truth = Truth(written(tmp_path / "exact", exact), written(tmp_path / "torch", torch))
    assert climb(truth, written(tmp_path / "mine", mine)).at("last step").holds
    mine["last_step"][NAMES[1]].flat[1] += 1e-4
    worse = climb(truth, written(tmp_path / "worse", mine)).at("last step")
    assert (worse.holds, worse.worst) == (False, NAMES[1])


@pytest.mark.parametrize(("value", "word"), [(np.nan, "NaN"), (np.inf, "Inf")])
def test_nan_and_infinity_are_named_with_rung_and_tensor(findings: Findings, value: float, word: str) -> None:
    def change(found: Parts) -> None:
        found["gradients"][NAMES[2]][0, 0] = value

    found = findings(change)
    assert failing(found) == ["gradients"]
    assert found.at("gradients").note.startswith(f"{word} in {NAMES[2]} at [")


def test_nan_is_not_equal_to_the_truths_nan(tmp_path: Path) -> None:
    spoilt = parts()
    spoilt["losses"]["value"][2] = np.nan
    traces = [written(tmp_path / name, copy.deepcopy(spoilt)) for name in ("exact", "torch", "mine")]
    found = climb(Truth(traces[0], traces[1]), traces[2]).at("losses")
    assert not found.holds
    assert found.note == "NaN in value at [2] of the truth itself"


def test_a_missing_tensor_and_a_wrong_shape_are_named(findings: Findings) -> None:
    def change(found: Parts) -> None:
        del found["gradients"][NAMES[0]]
        found["clipped"][NAMES[1]] = found["clipped"][NAMES[1]][:3]

    found = findings(change)
    assert found.at("gradients").note == f"{NAMES[0]} is missing"
    assert found.at("clipped").note == f"{NAMES[1]} has shape [3, 6], not [6, 6]"


def test_predictions_that_differ_are_counted(findings: Findings) -> None:
    def change(found: Parts) -> None:
        found["dev"]["logits"] = found["dev"]["logits"][:, ::-1].copy()

    assert findings(change).at("dev").note == "9 of 9 predictions differ"


@pytest.mark.parametrize(
    ("changed", "note"),
    [
        ({"rate": 2e-3}, "rate differ in 1 of 4 steps, first in step 3: the schedule"),
        ({"mask": "other"}, "mask differ in 1 of 4 steps, first in step 3: the mask"),
        ({"ids": "other", "labels": "other"}, "ids, labels differ in 1 of 4 steps, first in step 3: row order"),
    ],
)
def test_the_input_of_a_step_that_differs_is_named(findings: Findings, changed: dict[str, Any], note: str) -> None:
    received = list(RECEIVED)
    received[2] = structs.replace(received[2], **changed)
    found = findings(received=received)
    assert failing(found) == ["batches"]
    assert found.at("batches").note.startswith(note)


def test_a_dropped_batch_is_counted(findings: Findings) -> None:
    found = findings(received=RECEIVED[:-1]).at("batches")
    assert not found.holds
    assert found.note.startswith("3 steps, not 4: the last batch")


def test_a_wrong_head_is_told_from_a_wrong_weight_map(findings: Findings) -> None:
    def change(found: Parts) -> None:
        found["parameters"][NAMES[2]][0, 0] += 0.1

    assert "head" in likely_causes(findings(change).at("parameters"))


@pytest.mark.parametrize("share", [0.1, 0.12, 0.08])
def test_shares_dropped_may_differ_by_chance(findings: Findings, share: float) -> None:
    """The difference of two such shares has a standard deviation of 0.0042."""
    assert failing(findings(dropped=Dropped(share, 10_000))) == []


@pytest.mark.parametrize("share", [0.0, 0.075, 0.125])
def test_shares_dropped_that_chance_does_not_explain_fail(findings: Findings, share: float) -> None:
    found = findings(dropped=Dropped(share, 10_000))
    assert failing(found) == ["dropout"]
    assert found.at("dropout").share == pytest.approx(abs(share - 0.1) / (5 * np.sqrt(0.1 * 0.9 * 2 / 10_000)))
    assert found.at("dropout").note == f"{share:.3f} dropped, 0.100 by the truth"


@pytest.mark.parametrize(("share", "holds"), [(0.0, True), (1e-4, False)])
def test_if_the_truth_drops_nothing_nothing_may_be_dropped(tmp_path: Path, share: float, holds: bool) -> None:
    none = Dropped(0.0, 10_000)
    truth = Truth(written(tmp_path / "exact", parts(), dropped=none), written(tmp_path / "torch", parts()))
    mine = written(tmp_path / "mine", parts(), dropped=Dropped(share, 10_000))
    assert climb(truth, mine).at("dropout").holds == holds
