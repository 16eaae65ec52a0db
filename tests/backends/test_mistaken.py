"""Trainings of the reference with known mistakes, compared with the adapter's, whose recipe or checkpoint says the
same. Runs in torch's environment."""

from __future__ import annotations

import os

if os.environ.get("CONCORD_TEST_BACKEND") == "torch":
    from dataclasses import replace
    from pathlib import Path
    from typing import Any

    import numpy as np
    import pytest

    from backends.torch.adapter import load
    from backends.torch.mistaken import train
    from shared.answer import Fit
    from shared.checkpoint.config import read_architecture
    from shared.checkpoint.weights import first_weights
    from shared.contract import Build
    from shared.encoding import Encoded, read_encoded, write_rows
    from shared.errors import InputError
    from shared.finetune import finetune
    from shared.recipe import Recipe
    from shared.reference import Adopted, Train
    from shared.search import Term
    from tests.checkpoints import BERT, DISTILBERT, write_checkpoint

    LABELS, WIDTH, ROWS = ("a", "b", "c"), 8, 20
    STILL = BERT | {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    RECIPE = Recipe(
        max_len=WIDTH,
        padding="longest",
        batch_size=5,
        epochs=2,
        learning_rate=1e-2,
        decay=2.0,
        eps=1e-4,
        clip=0.3,
        warm_up=0.25,
    )
    ALIKE = 1e-5
    """Largest difference of two float32 trainings' losses."""

    def rows(seed: int) -> Encoded:
        random = np.random.RandomState(seed)
        lengths = random.randint(3, WIDTH + 1, ROWS)
        ids = random.randint(1, 10, lengths.sum()).astype(np.int32)
        types = random.randint(0, 2, lengths.sum()).astype(np.uint8)
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        return Encoded(ids, types, offsets, random.randint(0, 3, ROWS).astype(np.int64), 0)

    @pytest.fixture(scope="module")
    def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
        folder = tmp_path_factory.mktemp("data")
        write_rows(folder, {"train": rows(1), "dev": rows(2)})
        return folder

    def by_the_adapter(data: Path, folder: Path, config: dict[str, Any], recipe: Recipe) -> Fit:
        checkpoint = write_checkpoint(folder / "adapters", config)
        architecture = read_architecture(checkpoint, recipe, len(LABELS))
        model = load(Build(architecture, first_weights(checkpoint, architecture, recipe), recipe))
        return finetune(model, read_encoded(data), recipe, ("accuracy",), lambda event: None).fit

    def mistaken(
        data: Path, folder: Path, *adopted: Adopted, by_rules: bool = True, config: dict[str, Any] = STILL
    ) -> Fit:
        checkpoint = write_checkpoint(folder / f"{len(adopted)}-{by_rules}", config)
        question = Train(
            checkpoint=str(checkpoint),
            data=str(data),
            labels=LABELS,
            metrics=("accuracy",),
            recipe=RECIPE,
            adopted=list(adopted),
            by_rules=by_rules,
            threads=1,
        )
        return train(question, lambda event: None)

    def apart(first: Fit, second: Fit) -> float:
        """The largest difference of two trainings' losses, dev's at the end too."""
        both = ([*fit.step_loss, (fit.epochs[-1].dev or {})["loss"]] for fit in (first, second))
        return max(abs(one - other) for one, other in zip(*both, strict=True))

    @pytest.mark.parametrize("config", [STILL, DISTILBERT | {"dropout": 0.0, "attention_dropout": 0.0}])
    @pytest.mark.parametrize("by_rules", [True, False])
    def test_without_a_mistake_it_trains_as_the_adapter(
        data: Path, tmp_path: Path, by_rules: bool, config: dict[str, Any]
    ) -> None:
        config = config if config is STILL else config | {"seq_classif_dropout": 0.0}
        recipe = RECIPE if config is STILL else replace(RECIPE, dropout=0.0)
        right = by_the_adapter(data, tmp_path, config, recipe)
        found = mistaken(data, tmp_path, by_rules=by_rules, config=config)
        assert apart(found, right) < ALIKE
        assert found.received == right.received

    CASES: list[tuple[Adopted, dict[str, Any], dict[str, Any]]] = [
        (Adopted(Term("clip-none")), {"clip": None}, {}),
        (Adopted(Term("clip-other", (0.02,))), {"clip": 0.02}, {}),
        (Adopted(Term("decay-none")), {"decay": 0.0}, {}),
        (Adopted(Term("decay-all")), {"decay_exempt": ()}, {}),
        (Adopted(Term("decay-gradient")), {"optimizer": "adam"}, {}),
        (Adopted(Term("eps-before")), {"eps_place": "before"}, {}),
        (Adopted(Term("no-bias-correction")), {"bias_correction": False}, {}),
        (Adopted(Term("beta2-other", (0.9,))), {"beta2": 0.9}, {}),
        (Adopted(Term("rate-of-peak")), {"schedule": "constant", "warm_up": 0.0}, {}),
        (Adopted(Term("rate-scaled", (3.0,))), {"learning_rate": 3e-2}, {}),
        (Adopted(Term("gelu-relu"), ["layers/0"]), {}, {"hidden_act": "relu"}),
        (Adopted(Term("layer-norm-eps", (0.1,))), {}, {"layer_norm_eps": 0.1}),
    ]

    @pytest.mark.parametrize(
        ("mistake", "recipe", "config"), CASES, ids=lambda case: getattr(case, "term", Term("")).id
    )
    def test_a_mistake_trains_as_a_recipe_that_says_it(
        data: Path, tmp_path: Path, mistake: Adopted, recipe: dict[str, Any], config: dict[str, Any]
    ) -> None:
        right = by_the_adapter(data, tmp_path, STILL | config, replace(RECIPE, **recipe))
        assert apart(mistaken(data, tmp_path, mistake), right) < ALIKE
        assert apart(mistaken(data, tmp_path), right) > 10 * ALIKE

    def test_dropout_that_is_off_is_a_checkpoint_without(data: Path, tmp_path: Path) -> None:
        right = by_the_adapter(data, tmp_path, STILL, RECIPE)
        off = mistaken(data, tmp_path, Adopted(Term("dropout-off")), config=BERT)
        assert apart(off, right) < ALIKE
        assert apart(mistaken(data, tmp_path, config=BERT), right) > 10 * ALIKE

    def test_each_mistake_of_dropout_changes_the_training(data: Path, tmp_path: Path) -> None:
        usual = mistaken(data, tmp_path, config=BERT)
        losses = [tuple(usual.step_loss)]
        for number, term in enumerate((Term("dropout-rate", (0.5,)), Term("dropout-before-norm"))):
            losses.append(tuple(mistaken(data, tmp_path / str(number), Adopted(term), config=BERT).step_loss))
        assert len(set(losses)) == 3
        on = mistaken(data, tmp_path, Adopted(Term("dropout-on")), config=BERT)
        assert on.step_loss[: len(losses[0]) // 2] == usual.step_loss[: len(losses[0]) // 2]  # until it evaluates
        assert on.epochs[0].dev != usual.epochs[0].dev

    def test_a_loss_that_is_only_told_otherwise_trains_alike(data: Path, tmp_path: Path) -> None:
        usual, told = (
            mistaken(data, tmp_path / name, Adopted(Term("loss-sum"), places))
            for name, places in (("both", ["loss", "gradients"]), ("told", ["loss"]))
        )
        plain = mistaken(data, tmp_path)
        assert told.epochs[-1].dev == plain.epochs[-1].dev
        assert usual.epochs[-1].dev != plain.epochs[-1].dev
        np.testing.assert_allclose(told.step_loss, 5 * np.array(plain.step_loss), rtol=1e-6)

    def test_a_mistake_that_a_network_lacks_is_refused(data: Path, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="lacks what pooler-omitted changes; pass another checkpoint"):
            mistaken(data, tmp_path, Adopted(Term("pooler-omitted")), config=DISTILBERT)
