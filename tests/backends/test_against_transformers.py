"""States, gradients and optimizer steps, compared with those of transformers and torch alone (tests/reference.py)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from shared.recipe import Recipe
from tests.backends.cases import (
    FIELDS,
    LOGITS,
    LOSS_AFTER_ONE,
    MISTAKES,
    STEEP,
    STEEP_RATE,
    STEPS,
    TRAINED,
    WEIGHTS_AFTER_ONE,
    Case,
)
from tests.backends.conftest import BuildModel, Measured, Reference, Untrained

KINDS = ["bert", "distilbert"]

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Trajectory:
    """Losses and weights of a training."""

    losses: np.ndarray
    """[STEPS + 1]: loss of each batch before its step, then of the last batch after all steps."""
    weights: dict[int, Arrays]
    """Weights after 1 and after STEPS steps."""

    def loss_distance(self, other: Trajectory, steps: int) -> float:
        """Largest difference of a loss that comes after at most `steps` steps."""
        return float(np.abs(self.losses - other.losses)[: steps + 1].max())

    def weight_distance(self, other: Trajectory, steps: int) -> float:
        """Largest difference of a weight after `steps` steps."""
        mine, theirs = self.weights[steps], other.weights[steps]
        return max(float(np.abs(mine[name] - theirs[name]).max()) for name in mine)


def trained(build: BuildModel, case: Case, recipe: Recipe) -> Trajectory:
    model = build(case.architecture, case.weights, recipe)
    lazy, weights = [], {}
    for step, batch in enumerate(case.batches[:STEPS], start=1):
        lazy.append(model.train_step(batch, STEEP_RATE))
        if step in (1, STEPS):
            weights[step] = model.weights()
    last = model.gradients(case.batches[STEPS]).loss
    return Trajectory(np.array([loss()[0] for loss in lazy] + [last]), weights)


def referred(arrays: Arrays, how: str) -> Trajectory:
    """Returns the reference's trajectory in this precision, or with this mistake."""
    parts = {steps: f"{how}/weights after {steps}/" for steps in (1, STEPS)}
    weights = {
        steps: {name.removeprefix(part): array for name, array in arrays.items() if name.startswith(part)}
        for steps, part in parts.items()
    }
    return Trajectory(arrays[f"{how}/losses"], weights)


@pytest.mark.parametrize("kind", KINDS)
def test_logits_and_loss_are_those_of_transformers(
    untrained: Untrained, reference: Reference, measured: Measured, kind: str
) -> None:
    model, batch, wanted = untrained(kind), TRAINED[kind].batches[0], reference(kind)
    measured(f"{kind}, logits", np.abs(model.predict(batch) - wanted["logits"]).max(), LOGITS)
    measured(f"{kind}, loss", abs(model.gradients(batch).loss - float(wanted["loss"])), LOSS_AFTER_ONE)


@pytest.mark.parametrize("kind", KINDS)
def test_hidden_states_are_those_of_transformers(
    untrained: Untrained, reference: Reference, measured: Measured, kind: str
) -> None:
    batch, wanted = TRAINED[kind].batches[0], reference(kind)
    states = untrained(kind).hidden_states(batch)
    real = batch.attention_mask == 1
    worst = max(
        np.abs(mine - wanted[f"hidden/{n}"])[real].max() for n, mine in enumerate([states.embeddings, *states.layers])
    )
    measured(f"{kind}, hidden states", worst, LOGITS)
    measured(f"{kind}, pooled states", np.abs(states.pooled - wanted["pooled"]).max(), LOGITS)
    measured(f"{kind}, logits beside them", np.abs(states.logits - wanted["logits"]).max(), LOGITS)


