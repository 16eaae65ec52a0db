"""The forward pass of both Keras backends leaves out what no logit needs, and is otherwise keras-hub's own call: equal
states, equal dropout."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

if (BACKEND := os.environ.get("CONCORD_TEST_BACKEND")) in ("keras", "keras-jax"):
    import pytest

    if BACKEND == "keras":
        from backends.keras.adapter import prepare
        from backends.keras.packed import Packed
    else:
        from backends.keras_jax.process import prepare
    # isort: split
    import keras

    from backends.keras import forward
    from backends.keras.forward import Padded, Stack
    from backends.keras.laid import Laid
    from backends.keras.network import build_network, parameters
    from shared.architecture import Dropout
    from shared.contract import Build
    from shared.recipe import Recipe
    from tests.backends.cases import LOGITS, NO_DROPOUT, TRAINED, random_batch
    from tests.backends.conftest import Measured

    EVERYWHERE = Dropout(0.1, 0.2, 0.3, 0.15, 0.25)

    @dataclass(frozen=True)
    class Network:
        """A network with its streams of dropout at their start."""

        model: Any
        """keras-hub's own."""
        stack: Stack
        seeds: list[np.ndarray]

        def restart(self) -> None:
            for stream, seed in zip(self.model.non_trainable_variables, self.seeds, strict=True):
                stream.assign(seed)

    def network(kind: str, dropout: Dropout) -> Network:
        a = replace(TRAINED[kind].architecture, dropout=dropout)
        prepare(Build(a, TRAINED[kind].weights, Recipe()))
        keras.utils.set_random_seed(1)
        model, stack, layers = build_network(a)
        for p in parameters(a, layers):
            p.variable.assign(p.to_keras(TRAINED[kind].weights[p.name]))
        return Network(model, stack, [array(stream) for stream in model.non_trainable_variables])

    def array(tensor: Any) -> np.ndarray:
        found: np.ndarray = keras.ops.convert_to_numpy(tensor)
        return found

    @pytest.mark.parametrize("dropout", [NO_DROPOUT, EVERYWHERE], ids=["without dropout", "with dropout"])
    @pytest.mark.parametrize("kind", ["bert", "distilbert"])
    def test_states_and_dropout_are_keras_hubs(kind: str, dropout: Dropout, measured: Measured) -> None:
        made = network(kind, dropout)
        batch = random_batch(TRAINED[kind].architecture, 6, 11, seed=5)
        arrays = batch.input_ids, batch.token_type_ids, batch.attention_mask
        ids, types, mask = map(keras.ops.convert_to_tensor, arrays)
        given = {"token_ids": ids, "segment_ids": types, "padding_mask": mask}
        theirs = made.model({name: given[name] for name in made.model.input}, training=True)
        made.restart()
        states = made.stack.states(Padded(ids, types, mask), training=True)
        made.restart()
        logits = made.stack.logits(Padded(ids, types, mask), training=True)
        real = batch.attention_mask[..., None]
        for name, mine, other in (
            ("embeddings", states["embeddings"], theirs["embeddings"]),
            *((f"layer {n}", *pair) for n, pair in enumerate(zip(states["layers"], theirs["layers"], strict=True))),
        ):
            measured(f"{kind}, {name}", np.abs((array(mine) - array(other)) * real).max(), LOGITS)
        for name, found in (("all states", states["logits"]), ("first tokens alone", logits)):
            measured(f"{kind}, logits of {name}", np.abs(array(found) - array(theirs["logits"])).max(), LOGITS)

    if BACKEND == "keras":

        @pytest.mark.parametrize("kind", ["bert", "distilbert"])
        def test_no_layer_sees_a_token_of_padding(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
            """Attention alone has rows as wide as the longest; its linear layers see tokens too."""
            made, seen = network(kind, EVERYWHERE), []

            def note(owner: Any, name: str, number: int, per_token: int) -> None:
                inner = getattr(owner, name)

                def noting(*given: Any, **named: Any) -> Any:
                    if (shape := given[number].shape)[1:2] + shape[per_token + 1 :] == shape[1:]:
                        seen.append(int(shape[0]))
                    return inner(*given, **named)

                monkeypatch.setattr(owner, name, noting)

            for layer in (keras.layers.Dense, keras.layers.LayerNormalization, keras.layers.Dropout):
                note(layer, "call", 1, 1)
            note(keras.layers.Embedding, "call", 1, 0)
            note(forward, "_product", 1, 1)
            batch = random_batch(TRAINED[kind].architecture, 6, 11, seed=5)
            laid = Laid.of(batch.input_ids, batch.token_type_ids, batch.attention_mask)
            assert len(laid.ids) == batch.attention_mask.sum() < batch.attention_mask.size
            made.stack.logits(Packed(*map(keras.ops.convert_to_tensor, laid)), training=True)
            assert set(seen) == {len(laid.ids), len(batch.labels)}
            assert seen.count(len(laid.ids)) > 8, "a layer, its successor's key and value, and embeddings"
