"""The ladder on made-up recordings: what it compares, lets pass and names.

tests/backends/test_ladder.py has real recordings.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from msgspec import structs

from benchmarks.parity.climb import Truth, climb
from benchmarks.parity.ladder import Climb, Differences, likely_causes
from benchmarks.parity.rungs import RUNGS
from benchmarks.port.answers import Answers, Noises
from benchmarks.port.values import Values
from shared.pack import PACK_WEIGHTS, Arrays, Pack, PackContents, PackRun, PackStep, Settings, Wanted, write_part

Parts = dict[tuple[str, str, str], Arrays]
"""Arrays by run, step and part."""
NOISE = 1e-7
NAMES = ("layer.0.attention.self.key.bias", "layer.0.output.dense.weight", "classifier.weight")
RATE = 0.1
"""Dropout's."""
SETTINGS = Settings(
    optimizer="adamw",
    learning_rate=1e-3,
    schedule="constant",
    warm_up_steps=0,
    total_steps=4,
    beta1=0.9,
    beta2=0.999,
    eps=1e-8,
    eps_place="after",
    bias_correction=True,
    decay=0.01,
    decayed=[],
    clip=1.0,
    dropout=0.0,
    num_labels=2,
)
TRAINED = ("1", "2", "3", "4")


def batch(step: int) -> Arrays:
    """Two rows, of five and two tokens."""
    random = np.random.RandomState(step)
    mask = np.array([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]])
    return {
        "input_ids": random.randint(1, 99, (2, 5)) * mask,
        "token_type_ids": np.zeros_like(mask),
        "attention_mask": mask,
        "labels": random.randint(0, 2, 2),
    }


def made_pack(folder: Path, dropout: float = RATE, rates: tuple[float, ...] = (1e-3,) * 4) -> Pack:
    """A pack whose run `dropout` has a thousand tokens, ten wide."""
    (folder / "batches").mkdir(parents=True)
    for step in range(5):
        np.savez(folder / "batches" / f"{step}.npz", **batch(step))  # type: ignore[arg-type]
    np.savez(folder / "batches" / "dropout.npz", attention_mask=np.ones((10, 100)))

    def run(name: str, batches: list[str], rates: tuple[float, ...]) -> PackRun:
        steps = [
            PackStep(str(n), f"batches/{b}.npz", r) for n, (b, r) in enumerate(zip(batches, rates, strict=True), 1)
        ]
        settings = structs.replace(SETTINGS, dropout=dropout) if name == "dropout" else SETTINGS
        trains, weights = name in ("train", "steep"), "train" if name == "dev" else PACK_WEIGHTS
        return PackRun(name=name, about="", trains=trains, weights=weights, settings=settings, steps=steps)

    runs = [
        run("eval", ["0"], (0.0,)),
        run("dropout", ["dropout"], (0.0,)),
        run("train", list(TRAINED), rates),
        run("dev", ["1", "2"], (0.0, 0.0)),
        run("steep", list(TRAINED), (1e-3,) * 4),
    ]
    contents = PackContents(format=1, id="", about="", model_type="bert", runs=runs)
    return Pack(folder, contents, Wanted(format=1, parts={}, runs={}))


def parts() -> Parts:
    """Every part of a recording, in float64, its largest entry 1; the key's bias has no gradient."""
    random = np.random.RandomState(0)

    def values(*shape: int) -> np.ndarray:
        array = random.uniform(-1, 1, shape)
        array.flat[0] = 1.0
        return array

    def parameters() -> Arrays:
        return {NAMES[0]: values(6), NAMES[1]: values(6, 6), NAMES[2]: values(2, 6)}

    found: Parts = {}
    loaded = {name: array.astype(np.float32).astype(np.float64) for name, array in parameters().items()}
    found["eval", "0", "parameters"] = loaded
    names = ("embeddings", "layers/0", "layers/1")
    found["eval", "1", "hidden"] = {name: values(2, 5, 6) for name in names} | {"pooled": values(2, 6)}
    found["eval", "1", "logits"] = {"value": values(2, 2)}
    found["eval", "1", "loss"] = {"value": np.array(0.7)}
    found["dropout", "1", "hidden"] = {"embeddings": dropped(RATE)}
    gradients = parameters() | {NAMES[0]: np.full(6, 1e-17)}
    for run in ("train", "steep"):
        found[run, "1", "gradients"] = gradients
        found[run, "1", "norm"] = {"value": np.array(3.0)}
        found[run, "1", "clipped"] = {name: gradient / 10 for name, gradient in gradients.items()}
        found[run, "1", "parameters"] = parameters()
        found[run, "4", "parameters"] = parameters()
        for step in TRAINED:
            found[run, step, "loss"] = {"value": np.asarray(random.uniform(0.5, 1))}
            found[run, step, "received"] = batch(int(step)) | {"learning_rate": np.array(1e-3)}
    for step, rows in (("1", 5), ("2", 4)):
        found["dev", step, "logits"] = {"value": values(rows, 2)}
    return found