@pytest.mark.parametrize("kind", KINDS)
def test_every_gradient_is_that_of_transformers(
    untrained: Untrained, reference: Reference, measured: Measured, kind: str
) -> None:
    wanted = reference(kind)
    gradients = untrained(kind).gradients(TRAINED[kind].batches[0]).raw
    share_of_bound = {}
    for name, gradient in gradients.items():
        theirs = wanted[f"gradient/{name}"]
        bound = 1e-4 * np.abs(theirs).max() + 1e-6 * wanted["norm"]
        share_of_bound[name] = np.abs(gradient - theirs).max() / bound
    worst = max(share_of_bound, key=lambda name: share_of_bound[name])
    measured(f"{kind}, gradients, in units of their bound, worst {worst}", share_of_bound[worst], 1.0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_pad_token_within_a_text_is_not_trained(untrained: Untrained, kind: str) -> None:
    # transformers sets padding_idx of nn.Embedding, which has this effect in torch. All backends must match.
    case = TRAINED[kind]
    batch = case.batches[0]
    ids = batch.input_ids.copy()
    ids[:, 1] = case.architecture.pad_id
    gradients = untrained(kind).gradients(replace(batch, input_ids=ids)).raw
    words = gradients[f"{case.architecture.model_type}.embeddings.word_embeddings.weight"]
    assert not words[case.architecture.pad_id].any()
    assert words[ids[0, 0]].any()


@pytest.mark.parametrize("kind", KINDS)
def test_ten_optimizer_steps_follow_torch_in_float64(
    build: BuildModel, reference: Reference, measured: Measured, kind: str
) -> None:
    arrays = reference(kind)
    exact, float32 = referred(arrays, "float64"), referred(arrays, "float32")
    mine = trained(build, TRAINED[kind], replace(STEEP, clip=float(arrays["clip"])))
    measured(f"{kind}, losses after 1 step", mine.loss_distance(exact, 1), LOSS_AFTER_ONE)
    measured(f"{kind}, weights after 1 step", mine.weight_distance(exact, 1), WEIGHTS_AFTER_ONE)
    for what, distance in (("losses", Trajectory.loss_distance), ("weights", Trajectory.weight_distance)):
        bound = 10 * distance(float32, exact, STEPS)
        measured(f"{kind}, {what} after {STEPS} steps", distance(mine, exact, STEPS), bound)


@pytest.mark.parametrize("kind", KINDS)
def test_the_optimizers_formula_is_that_of_torch(reference: Reference, kind: str) -> None:
    """The formula of tests/backends/formula.py, with which mistakes are computed."""
    arrays = reference(kind)
    exact, formula = referred(arrays, "float64"), referred(arrays, "formula")
    assert formula.weight_distance(exact, STEPS) < 1e-12
    assert formula.loss_distance(exact, STEPS) < 1e-12


@pytest.mark.parametrize("mistake", [*MISTAKES, "clipped per tensor"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_mistake_in_the_optimizer_breaks_the_bounds(
    reference: Reference, mistake_shows: Measured, kind: str, mistake: str
) -> None:
    arrays = reference(kind)
    exact, float32 = referred(arrays, "float64"), referred(arrays, "float32")
    wrong = referred(arrays, mistake)
    mistake_shows(f"{kind}, {mistake}, weights after 1 step", wrong.weight_distance(exact, 1), WEIGHTS_AFTER_ONE)
    bound = 10 * float32.weight_distance(exact, STEPS)
    mistake_shows(f"{kind}, {mistake}, weights after {STEPS} steps", wrong.weight_distance(exact, STEPS), bound)


@pytest.mark.parametrize("field", FIELDS)
def test_a_field_of_the_architecture_is_honoured(
    build: BuildModel, reference: Reference, measured: Measured, field: str
) -> None:
    case, _ = FIELDS[field]
    wanted = reference(field)
    logits = build(case.architecture, case.weights).predict(case.batches[0])
    measured(f"{field}, logits", np.abs(logits - wanted["logits"]).max(), LOGITS)
    if "ignoring" in wanted:
        assert np.abs(wanted["ignoring"] - wanted["logits"]).max() > 10 * LOGITS, "the test could not tell"
