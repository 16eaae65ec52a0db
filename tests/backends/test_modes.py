"""Precisions and compilation of the backend that CONCORD_TEST_BACKEND names, compared with its own float32 without
compilation, which other tests compare with transformers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from backends import BACKENDS
from shared.architecture import Dropout
from shared.contract import Build, Compiled, Load, Model
from shared.errors import InputError
from shared.job import Precision
from shared.recipe import Recipe
from tests.backends.cases import (
    LOGITS,
    LOSS_AFTER_ONE,
    STEEP,
    TRAINED,
    USUAL,
    WEIGHTS_AFTER_ONE,
    architecture,
    perturbed_weights,
    random_batch,
)
from tests.backends.conftest import THREADS, Measured, Untrained

BACKEND = os.environ.get("CONCORD_TEST_BACKEND", "")
HAS_BFLOAT16 = BACKEND in BACKENDS and "bfloat16" in BACKENDS[BACKEND].cpu
"""Where a backend has not, it says so: see the refusals."""
ALWAYS_COMPILES = BACKEND in BACKENDS and BACKENDS[BACKEND].always_compiles
"""Such a backend has no mode that is not compiled; all other tests are of what it compiles."""
KINDS = ["bert", "distilbert"]
STEPS = 12

ROUNDING = 2.0**-8
"""Largest change of a number by rounding to bfloat16, as a share of itself: bfloat16 has 8 significant bits."""
ROUNDINGS = 23
"""Number of roundings one after the other between ids and logits. Each of two layers has ten: projections, scores,
weights, context, output, sum, LayerNorm, widening, GELU and narrowing. Embeddings, pooler and tanh add three."""
BFLOAT16 = 2 * np.sqrt(ROUNDINGS) * ROUNDING
"""Bound on the error of logits, as a share of the largest one: 0.037. Errors of either sign add up like the root of
their number; twice that leaves room for growth in the network. Accumulators in bfloat16, or a state that stays in
bfloat16 from layer to layer, would exceed it. A bug in a layer moves logits by their own size."""


def model(load: Load, kind: str = "bert", precision: Precision = "float32", recipe: Recipe = STEEP) -> Model:
    case = TRAINED[kind]
    return load(Build(case.architecture, case.weights, recipe, "cpu", THREADS, precision))


@pytest.fixture
def bfloat16(load: Load) -> Callable[..., Model]:
    """Builds a model that computes in bfloat16: `bfloat16(kind)`."""

    def build(kind: str = "bert", recipe: Recipe = STEEP) -> Model:
        return model(load, kind, "bfloat16", recipe)

    return build


def losses(model: Model, kind: str, rate: float = 1e-3) -> np.ndarray:
    """Losses of STEPS steps on one batch."""
    return np.array([model.train_step(TRAINED[kind].batches[0], rate)()[0] for _ in range(STEPS)])


# --- what is refused


@pytest.mark.parametrize("precision", ["bfloat16", "float16", "tf32"])
def test_a_precision_that_a_cpu_has_not_is_refused_by_name(load: Load, precision: Precision) -> None:
    if precision == "bfloat16" and HAS_BFLOAT16:
        assert model(load, precision=precision).predict(TRAINED["bert"].batches[0]).shape == (8, 3)
        return
    with pytest.raises(InputError) as refusal:
        model(load, precision=precision)
    assert str(refusal.value).startswith(f"{BACKEND} does not compute in {precision} on cpu; pass --precision float32")
    assert "\n" not in str(refusal.value)


if BACKEND == "torch":

    def test_without_a_cpp_compiler_torch_refuses_to_compile(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CXX", "no-such-compiler")
        case = TRAINED["bert"]
        with pytest.raises(InputError, match="there is no no-such-compiler; install it"):
            load(Build(case.architecture, case.weights, STEEP, "cpu", THREADS, compile=True))


# --- bfloat16


if HAS_BFLOAT16:

    @pytest.mark.parametrize("kind", KINDS)
    def test_bfloat16_logits_are_float32s_within_its_rounding(
        untrained: Untrained, bfloat16: Callable[..., Model], measured: Measured, kind: str
    ) -> None:
        plain, half = untrained(kind), bfloat16(kind)
        for batch in TRAINED[kind].batches[:3]:
            expected = plain.predict(batch)
            error = np.abs(half.predict(batch) - expected).max()
            measured(f"{kind}, bfloat16 logits", error, BFLOAT16 * np.abs(expected).max())
            assert error > 10 * LOGITS, "the model computed in float32"

    @pytest.mark.parametrize("kind", KINDS)
    def test_a_loss_falls_in_bfloat16_as_it_does_in_float32(
        load: Load, untrained: Untrained, bfloat16: Callable[..., Model], measured: Measured, kind: str
    ) -> None:
        expected, found = losses(model(load, kind), kind), losses(bfloat16(kind), kind)
        assert expected[-1] < 0.05 * expected[0], "float32 itself does not learn"
        # A loss moves at most as far as the farthest logit, on either side.
        logits = np.abs(untrained(kind).predict(TRAINED[kind].batches[0])).max()
        measured(f"{kind}, a loss in bfloat16", np.abs(found - expected).max(), 2 * BFLOAT16 * logits)
        measured(f"{kind}, the last loss in bfloat16, as a share", abs(found[-1] / expected[-1] - 1), 0.1)

    @pytest.mark.parametrize("kind", KINDS)
    def test_weights_move_by_less_than_bfloat16_could_tell(bfloat16: Callable[..., Model], kind: str) -> None:
        # Adam's first step moves every weight that has a gradient by the rate. A weight in bfloat16 would not move.
        rate = 1e-5
        half = bfloat16(kind, replace(USUAL, decay=0.0))
        batch = TRAINED[kind].batches[0]
        before, gradients = half.weights(), half.gradients(batch).raw
        half.train_step(batch, rate)()
        after = half.weights()
        seen = hidden = 0
        for name, old in before.items():
            # Only weights with a gradient far above eps, 1e-8, and with float32 steps below 1 % of the rate.
            moves = (np.abs(gradients[name]) > 1e-5) & (np.abs(old) < 1)
            np.testing.assert_allclose(np.abs(after[name] - old)[moves], rate, rtol=0.02)
            large = moves & (np.abs(old) > 0.01)
            seen += large.sum()
            hidden += (rounded(after[name]) == rounded(old))[large].sum()
        assert seen > 10_000
        assert hidden > 0.9 * seen, "the step was too large to tell where weights are kept"

    @pytest.mark.parametrize("kind", KINDS)
    def test_moments_and_gradients_are_kept_in_float32(
        bfloat16: Callable[..., Model], measured: Measured, kind: str
    ) -> None:
        # Moments in bfloat16 would be off by up to 2^-8 of themselves, and each step by that share of its rate.
        rate, beta1, beta2, eps = 1e-3, 0.9, 0.999, 1e-6
        half = bfloat16(kind, replace(USUAL, decay=0.0, clip=None, eps=eps))
        weights = {name: array.astype(np.float64) for name, array in half.weights().items()}
        m, v = ({name: np.zeros_like(array) for name, array in weights.items()} for _ in "mv")
        # Batches of one shape: a framework that compiles for each shape does so once.
        first, *others = TRAINED[kind].batches
        alike = [first, *(batch for batch in others if batch.input_ids.shape == first.input_ids.shape)]
        for step, batch in enumerate(alike, start=1):
            for name, gradient in half.gradients(batch).raw.items():
                m[name] = beta1 * m[name] + (1 - beta1) * gradient.astype(np.float64)
                v[name] = beta2 * v[name] + (1 - beta2) * gradient.astype(np.float64) ** 2
                denominator = np.sqrt(v[name] / (1 - beta2**step)) + eps
                weights[name] -= rate / (1 - beta1**step) * m[name] / denominator
            half.train_step(batch, rate)()
        found = half.weights()
        worst = max(np.abs(found[name] - expected).max() for name, expected in weights.items())
        measured(f"{kind}, weights of {len(alike)} bfloat16 steps against numpy's AdamW", worst, rate * ROUNDING / 4)

    def test_what_a_bfloat16_model_gives_is_float32(bfloat16: Callable[..., Model]) -> None:
        half, batch = bfloat16(), TRAINED["bert"].batches[0]
        states, gradients = half.hidden_states(batch), half.gradients(batch)
        arrays = [half.predict(batch), states.embeddings, *states.layers, states.pooled, states.logits]
        for named in (half.weights(), gradients.raw, gradients.clipped):
            arrays += named.values()
        assert {array.dtype for array in arrays} == {np.dtype(np.float32)}
        # Logits are sums in float32, and not bfloat16 numbers converted to float32.
        assert (rounded(half.predict(batch)) != half.predict(batch)).mean() > 0.9

    def test_in_bfloat16_the_same_seed_gives_bit_equal_weights(load: Load, bfloat16: Callable[..., Model]) -> None:
        def trained(seed: int) -> np.ndarray:
            case = TRAINED["bert"]
            a = replace(case.architecture, dropout=Dropout())
            half = load(Build(a, case.weights, replace(USUAL, seed=seed), "cpu", THREADS, "bfloat16"))
            for batch in case.batches[:3]:
                half.train_step(batch, 1e-3)
            return np.concatenate([array.ravel() for array in half.weights().values()])

        first = trained(3)
        assert np.array_equal(trained(3), first)
        assert not np.array_equal(trained(4), first)


def rounded(array: np.ndarray) -> np.ndarray:
    """Rounds float32 to the nearest bfloat16, ties to even. The result is float32."""
    bits = array.view(np.uint32)
    nearest: np.ndarray = ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32)
    return nearest


# --- float16, which is for GPUs. If the registry allows it, torch computes the same on a CPU, slowly.


if BACKEND == "torch":

    @pytest.fixture
    def float16(load: Load, monkeypatch: pytest.MonkeyPatch) -> Model:
        monkeypatch.setitem(BACKENDS, "torch", replace(BACKENDS["torch"], cpu=("float32", "float16")))
        return model(load, precision="float16")

    def test_a_loss_falls_in_float16_as_it_does_in_float32(load: Load, float16: Model, measured: Measured) -> None:
        batch = TRAINED["bert"].batches[0]
        expected = model(load)
        error = np.abs(float16.predict(batch) - expected.predict(batch)).max()
        # float16 has three significant bits more than bfloat16.
        measured("bert, float16 logits", error, BFLOAT16 / 8 * np.abs(expected.predict(batch)).max())
        assert error > 10 * LOGITS, "the model computed in float32"
        found, wanted = losses(float16, "bert"), losses(expected, "bert")
        measured("bert, the last loss in float16, as a share", abs(found[-1] / wanted[-1] - 1), 0.1)

    def test_scaling_the_loss_keeps_gradients_small_for_float16(load: Load, float16: Model) -> None:
        case = TRAINED["bert"]
        # Small weights in the last layer make every gradient below it smaller. float16 has no number below 6e-8.
        weights = case.weights | {"classifier.weight": case.weights["classifier.weight"] * np.float32(1e-6)}
        exact = model(load)
        for each in (exact, float16):
            each.set_weights(weights)
        name = "bert.encoder.layer.0.attention.self.value.weight"
        expected = exact.gradients(case.batches[0]).raw[name]
        assert 1e-12 < np.abs(expected).max() < 6e-7
        found = float16.gradients(case.batches[0]).raw[name]
        assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.999

    def test_a_float16_step_that_overflows_changes_nothing(float16: Model) -> None:
        """The steps after it train again."""
        case = TRAINED["bert"]
        # The loss is scaled by 65536 at first. With such large weights in the last layer, gradients then exceed 65504.
        steep = case.weights | {"classifier.weight": case.weights["classifier.weight"] * 100}
        float16.set_weights(steep)
        loss, _ = float16.train_step(case.batches[0], 1e-3)()
        assert np.isfinite(loss)
        assert all(np.array_equal(array, steep[name]) for name, array in float16.weights().items())
        for _ in range(20):
            float16.train_step(case.batches[0], 1e-3)()
        weights = float16.weights()
        assert all(np.isfinite(array).all() for array in weights.values())
        assert not np.array_equal(weights["classifier.weight"], steep["classifier.weight"])


# --- compiled

ONE_LAYER = architecture("bert", layers=1)
SHAPES = [(8, 24), (3, 16), (8, 24)]
"""Rows and widths: a batch, a short last one of another width, and the first shape again."""


VARIED = replace(STEEP, padding="longest")
"""A recipe whose batches change their width. torch compiles for any width at once if rows are padded to the longest,
and else for each shape that comes."""


@pytest.fixture(scope="module", autouse=True)
def torchs_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Gives torch.compile an empty cache folder: it must compile here, and writes nothing into the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path_factory.mktemp("inductor")))
        yield


def compiled(load: Load, a: Any = ONE_LAYER, recipe: Recipe = VARIED, precision: Precision = "float32") -> Model:
    return load(Build(a, perturbed_weights(a), recipe, "cpu", THREADS, precision, compile=True))


if ALWAYS_COMPILES:

    def test_compile_is_refused_by_name(load: Load) -> None:
        with pytest.raises(InputError) as refusal:
            compiled(load)
        assert str(refusal.value) == (
            f"{BACKEND} always compiles, so --compile yes changes nothing; pass --compile no, or leave {BACKEND} out"
        )

    def test_widths_always_repeat(load: Load) -> None:
        assert model(load).width_multiple == 8

    def test_a_new_shape_alone_is_compiled(load: Load) -> None:
        """A smaller batch is filled up to the shape of the first; only the last needs another program."""
        batches = (random_batch(ONE_LAYER, *shape, seed=0) for shape in ((8, 104), (8, 104), (5, 99), (8, 112)))
        one = load(Build(ONE_LAYER, perturbed_weights(ONE_LAYER), VARIED, threads=THREADS))
        assert isinstance(one, Compiled)
        programs = []
        for batch in batches:
            one.train_step(batch, 1e-3)
            told = one.programs()
            programs.append(told.compiled + told.from_cache)
        assert programs[1:] == [programs[0], programs[0], programs[0] + 1]

    def test_a_short_batch_is_filled_up_and_computes_the_same(load: Load, measured: Measured) -> None:
        """Three rows by themselves, and as a part of what a batch of eight is filled up to."""
        batch = random_batch(ONE_LAYER, 3, 24, seed=2)
        exact, filled = (
            load(Build(ONE_LAYER, perturbed_weights(ONE_LAYER), replace(VARIED, batch_size=size), threads=THREADS))
            for size in (3, 8)
        )
        measured("3 rows filled up to 8, logits", np.abs(filled.predict(batch) - exact.predict(batch)).max(), LOGITS)
        found, expected = filled.train_step(batch, 1e-3)(), exact.train_step(batch, 1e-3)()
        assert found == (pytest.approx(expected[0], abs=LOSS_AFTER_ONE), expected[1])
        ours, theirs = filled.weights(), exact.weights()
        worst = max(np.abs(ours[name] - theirs[name]).max() for name in ours)
        measured("3 rows filled up to 8, weights after a step", worst, WEIGHTS_AFTER_ONE)


else:

    @pytest.fixture(scope="module")
    def pair(load: Load) -> tuple[Model, Model]:
        """A model as it is written, and compiled."""
        plain = load(Build(ONE_LAYER, perturbed_weights(ONE_LAYER), VARIED, "cpu", THREADS))
        return plain, compiled(load)

    def is_compiled(model: Any) -> bool:
        """Asked of the framework: no number tells, as MXNet's are the same to the bit."""
        if BACKEND == "torch":
            from torch._dynamo.utils import counters

            return int(counters["stats"]["unique_graphs"]) > 0
        if BACKEND == "keras":
            batch = random_batch(ONE_LAYER, *SHAPES[0], seed=0)
            rows = batch.input_ids, batch.token_type_ids, batch.attention_mask
            return bool(model._predict.experimental_get_compiler_ir(rows)(stage="hlo"))
        return ("static_shape", True) in model.network._flags

    def test_compiled_a_model_computes_the_same_at_every_shape(pair: tuple[Model, Model], measured: Measured) -> None:
        plain, compiled = pair
        for seed, (rows, width) in enumerate(SHAPES):
            batch = random_batch(ONE_LAYER, rows, width, seed)
            shape = f"compiled, {rows} rows of {width}"
            measured(f"{shape}, logits", np.abs(compiled.predict(batch) - plain.predict(batch)).max(), LOGITS)
            found, expected = compiled.gradients(batch), plain.gradients(batch)
            measured(f"{shape}, loss", abs(found.loss - expected.loss), LOSS_AFTER_ONE)
            share = max(
                np.abs(found.raw[name] - gradient).max() / (1e-4 * np.abs(gradient).max() + 1e-6 * expected.norm)
                for name, gradient in expected.raw.items()
            )
            measured(f"{shape}, gradients, in units of their bound", share, 1.0)
        assert is_compiled(compiled)

    def test_compiled_a_model_takes_the_same_steps(pair: tuple[Model, Model], measured: Measured) -> None:
        weights = perturbed_weights(ONE_LAYER)
        for model in pair:
            model.set_weights(weights)
        for seed, (rows, width) in enumerate(SHAPES):
            batch = random_batch(ONE_LAYER, rows, width, seed)
            expected, found = (model.train_step(batch, 1e-3)() for model in pair)
            assert found[0] == pytest.approx(expected[0], abs=LOSS_AFTER_ONE)
            assert found[1] == expected[1]
        plain, compiled = (model.weights() for model in pair)
        assert np.abs(plain["classifier.weight"] - weights["classifier.weight"]).max() > 1e-3
        worst = max(np.abs(compiled[name] - plain[name]).max() for name in plain)
        measured(f"compiled, weights after {len(SHAPES)} steps", worst, len(SHAPES) * WEIGHTS_AFTER_ONE)

    def test_compiled_the_same_seed_draws_the_same_dropout(load: Load) -> None:
        a = replace(ONE_LAYER, dropout=Dropout())
        batches = [random_batch(a, rows, 16, seed=rows) for rows in (8, 3)]

        def losses() -> list[float]:
            model = compiled(load, a, STEEP)
            return [model.train_step(batches[step % 2], 0.0)()[0] for step in range(4)]

        first = losses()
        assert len(set(first)) == 4, "no dropout is drawn, or the same at every step"
        assert losses() == first

    if HAS_BFLOAT16:

        def test_compiled_bfloat16_logits_are_float32s_within_rounding(
            pair: tuple[Model, Model], load: Load, bfloat16: Callable[..., Model], measured: Measured
        ) -> None:
            batch = random_batch(ONE_LAYER, 8, 16, seed=1)
            plain, _ = pair
            plain.set_weights(perturbed_weights(ONE_LAYER))
            expected = plain.predict(batch)
            error = np.abs(compiled(load, precision="bfloat16").predict(batch) - expected).max()
            measured("compiled in bfloat16, logits", error, BFLOAT16 * np.abs(expected).max())
            assert error > 10 * LOGITS, "this was float32"

    def test_widths_repeat_where_a_new_one_costs_a_trace(pair: tuple[Model, Model]) -> None:
        plain, compiled = pair
        assert plain.width_multiple == 1
        assert compiled.width_multiple == (1 if BACKEND == "torch" else 8)