def dropped(share: float) -> np.ndarray:
    """Embeddings of a thousand tokens, this share of whose entries are zero."""
    states = np.ones((10, 100, 10))
    states.flat[: round(share * states.size)] = 0
    return states


def written(folder: Path, found: Parts, pack: Pack) -> Values:
    """The parts as a recording in a new folder."""
    folder.mkdir()
    for (run, step, part), arrays in found.items():
        write_part(folder, run, step, part, arrays)
    return Values(folder, pack)


def disturbed(found: Parts, by: float) -> Parts:
    """The parts with every entry moved by this much, up or down, except what is given, dropped or loaded."""
    signs = np.random.RandomState(1)

    def moved(array: np.ndarray) -> np.ndarray:
        return np.asarray(array + by * signs.choice([-1, 1], array.shape))

    kept = {key for key in found if key[2] == "received" or key[0] == "dropout" or key[1] == "0"}
    return {
        key: {name: a.copy() if key in kept else moved(a) for name, a in arrays.items()}
        for key, arrays in found.items()
    }


@pytest.fixture
def pack(tmp_path: Path) -> Pack:
    return made_pack(tmp_path / "pack")


@pytest.fixture
def truth(tmp_path: Path, pack: Pack) -> Truth:
    exact, torch = parts(), disturbed(parts(), NOISE)
    return Truth.with_noise(written(tmp_path / "exact", exact, pack), written(tmp_path / "torch", torch, pack))


Findings = Callable[..., Climb]


@pytest.fixture
def findings(truth: Truth, tmp_path: Path) -> Findings:
    """Climbs with a recording that a function changed."""

    def found(change: Callable[[Parts], object] = lambda parts: None) -> Climb:
        changed = disturbed(parts(), NOISE)
        change(changed)
        return climb(truth, written(tmp_path / "mine", changed, truth.exact.pack), {"accuracy": 0.5})

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
    "parameters": ("eval/0/parameters", NAMES[1], 1e-6),
    "embeddings": ("eval/1/hidden", "embeddings", 1e-5),
    "layers": ("eval/1/hidden", "layers/0", 1e-5),
    "pooled": ("eval/1/hidden", "pooled", 1e-5),
    "logits": ("eval/1/logits", "value", 1e-4),
    "loss": ("eval/1/loss", "value", 1e-4),
    "gradients": ("train/1/gradients", NAMES[1], 1e-2),
    "norm": ("train/1/norm", "value", 1e-3),
    "clipped": ("train/1/clipped", NAMES[1], 1e-2),
    "norm, steep": ("steep/1/norm", "value", 1e-3),
    "clipped, steep": ("steep/1/clipped", NAMES[1], 1e-2),
    "first step": ("train/1/parameters", NAMES[1], 1e-4),
    "first step, steep": ("steep/1/parameters", NAMES[1], 1e-4),
    "losses": ("train/2/loss", "value", 1e-4),
    "last step": ("train/4/parameters", NAMES[1], 1e-4),
    "losses, steep": ("steep/3/loss", "value", 1e-4),
    "last step, steep": ("steep/4/parameters", NAMES[1], 1e-3),
    "dev": ("dev/2/logits", "value", 1e-3),
}
"""An array of each rung, by its place in the recording and its name, and a difference that is too large."""


def at(found: Parts, place: str) -> Arrays:
    """The arrays of RUN/STEP/PART."""
    run, step, part = place.split("/")
    return found[run, step, part]


@pytest.mark.parametrize("rung", CHANGES)
def test_one_wrong_entry_fails_its_rung_alone_and_is_named(findings: Findings, rung: str) -> None:
    place, name, by = CHANGES[rung]

    def change(found: Parts) -> None:
        array = at(found, place)[name]
        array.flat[1 if array.size > 1 else 0] += by

    found = findings(change)
    assert failing(found) == [rung]
    assert found.first_failure == found.at(rung)
    assert found.at(rung).worst == ("logits" if rung == "dev" else name)
    assert found.at(rung).error == pytest.approx(by, abs=2 * NOISE)
    assert likely_causes(found.at(rung))


def test_every_rung_that_subtracts_is_tried_above() -> None:
    assert set(CHANGES) | {"batches", "dropout"} == {rung.name for rung in RUNGS}


