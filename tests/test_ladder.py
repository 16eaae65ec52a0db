"""The ladder on made-up traces: what it compares, what it lets pass, what it names. Real ones are climbed in
tests/backends/test_ladder.py."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.parity.ladder import Finding, Trace, Truth, climb, likely_causes
from benchmarks.parity.rungs import RUNGS

Parts = dict[str, dict[str, np.ndarray]]
NOISE = 1e-7
DROPPED = {"share": 0.1, "entries": 10_000}
NAMES = ("layer.0.attention.self.key.bias", "layer.0.output.dense.weight", "classifier.weight")
RECEIVED = [{"ids": f"i{n}", "types": f"t{n}", "mask": f"m{n}", "labels": f"l{n}", "rate": 1e-3} for n in range(4)]


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


def written(
    folder: Path, found: Parts, received: list[dict[str, Any]] | None = None, dropped: dict[str, Any] = DROPPED
) -> Trace:
    folder.mkdir()
    for part, arrays in found.items():
        np.savez(folder / f"{part}.npz", **arrays)  # type: ignore[arg-type]
    return Trace(folder, {"received": RECEIVED if received is None else received, "dropped": dropped})


def disturbed(found: Parts, by: float) -> Parts:
    """Every entry but the parameters as loaded and the mask moved by this much, up or down."""
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


@pytest.fixture
def findings(truth: Truth, tmp_path: Path) -> Callable[..., dict[str, Finding]]:
    """What the ladder finds of a trace that a function changed; the rungs by name."""

    def found(
        change: Callable[[Parts], object] = lambda parts: None, received: Any = None, dropped: Any = DROPPED
    ) -> dict[str, Finding]:
        changed = disturbed(parts(), NOISE)
        change(changed)
        trace = written(tmp_path / "mine", changed, received, dropped)
        return {finding.rung: finding for finding in climb(truth, trace)}

    return found


Findings = Callable[..., dict[str, Finding]]


def failing(found: dict[str, Finding]) -> list[str]:
    return [name for name, finding in found.items() if not finding.holds]


def test_an_error_of_torchs_own_size_holds_on_every_rung_and_is_told_as_such(findings: Findings) -> None:
    found = findings()
    assert list(found) == [rung.name for rung in RUNGS]
    assert failing(found) == []
    assert found["layers"].error == pytest.approx(NOISE)
    assert found["layers"].times_noise == pytest.approx(1.0)


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
def test_one_entry_that_is_off_fails_its_rung_alone_and_is_named(findings: Findings, rung: str) -> None:
    part, name, by = CHANGES[rung]

    def change(found: Parts) -> None:
        found[part][name].flat[1 if found[part][name].size > 1 else 0] += by

    found = findings(change)
    assert failing(found) == [rung]
    assert found[rung].worst == name
    assert found[rung].error == pytest.approx(by, abs=2 * NOISE)
    assert likely_causes(found[rung])


def test_every_rung_that_subtracts_is_tried_above() -> None:
    assert set(CHANGES) | {"batches", "dropout"} == {rung.name for rung in RUNGS}


def test_of_layers_the_first_that_is_off_is_named_though_a_later_is_worse(findings: Findings) -> None:
    def change(found: Parts) -> None:
        found["states"]["layers/0"][0, 0, 0] += 1e-4
        found["states"]["layers/1"][0, 0, 0] += 1.0

    found = findings(change)["layers"]
    assert (found.worst, found.error) == ("layers/0", pytest.approx(1.0, rel=0.01))


def test_what_stands_at_padding_is_not_compared(findings: Findings) -> None:
    def change(found: Parts) -> None:
        found["states"]["layers/0"][1, 2:] = 99.0

    assert failing(findings(change)) == []


def test_a_parameter_without_gradient_may_be_as_wrong_as_torchs_is(tmp_path: Path) -> None:
    exact, torch, mine = parts(), disturbed(parts(), NOISE), disturbed(parts(), NOISE)
    torch["last_step"][NAMES[0]][0] += 1e-3
    mine["last_step"][NAMES[0]][1] -= 2e-3
    truth = Truth(written(tmp_path / "exact", exact), written(tmp_path / "torch", torch))
    found = {f.rung: f for f in climb(truth, written(tmp_path / "mine", mine))}
    assert found["last step"].holds
    # The same noise lends no other parameter its bound.
    mine["last_step"][NAMES[1]].flat[1] += 1e-4
    found = {f.rung: f for f in climb(truth, written(tmp_path / "worse", mine))}
    assert (found["last step"].holds, found["last step"].worst) == (False, NAMES[1])


@pytest.mark.parametrize(("value", "word"), [(np.nan, "NaN"), (np.inf, "Inf")])
def test_what_is_not_finite_is_named_with_its_rung_and_tensor(findings: Findings, value: float, word: str) -> None:
    def change(found: Parts) -> None:
        found["gradients"][NAMES[2]][0, 0] = value

    found = findings(change)
    assert failing(found) == ["gradients"]
    assert found["gradients"].note == f"{word} in {NAMES[2]}"


def test_nan_is_not_equal_to_the_truths_nan(tmp_path: Path) -> None:
    spoilt = parts()
    spoilt["losses"]["value"][2] = np.nan
    traces = [written(tmp_path / name, copy.deepcopy(spoilt)) for name in ("exact", "torch", "mine")]
    found = {f.rung: f for f in climb(Truth(traces[0], traces[1]), traces[2])}
    assert not found["losses"].holds
    assert found["losses"].note == "NaN in value of the truth itself"


def test_a_missing_tensor_and_a_wrong_shape_are_named(findings: Findings) -> None:
    def change(found: Parts) -> None:
        del found["gradients"][NAMES[0]]
        found["clipped"][NAMES[1]] = found["clipped"][NAMES[1]][:3]

    found = findings(change)
    assert found["gradients"].note == f"{NAMES[0]} is missing"
    assert found["clipped"].note == f"{NAMES[1]} has shape [3, 6], not [6, 6]"


def test_predictions_that_differ_are_counted(findings: Findings) -> None:
    def change(found: Parts) -> None:
        found["dev"]["logits"] = found["dev"]["logits"][:, ::-1].copy()

    assert findings(change)["dev"].note == "9 of 9 predictions differ"


@pytest.mark.parametrize(
    ("changed", "note"),
    [
        ({"rate": 2e-3}, "rate differ in 1 of 4 steps, first in step 3: the schedule"),
        ({"mask": "other"}, "mask differ in 1 of 4 steps, first in step 3: the mask"),
        ({"ids": "other", "labels": "other"}, "ids, labels differ in 1 of 4 steps, first in step 3: row order"),
    ],
)
def test_what_train_steps_received_is_told_apart(findings: Findings, changed: dict[str, Any], note: str) -> None:
    received = copy.deepcopy(RECEIVED)
    received[2] |= changed
    found = findings(received=received)
    assert failing(found) == ["batches"]
    assert found["batches"].note.startswith(note)


def test_a_dropped_batch_is_counted(findings: Findings) -> None:
    found = findings(received=RECEIVED[:-1])["batches"]
    assert not found.holds
    assert found.note.startswith("3 steps, not 4: the last batch")


def test_a_head_of_the_frameworks_own_is_told_from_a_wrong_weight_map(findings: Findings) -> None:
    def change(found: Parts) -> None:
        found["parameters"][NAMES[2]][0, 0] += 0.1

    assert "head" in likely_causes(findings(change)["parameters"])


@pytest.mark.parametrize("share", [0.1, 0.12, 0.08])
def test_shares_dropped_may_differ_by_chance(findings: Findings, share: float) -> None:
    """The difference of two such shares has a standard deviation of 0.0042."""
    assert failing(findings(dropped={"share": share, "entries": 10_000})) == []


@pytest.mark.parametrize("share", [0.0, 0.075, 0.125])
def test_shares_dropped_that_chance_does_not_explain_fail(findings: Findings, share: float) -> None:
    found = findings(dropped={"share": share, "entries": 10_000})
    assert failing(found) == ["dropout"]
    assert found["dropout"].share == pytest.approx(abs(share - 0.1) / (5 * np.sqrt(0.1 * 0.9 * 2 / 10_000)))
    assert found["dropout"].note == f"{share:.3f} dropped, 0.100 by the truth"


def test_where_nothing_is_dropped_nothing_may_be(truth: Truth, tmp_path: Path) -> None:
    truth.exact.summary["dropped"] = {"share": 0.0, "entries": 10_000}
    none = written(tmp_path / "none", parts(), dropped={"share": 0.0, "entries": 10_000})
    some = written(tmp_path / "some", parts(), dropped={"share": 1e-4, "entries": 10_000})
    holds = [{f.rung: f.holds for f in climb(truth, trace)}["dropout"] for trace in (none, some)]
    assert holds == [True, False]
