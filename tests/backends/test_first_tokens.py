"""torch's last layer, computed for the first tokens alone, is transformers' own. Runs in torch's environment."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Literal

import numpy as np

if os.environ.get("CONCORD_TEST_BACKEND") == "torch":
    import pytest
    import torch

    from backends.torch import cpu
    from shared.architecture import Dropout
    from shared.contract import Build, Load, Model
    from tests.backends.cases import NO_DROPOUT, STEEP, STEEP_RATE, TRAINED
    from tests.backends.conftest import THREADS, Measured, Reference

    EXACT = 1e-12
    """Bound on a difference in float64, of numbers near 1."""
    EVERYWHERE = Dropout(0.1, 0.2, 0.3, 0.15, 0.25)
    Padding = Literal["longest", "none"]
    KINDS = pytest.mark.parametrize("kind", ["bert", "distilbert"])
    PADDINGS = pytest.mark.parametrize("padding", ["longest", "none"])

    def loaded(load: Load, kind: str, padding: Padding, dropout: Dropout = NO_DROPOUT, compiled: bool = False) -> Model:
        a = replace(TRAINED[kind].architecture, dropout=dropout)
        recipe = replace(STEEP, padding=padding)
        torch.compiler.reset()  # it counts the programs of all models of a process
        return load(Build(a, TRAINED[kind].weights, recipe, "cpu", THREADS, "float64", compile=compiled))

    @pytest.mark.parametrize(
        ("kind", "padding", "compiled"),
        [
            *((kind, padding, False) for kind in ("bert", "distilbert") for padding in ("longest", "none")),
            ("bert", "none", True),
            ("distilbert", "longest", True),
        ],
    )
    def test_logits_loss_and_gradients_are_transformers(
        load: Load, reference: Reference, measured: Measured, kind: str, padding: Padding, compiled: bool
    ) -> None:
        """Its own network computes all tokens."""
        wanted, batch = reference(kind), TRAINED[kind].batches[0]
        one = loaded(load, kind, padding, compiled=compiled)
        found, name = one.gradients(batch), f"{kind}, {padding}{', compiled' * compiled}"
        measured(f"{name}, logits", np.abs(one.predict(batch) - wanted["logits"]).max(), EXACT)
        measured(f"{name}, loss", abs(found.loss - float(wanted["loss"])), EXACT)
        worst = max(np.abs(mine - wanted[f"gradient/{key}"]).max() for key, mine in found.raw.items())
        measured(f"{name}, gradients", worst, EXACT)

    @PADDINGS
    @KINDS
    def test_the_last_feed_forward_sees_one_token_a_row(load: Load, kind: str, padding: Padding) -> None:
        """States of all tokens still go through it all."""
        one, batch, seen = loaded(load, kind, padding), TRAINED[kind].batches[0], []
        layer = one.network.base_model  # type: ignore[attr-defined]
        layer = layer.encoder.layer[-1].intermediate.dense if kind == "bert" else layer.transformer.layer[-1].ffn.lin1
        layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[:-1].numel()))
        one.train_step(batch, STEEP_RATE)
        one.predict(batch)
        one.gradients(batch)
        one.hidden_states(batch)
        rows = len(batch.labels)
        tokens = int(batch.attention_mask.sum()) if padding == "none" else batch.input_ids.size
        assert seen == [rows, rows, rows, tokens]

    @KINDS
    def test_dropout_draws_at_each_rate_for_one_token_a_row(
        load: Load, kind: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        drawn, inner = [], cpu._drawn

        def noting(shape: torch.Size, rate: float) -> tuple[torch.Tensor, float]:
            drawn.append((tuple(shape), rate))
            return inner(shape, rate)

        monkeypatch.setattr(cpu, "_drawn", noting)
        rates = EVERYWHERE if kind == "bert" else replace(EVERYWHERE, attention_output=0.0)
        a, batch = TRAINED[kind].architecture, TRAINED[kind].batches[0]
        loaded(load, kind, "longest", rates).train_step(batch, STEEP_RATE)
        b, s = batch.input_ids.shape

        def layer(queries: int) -> list[tuple[tuple[int, ...], float]]:
            of_tokens = [rate for rate in (rates.attention_output, rates.feed_forward_output) if rate]
            return [((b, a.heads, queries, s), rates.attention), *(((b, queries, a.width), rate) for rate in of_tokens)]

        head = [((b, a.width), rates.classifier)]
        assert drawn == [((b, s, a.width), rates.embeddings), *layer(s), *layer(1), *head]