def test_the_first_wrong_layer_is_named_not_the_worst(findings: Findings) -> None:
    def change(found: Parts) -> None:
        at(found, "eval/1/hidden")["layers/0"][0, 0, 0] += 1e-4
        at(found, "eval/1/hidden")["layers/1"][0, 0, 0] += 1.0

    found = findings(change).at("layers")
    assert (found.worst, found.error) == ("layers/0", pytest.approx(1.0, rel=0.01))


def test_padding_is_not_compared(findings: Findings) -> None:
    def change(found: Parts) -> None:
        at(found, "eval/1/hidden")["layers/0"][1, 2:] = 99.0

    assert failing(findings(change)) == []


def test_a_parameter_without_gradient_may_err_as_torch_does(tmp_path: Path, pack: Pack) -> None:
    """Its noise does not widen another parameter's bound."""
    torch, mine = disturbed(parts(), NOISE), disturbed(parts(), NOISE)
    at(torch, "train/4/parameters")[NAMES[0]][0] += 1e-3
    at(mine, "train/4/parameters")[NAMES[0]][1] -= 2e-3
    truth = Truth.with_noise(written(tmp_path / "exact", parts(), pack), written(tmp_path / "torch", torch, pack))
    assert climb(truth, written(tmp_path / "mine", mine, pack), {}).at("last step").holds
    at(mine, "train/4/parameters")[NAMES[1]].flat[1] += 1e-4
    worse = climb(truth, written(tmp_path / "worse", mine, pack), {}).at("last step")
    assert (worse.holds, worse.worst) == (False, NAMES[1])


def test_one_bound_holds_for_the_losses_of_all_steps(tmp_path: Path, pack: Pack) -> None:
    """At one step torch happens to compute the loss exactly."""
    torch, mine = disturbed(parts(), 1e-5), disturbed(parts(), 1e-5)
    torch["train", "3", "loss"] = parts()["train", "3", "loss"]
    truth = Truth.with_noise(written(tmp_path / "exact", parts(), pack), written(tmp_path / "torch", torch, pack))
    assert climb(truth, written(tmp_path / "mine", mine, pack), {}).at("losses").holds


def test_noises_of_a_step_each_are_put_together(truth: Truth, tmp_path: Path, pack: Pack) -> None:
    """The reference's answers have them by step."""
    torch, exact = Values(tmp_path / "torch", pack), truth.exact
    arrays = {rung.name: (torch.of_rung(rung.name), exact.of_rung(rung.name)) for rung in RUNGS}
    by_step = {
        rung: Differences.between(mine, right).errors for rung, (mine, right) in arrays.items() if mine and right
    }
    assert len(by_step["losses"]) == 4
    assert Truth.of(Answers(exact, Noises(by_step, {}))).noises == truth.noises


def test_the_first_step_is_the_first_that_moves_weights(tmp_path: Path) -> None:
    pack = made_pack(tmp_path / "pack", rates=(0.0, 1e-3, 1e-3, 1e-3))
    given = parts()
    given["train", "1", "received"]["learning_rate"] = np.array(0.0)
    given["train", "2", "parameters"] = given.pop(("train", "1", "parameters"))
    mine = copy.deepcopy(given)
    exact, torch = (written(tmp_path / name, given, pack) for name in ("exact", "torch"))
    at(mine, "train/2/parameters")[NAMES[1]][0, 0] += 1e-4
    assert failing(climb(Truth.with_noise(exact, torch), written(tmp_path / "mine", mine, pack), {})) == ["first step"]


@pytest.mark.parametrize(("value", "word"), [(np.nan, "NaN"), (np.inf, "Inf")])
def test_nan_and_infinity_are_named_with_rung_and_tensor(findings: Findings, value: float, word: str) -> None:
    def change(found: Parts) -> None:
        at(found, "train/1/gradients")[NAMES[2]][0, 0] = value

    found = findings(change)
    assert failing(found) == ["gradients"]
    assert found.at("gradients").note.startswith(f"{word} in {NAMES[2]} at [")


def test_nan_is_not_equal_to_the_truths_nan(tmp_path: Path, pack: Pack) -> None:
    spoilt = parts()
    spoilt["train", "3", "loss"] = {"value": np.array(np.nan)}
    exact, torch, mine = (written(tmp_path / name, spoilt, pack) for name in ("exact", "torch", "mine"))
    found = climb(Truth.with_noise(exact, torch), mine, {}).at("losses")
    assert not found.holds
    assert found.note == "NaN in value at [2] of the truth itself"


def test_nan_of_torch_is_no_bound(tmp_path: Path, pack: Pack) -> None:
    spoilt = parts()
    spoilt["dev", "1", "logits"]["value"][0, 0] = np.nan
    exact, torch = written(tmp_path / "exact", parts(), pack), written(tmp_path / "torch", spoilt, pack)
    found = climb(Truth.with_noise(exact, torch), written(tmp_path / "mine", parts(), pack), {}).at("dev")
    assert not found.holds
    assert found.note == "NaN or Inf in logits of torch's own"


