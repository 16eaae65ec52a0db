"""Rows laid end to end, without padding, compute what padded rows do, and what transformers does with those."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from backends import BACKENDS
from shared.architecture import Dropout
from shared.batching import Batch
from shared.contract import Build, Load, Model
from shared.errors import InputError
from shared.finetune import finetune
from shared.job import Precision
from shared.recipe import Recipe
from tests.backends.cases import (
    LOGITS,
    LOSS_AFTER_ONE,
    NO_DROPOUT,
    STEEP,
    STEEP_RATE,
    TRAINED,
    architecture,
    perturbed_weights,
)
from tests.backends.conftest import THREADS, BuildModel, Measured, Reference
from tests.backends.dropout import batch as revealing_batch
from tests.backends.dropout import dropped_tensor, network, revealing_weights
from tests.backends.test_against_transformers import Trajectory, referred, trained
from tests.backends.test_dropout import EVERYWHERE, Kind, Place, check_rate
from tests.backends.test_modes import BFLOAT16
from tests.backends.test_resuming import DATA, METRICS, NETWORK

BACKEND = os.environ.get("CONCORD_TEST_BACKEND", "")
PACKS = BACKEND in BACKENDS and BACKENDS[BACKEND].packs
KINDS = ["bert", "distilbert"]
NONE = replace(STEEP, padding="none")
EXACT = 1e-12
"""Bound on a difference in float64, of numbers near 1."""
LENGTHS = {
    "mixed": [24, 3, 11, 7, 3, 24, 1, 16],
    "one long": [3, 4, 128, 3, 5],
    "single tokens": [1, 1, 1],
    "all alike": [9, 9, 9, 9],
    "a row of all positions": [128],
}
ROWS = pytest.mark.parametrize("rows", LENGTHS)


def batch_of(kind: str, rows: str) -> Batch:
    """A batch with rows of these lengths."""
    a, lengths, random = TRAINED[kind].architecture, np.array(LENGTHS[rows]), np.random.RandomState(5)
    places = np.arange(lengths.max())
    mask = (places < lengths[:, None]).astype(np.int32)
    ids = random.randint(1, a.vocab_size, mask.shape).astype(np.int32) * mask  # the pad id is 0
    types = (places >= lengths[:, None] // 2) * mask * (a.type_vocab_size > 1)
    return Batch(ids, types.astype(np.int32), mask, random.randint(0, a.num_labels, len(lengths)))


def model(load: Load, kind: str, recipe: Recipe = NONE, precision: Precision = "float32") -> Model:
    case = TRAINED[kind]
    return load(Build(case.architecture, case.weights, recipe, "cpu", THREADS, precision))


def gradient_share(found: dict[str, np.ndarray], wanted: dict[str, np.ndarray], norm: float) -> float:
    """The largest difference of a gradient, as a share of its largest entry and of the norm."""
    return max(
        float((np.abs(found[name] - theirs) / (np.abs(theirs).max() + norm / 100)).max())
        for name, theirs in wanted.items()
    )


if not PACKS:

    def test_a_backend_that_pads_refuses_by_name(load: Load) -> None:
        with pytest.raises(InputError, match=f"^{BACKEND} does not compute without padding; pass --padding longest"):
            model(load, "bert")


else:

    @pytest.mark.parametrize("kind", KINDS)
    def test_float64_is_that_of_transformers_with_padding(
        load: Load, reference: Reference, measured: Measured, kind: str
    ) -> None:
        """States, logits, loss and every gradient."""
        wanted, batch, one = reference(kind), TRAINED[kind].batches[0], model(load, kind, precision="float64")
        states, found = one.hidden_states(batch), one.gradients(batch)
        real = batch.attention_mask == 1
        layers = [states.embeddings, *states.layers]
        assert all(layer.shape[:2] == batch.input_ids.shape for layer in layers)
        worst = max(np.abs(mine - wanted[f"hidden/{n}"])[real].max() for n, mine in enumerate(layers))
        measured(f"{kind}, float64, hidden states", worst, 10 * EXACT)
        measured(f"{kind}, float64, pooled states", np.abs(states.pooled - wanted["pooled"]).max(), EXACT)
        for what, logits in (("beside them", states.logits), ("predicted", one.predict(batch))):
            measured(f"{kind}, float64, logits {what}", np.abs(logits - wanted["logits"]).max(), 10 * EXACT)
        measured(f"{kind}, float64, loss", abs(found.loss - float(wanted["loss"])), EXACT)
        gradients = {name: wanted[f"gradient/{name}"] for name in found.raw}
        share = gradient_share(found.raw, gradients, float(wanted["norm"]))
        measured(f"{kind}, float64, gradients, by their size", share, 100 * EXACT)

    @ROWS
    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("precision", ["float64", "float32"])
    def test_rows_of_any_lengths_compute_what_padded_ones_do(
        load: Load, measured: Measured, kind: str, rows: str, precision: Precision
    ) -> None:
        """Per row. In float32 within the bounds of the ladder's kind."""
        batch, padded = batch_of(kind, rows), model(load, kind, replace(NONE, padding="longest"), precision)
        packed, bound = model(load, kind, NONE, precision), 10 * EXACT if precision == "float64" else LOGITS
        name = f"{kind}, {rows}, {precision}"
        measured(f"{name}, logits", np.abs(packed.predict(batch) - padded.predict(batch)).max(), bound)
        found, wanted = packed.gradients(batch), padded.gradients(batch)
        measured(f"{name}, loss", abs(found.loss - wanted.loss), min(bound, LOSS_AFTER_ONE))
        share = gradient_share(found.raw, wanted.raw, wanted.norm)
        measured(f"{name}, gradients, by their size", share, 10 * bound)
        packed.train_step(batch, STEEP_RATE)
        padded.train_step(batch, STEEP_RATE)
        measured(
            f"{name}, logits after a step", np.abs(packed.predict(batch) - padded.predict(batch)).max(), 100 * bound
        )

    @pytest.mark.parametrize("kind", KINDS)
    def test_ten_steps_follow_torch_in_float64(
        build: BuildModel, reference: Reference, measured: Measured, kind: str
    ) -> None:
        arrays = reference(kind)
        exact, float32 = referred(arrays, "float64"), referred(arrays, "float32")
        mine = trained(build, TRAINED[kind], replace(NONE, clip=float(arrays["clip"])))
        for what, distance in (("losses", Trajectory.loss_distance), ("weights", Trajectory.weight_distance)):
            measured(f"{kind}, {what} after 10 steps", distance(mine, exact, 10), 10 * distance(float32, exact, 10))

    @pytest.mark.parametrize("kind", KINDS)
    def test_padding_is_never_read(load: Load, kind: str) -> None:
        """Ids and types of padding may be anything."""
        batch, one = batch_of(kind, "mixed"), model(load, kind)
        padding = batch.attention_mask == 0
        strange = replace(batch, input_ids=np.where(padding, np.int32(10**6), batch.input_ids))
        np.testing.assert_array_equal(one.predict(strange), one.predict(batch))
        assert one.gradients(strange).loss == one.gradients(batch).loss

    @pytest.mark.parametrize(("kind", "place"), EVERYWHERE)
    def test_each_place_drops_at_its_rate(build: BuildModel, kind: Kind, place: Place) -> None:
        rates = replace(NO_DROPOUT, **{place: 0.3})
        one = build(network(kind, rates), revealing_weights(kind, place), Recipe(batch_size=8, padding="none"))
        dropped, whole = (one.hidden_states(revealing_batch(), dropout=on) for on in (True, False))
        check_rate(dropped_tensor(place, dropped), dropped_tensor(place, whole), 0.3)

    def test_dropout_follows_the_seed_alone(build: BuildModel) -> None:
        a = architecture("bert", dropout=Dropout())
        batches = [batch_of("bert", rows) for rows in ("mixed", "one long", "mixed")]

        def trained_with(seed: int) -> dict[str, np.ndarray]:
            one = build(a, perturbed_weights(a), replace(NONE, seed=seed))
            for batch in batches:
                one.train_step(batch, STEEP_RATE)
            return one.weights()

        first, again, other = trained_with(1), trained_with(1), trained_with(2)
        assert all((first[name] == again[name]).all() for name in first)
        assert not (first["classifier.weight"] == other["classifier.weight"]).all()

    def test_a_training_receives_what_it_does_with_padding(load: Load) -> None:
        """It computes on real tokens alone, and its losses are those of padded batches."""
        recipe = Recipe(max_len=16, batch_size=8, epochs=2, learning_rate=1e-3, dropout=0.0)
        still = replace(NETWORK, dropout=NO_DROPOUT)
        none, longest = (
            finetune(
                load(Build(still, perturbed_weights(still), one, "cpu", THREADS)),
                DATA,
                one,
                METRICS,
                lambda _: None,
            )
            for one in (replace(recipe, padding="none"), replace(recipe, padding="longest"))
        )
        assert none.fit.received == longest.fit.received
        assert none.fit.step_loss == pytest.approx(longest.fit.step_loss, abs=1e-4)
        assert [epoch.padded_tokens for epoch in none.fit.epochs] == [len(DATA["train"].ids)] * 2
        assert longest.fit.epochs[0].padded_tokens > longest.fit.epochs[0].tokens

    def test_rows_of_the_word_embedding_update_without_padding(load: Load, measured: Measured) -> None:
        """In float64 it is the dense update to rounding."""
        case, batch = TRAINED["bert"], batch_of("bert", "mixed")
        touched = np.unique(batch.input_ids)
        build = Build(case.architecture, case.weights, NONE, "cpu", THREADS, "float64")
        rows, dense = load(replace(build, touched=touched)), load(build)
        for one in (rows, dense):
            one.train_step(batch, STEEP_RATE)
        ours, theirs = rows.weights(), dense.weights()
        measured("by rows, weights", max(np.abs(ours[name] - theirs[name]).max() for name in ours), EXACT)

    if "bfloat16" in BACKENDS[BACKEND].cpu:

        @pytest.mark.parametrize("kind", KINDS)
        def test_bfloat16_logits_are_float32s_within_its_rounding(load: Load, measured: Measured, kind: str) -> None:
            batch = batch_of(kind, "mixed")
            expected = model(load, kind).predict(batch)
            half = model(load, kind, precision="bfloat16")
            error = np.abs(half.predict(batch) - expected).max()
            measured(f"{kind}, bfloat16 logits", error, BFLOAT16 * np.abs(expected).max())
            assert error > 10 * LOGITS, "the model computed in float32"
            assert np.isfinite(half.train_step(batch, STEEP_RATE)()[0])


