"""Losses of the reference with known mistakes, compared with torch's own training in float64, and the search among
them. Runs in torch's environment."""

from __future__ import annotations

import os

if os.environ.get("CONCORD_TEST_BACKEND") == "torch":
    import json
    from collections.abc import Callable
    from pathlib import Path
    from typing import Any
    from unittest import mock

    import numpy as np
    import pytest
    import torch
    from torch.nn import functional
    from transformers import AutoConfig, AutoModelForSequenceClassification

    from backends.torch import losses as searched
    from backends.torch.reference import answer
    from shared.answer import Tried
    from shared.hypotheses import HYPOTHESIS
    from shared.pack import Pack
    from shared.reference import ExplainLosses, LossesExplained
    from shared.search import Term
    from tests.backends.losses_alone import courses_of

    BOUND = 5e-6

    def by_torch(
        pack: Pack,
        *,
        loss: Callable[..., Any] = functional.cross_entropy,
        clip: float = 1.0,
        beta2: float = 0.999,
        rate: Callable[[int, list[float]], float] = lambda n, rates: rates[n],
        order: list[int] | None = None,
        decay_all: bool = False,
        **config: Any,
    ) -> list[float]:
        """Losses of transformers' classifier under torch.optim.AdamW, float64."""
        run = pack.run("train")
        given = AutoConfig.from_pretrained(pack.folder, **config)
        model = AutoModelForSequenceClassification.from_config(given, dtype=torch.float64).eval()
        model.load_state_dict({name: torch.tensor(w).double() for name, w in pack.weights.items()}, strict=False)
        decayed = set(run.settings.decayed)
        groups = [
            {"params": [p], "weight_decay": run.settings.decay * (decay_all or name in decayed)}
            for name, p in model.named_parameters()
        ]
        optimizer = torch.optim.AdamW(groups, betas=(0.9, beta2), eps=run.settings.eps)
        found, rates = [], [step.learning_rate for step in run.steps]
        for n in range(len(run.steps)):
            batch = {k: torch.tensor(a) for k, a in pack.batch(run.steps[order[n] if order else n]).items()}
            labels = batch.pop("labels")
            value = loss(model(**batch).logits, labels)
            found.append(value.item())
            optimizer.zero_grad()
            value.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
            for group in optimizer.param_groups:
                group["lr"] = rate(n, rates)
            optimizer.step()
        return found

    def summed(logits: Any, labels: Any) -> Any:
        return functional.cross_entropy(logits, labels, reduction="sum")

    def smoothed(logits: Any, labels: Any) -> Any:
        return functional.cross_entropy(logits, labels, label_smoothing=0.07)

    def weighted(logits: Any, labels: Any) -> Any:
        return functional.cross_entropy(logits, labels, torch.tensor([0.5, 1.0, 2.0]).double())

    PLANTED: dict[str, dict[str, Any]] = {
        "gelu-tanh": {"hidden_act": "gelu_new"},
        "layer-norm-eps": {"layer_norm_eps": 2e-5},
        "loss-sum": {"loss": summed},
        "loss-smoothed": {"loss": smoothed},
        "loss-weighted": {"loss": weighted},
        "clip-none": {"clip": float("inf")},
        "beta2-other": {"beta2": 0.9},
        "rate-of-peak": {"rate": lambda n, rates: max(rates)},
        "rate-scaled": {"rate": lambda n, rates: 2.5 * rates[n]},
        "batches-swapped": {"order": [3, 4, 5, 0, 1, 2]},
    }

    ALWAYS = ("gelu-relu", "clip-none", "decay-all", "dropout-on")
    """Rows of the table that every search here takes beside the planted one's: with all rows it takes half a minute."""
    NUMBERS = {
        "layer-norm-eps": (2e-5,),
        "loss-smoothed": (0.07,),
        "loss-weighted": (0.5 * 6 / 7, 6 / 7, 12 / 7),
        "beta2-other": (0.9,),
        "rate-scaled": (2.5,),
        "batches-swapped": (3, 4, 5, 0, 1, 2),
    }

    def search(
        pack: Pack,
        mine: list[float],
        *names: str,
        bound: float = BOUND,
        on_event: Callable[[Any], None] = lambda _: None,
    ) -> LossesExplained:
        """Searches among the rows of these names and of ALWAYS."""
        torch.set_num_threads(1)
        rows = tuple(HYPOTHESIS[name] for name in dict.fromkeys((*names, *ALWAYS)))
        limits = {"train": [bound] * len(mine)}
        question = ExplainLosses(pack=str(pack.folder), losses={"train": mine}, limits=limits, threads=1)
        with mock.patch.object(searched, "HYPOTHESES", rows):
            found = answer(question, on_event)
        assert isinstance(found, LossesExplained)
        return found

    def test_without_a_mistake_the_losses_are_torchs(default_pack: Pack) -> None:
        ours = courses_of(default_pack).losses(default_pack.run("train"), (), lambda _: True)
        np.testing.assert_allclose(ours, by_torch(default_pack), rtol=1e-9)

    def test_a_training_leaves_nothing_behind_for_the_next(default_pack: Pack) -> None:
        """Not even gradients of the layers that a mistake takes out."""
        run, first = default_pack.run("train"), (Term("layers-first"),)
        right = courses_of(default_pack).losses(run, first, lambda _: True)
        again = courses_of(default_pack)
        for terms in ((), (Term("layers-reversed"),)):
            again.losses(run, terms, lambda _: True)
        assert again.losses(run, first, lambda _: True) == right

    @pytest.mark.parametrize("name", PLANTED)
    def test_a_planted_mistake_is_ranked_first(default_pack: Pack, name: str) -> None:
        """With its number, if it has one."""
        found = search(default_pack, by_torch(default_pack, **PLANTED[name]), name)
        best = found.within[0]
        assert (best.ids, best.explained, best.confirmed) == ([name], 6, True)
        assert best.share < (1 if name in NUMBERS else 0.01)
        assert best.terms[0].numbers == pytest.approx(NUMBERS.get(name, ()), rel=0.02)
        assert found.unmoved == ["decay-all"]

    def test_a_pair_is_found_where_nothing_alone_explains(default_pack: Pack) -> None:
        mine = by_torch(default_pack, hidden_act="gelu_new", clip=float("inf"))
        best = search(default_pack, mine, "gelu-tanh").within[0]
        assert set(best.ids) == {"gelu-tanh", "clip-none"}
        assert best.share < 0.01

    def test_losses_of_few_digits_are_explained_by_several(default_pack: Pack) -> None:
        exact = by_torch(default_pack, hidden_act="gelu_new", clip=float("inf"))
        few = [round(loss, 3) for loss in exact]
        found = search(default_pack, few, "gelu-tanh", bound=BOUND + 5e-4)
        assert found.within == []
        assert {"gelu-tanh", "decay-all"} <= set(found.unmoved)

    def test_what_nothing_explains_has_the_nearest_and_how_far(default_pack: Pack) -> None:
        mine = by_torch(default_pack)
        mine[4] += 0.1
        found = search(default_pack, mine)
        assert not found.within
        assert found.nearest[0].explained <= 4
        assert found.nearest[0].share > 1
        explained = [one.explained for one in found.nearest]
        assert explained == sorted(explained, reverse=True)

    def test_progress_counts_the_mistakes_of_the_table(default_pack: Pack) -> None:
        told: list[Any] = []
        search(default_pack, by_torch(default_pack, loss=summed), "loss-sum", on_event=told.append)
        assert told == [Tried(n, 4, name) for n, name in enumerate(("loss-sum", *ALWAYS[:3]), 1)]

    def test_a_network_that_lacks_a_part_is_searched_too(default_pack: Pack, tmp_path: Path) -> None:
        """ReLU in place of GELU: what changes a GELU is left out."""
        from benchmarks.port.pack import generated, make_pack
        from tests.backends.trainings import Here

        config = json.loads((default_pack.folder / "config.json").read_text()) | {"hidden_act": "relu"}
        with generated(config) as source:
            pack = make_pack(source, tmp_path / "pack", Here())
        found = search(pack, by_torch(pack, clip=float("inf")), "gelu-tanh")
        assert found.within[0].ids == ["clip-none"]