def test_a_missing_tensor_and_a_wrong_shape_are_named(findings: Findings) -> None:
    def change(found: Parts) -> None:
        del at(found, "train/1/gradients")[NAMES[0]]
        clipped = at(found, "train/1/clipped")
        clipped[NAMES[1]] = clipped[NAMES[1]][:3]

    found = findings(change)
    assert found.at("gradients").note == f"{NAMES[0]} is missing"
    assert found.at("clipped").note == f"{NAMES[1]} has shape [3, 6], not [6, 6]"


def test_what_was_not_recorded_fails(findings: Findings) -> None:
    def change(found: Parts) -> None:
        del found["train", "4", "parameters"], found["dropout", "1", "hidden"]

    found = findings(change)
    assert failing(found) == ["dropout", "last step"]
    assert {found.at(rung).note for rung in failing(found)} == {"nothing was recorded"}


def test_predictions_that_differ_are_counted(findings: Findings) -> None:
    def change(found: Parts) -> None:
        for step in ("1", "2"):
            logits = at(found, f"dev/{step}/logits")
            logits["value"] = logits["value"][:, ::-1].copy()

    assert findings(change).at("dev").note == "9 of 9 predictions differ"


@pytest.mark.parametrize(
    ("changed", "note"),
    [
        (["learning_rate"], "rate differ in 1 of 4 steps, first in step 3: the schedule"),
        (["attention_mask"], "mask differ in 1 of 4 steps, first in step 3: the mask"),
        (["input_ids", "labels"], "ids, labels differ in 1 of 4 steps, first in step 3: row order"),
    ],
)
def test_the_input_of_a_step_that_differs_is_named(findings: Findings, changed: list[str], note: str) -> None:
    def change(found: Parts) -> None:
        received = at(found, "train/3/received")
        for name in changed:
            received[name] = received[name] + (1e-9 if name == "learning_rate" else 1)

    found = findings(change)
    assert failing(found) == ["batches"]
    assert found.at("batches").note.startswith(note)


def test_more_padding_than_the_pack_has_differs(findings: Findings) -> None:
    def change(found: Parts) -> None:
        received = at(found, "train/1/received")
        for name in ("input_ids", "token_type_ids", "attention_mask"):
            received[name] = np.pad(received[name], ((0, 0), (0, 1)))

    note = "ids, types, mask differ in 1 of 4 steps, first in step 1: row order, tokenizer, truncation, padding"
    assert findings(change).at("batches").note == note


def test_a_dropped_batch_is_counted(findings: Findings) -> None:
    def change(found: Parts) -> None:
        for part in ("received", "loss", "parameters"):
            del found["train", "4", part]

    found = findings(change)
    assert found.first_failure == found.at("batches")
    assert found.at("batches").note.startswith("3 steps, not 4: the last batch")
    assert found.at("losses").note == "value has shape [3], not [4]"


def test_a_wrong_head_is_told_from_a_wrong_weight_map(findings: Findings) -> None:
    def change(found: Parts) -> None:
        at(found, "eval/0/parameters")[NAMES[2]][0, 0] += 0.1

    assert "head" in likely_causes(findings(change).at("parameters"))


def drops(share: float) -> Callable[[Parts], None]:
    """Changes a recording to one that drops this share."""

    def change(found: Parts) -> None:
        found["dropout", "1", "hidden"] = {"embeddings": dropped(share)}

    return change


@pytest.mark.parametrize("share", [0.1, 0.112, 0.088])
def test_shares_dropped_may_differ_by_chance(findings: Findings, share: float) -> None:
    """Such a share has a standard deviation of 0.003."""
    assert failing(findings(drops(share))) == []


@pytest.mark.parametrize("share", [0.0, 0.075, 0.125])
def test_shares_dropped_that_chance_does_not_explain_fail(findings: Findings, share: float) -> None:
    found = findings(drops(share))
    assert failing(found) == ["dropout"]
    assert found.at("dropout").share == pytest.approx(abs(share - 0.1) / (5 * np.sqrt(0.1 * 0.9 / 10_000)))
    assert found.at("dropout").note == f"{share:.3f} dropped, the rate is 0.1"


@pytest.mark.parametrize(("share", "holds"), [(0.0, True), (1e-4, False)])
def test_if_the_rate_is_zero_nothing_may_be_dropped(tmp_path: Path, share: float, holds: bool) -> None:
    pack, mine = made_pack(tmp_path / "pack", dropout=0.0), parts()
    drops(share)(mine)
    values = written(tmp_path / "mine", mine, pack)
    assert climb(Truth.with_noise(values, values), values, {}).at("dropout").holds == holds