if BACKEND == "torch":
    import torch

    from shared.packing import group_rows

    @ROWS
    @pytest.mark.parametrize("kind", KINDS)
    def test_no_module_sees_a_token_of_padding(load: Load, kind: str, rows: str) -> None:
        """Linear layers, LayerNorm, dropout and embeddings see t tokens, or one of each row."""
        one, batch, seen = model(load, kind), batch_of(kind, rows), []
        kinds = (torch.nn.Linear, torch.nn.LayerNorm, torch.nn.Dropout, torch.nn.Embedding)

        def note(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            per_token = 1 if isinstance(module, torch.nn.Embedding) else inputs[0].shape[-1]
            seen.append(inputs[0].numel() // per_token)

        for module in one.network.modules():  # type: ignore[attr-defined]
            if isinstance(module, kinds):
                module.register_forward_pre_hook(note)
        one.train_step(batch, STEEP_RATE)
        tokens, count = sum(LENGTHS[rows]), len(LENGTHS[rows])
        assert set(seen) == {tokens, count}
        if tokens != count:
            last = {"bert": 8, "distilbert": 7}[kind]
            assert seen.count(count) == last + 3, "the last layer, pooler or pre_classifier, dropout, classifier"
        assert len(seen) > 8 * TRAINED[kind].architecture.layers

    def test_attention_is_as_wide_as_its_groups(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
        """Those that shared/flops.py counts. The last layer's has one query of each row."""
        from backends.torch import cpu

        shapes, inner = [], cpu._drawn

        def noting(shape: torch.Size, rate: float) -> tuple[torch.Tensor, float]:
            if len(shape) == 4:
                shapes.append(tuple(shape))
            return inner(shape, rate)

        monkeypatch.setattr(cpu, "_drawn", noting)
        a = replace(TRAINED["bert"].architecture, dropout=Dropout())
        batch, lengths = batch_of("bert", "one long"), np.array(LENGTHS["one long"])
        load(Build(a, TRAINED["bert"].weights, NONE, "cpu", THREADS)).train_step(batch, STEEP_RATE)
        groups = group_rows(lengths, BACKENDS["torch"].attention_groups)
        wide = [(len(rows), a.heads, lengths[rows].max(), lengths[rows].max()) for rows in groups]
        assert shapes == wide * (a.layers - 1) + [(rows, heads, 1, width) for rows, heads, width, _ in wide]
        assert len(groups) == 2

    def test_compiled_it_computes_the_same_in_one_group(
        load: Load, measured: Measured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Rows that are all alike need no program of their own."""
        monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
        a = architecture("bert", layers=1)
        build = Build(a, perturbed_weights(a), NONE, "cpu", THREADS)
        plain, compiled = load(build), load(replace(build, compile=True))
        torch._dynamo.utils.counters.clear()
        for rows in ("mixed", "all alike", "one long"):
            batch = batch_of("bert", rows)
            error = np.abs(compiled.predict(batch) - plain.predict(batch)).max()
            measured(f"compiled, {rows}, logits", error, LOGITS)
        assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
