"""Loss, clipping and optimizer of shared/rules compared with torch's own and transformers'. Runs in torch's
environment."""

from __future__ import annotations

import os

if os.environ.get("CONCORD_TEST_BACKEND") == "torch":
    from collections.abc import Callable
    from dataclasses import replace
    from typing import Any

    import numpy as np
    import pytest
    import torch
    from torch.nn import functional
    from transformers.optimization import Adafactor

    from shared.rules.clipping import Clipping, Sizes
    from shared.rules.loss import Loss, fit_weights
    from shared.rules.optimizer import Moments, Rule

    ROWS, LABELS, STEPS = 6, 3, 4
    RATES = (1e-3, 7e-4, 1.3e-3, 5e-4)
    USUAL = Rule(beta1=0.9, beta2=0.99, eps=1e-4, decay=0.1, decayed=lambda name: True, rates=RATES, peak=1.3e-3)

    def one_hot(labels: torch.Tensor) -> torch.Tensor:
        return functional.one_hot(labels, LABELS).double()

    LOSSES: list[tuple[Loss, Callable[[Any, Any], Any]]] = [
        (Loss(), functional.cross_entropy),
        (Loss(sums=True), lambda x, y: functional.cross_entropy(x, y, reduction="sum")),
        (Loss(smoothing=0.2), lambda x, y: functional.cross_entropy(x, y, label_smoothing=0.2)),
        (
            Loss(weights=(0.5, 1.0, 2.0)),
            lambda x, y: functional.cross_entropy(x, y, torch.tensor([0.5, 1.0, 2.0]).double()),
        ),
        (Loss("binary"), lambda x, y: functional.binary_cross_entropy_with_logits(x, one_hot(y))),
        (
            Loss("binary sum"),
            lambda x, y: functional.binary_cross_entropy_with_logits(x, one_hot(y), reduction="sum") / len(x),
        ),
        (Loss("softmax twice"), lambda x, y: functional.cross_entropy(x.softmax(1), y)),
    ]

    @pytest.mark.parametrize("number", range(len(LOSSES)))
    def test_a_loss_and_its_slope_are_torchs(number: int) -> None:
        rule, of_torch = LOSSES[number]
        random = np.random.RandomState(number)
        logits, labels = random.standard_normal((ROWS, LABELS)), random.randint(0, LABELS, ROWS)
        given = torch.tensor(logits, requires_grad=True)
        right = of_torch(given, torch.tensor(labels))
        right.backward()
        loss, slope = rule(logits, labels)
        assert loss == pytest.approx(right.item(), rel=1e-12)
        np.testing.assert_allclose(slope, given.grad, rtol=1e-10, atol=1e-14)

    def test_class_weights_are_found_from_losses() -> None:
        random, weights = np.random.RandomState(1), np.array([0.3, 1.2, 1.5])
        losses, rows, labels = [], [], []
        for _ in range(5):
            row, label = random.rand(ROWS), random.randint(0, LABELS, ROWS)
            losses.append(float((weights[label] * row).sum() / weights[label].sum()))
            rows.append(row)
            labels.append(label)
        assert fit_weights(losses, rows, labels, LABELS) == pytest.approx(weights, rel=1e-9)

    def gradients() -> dict[str, np.ndarray]:
        random = np.random.RandomState(3)
        return {name: random.standard_normal((4, 3)) for name in ("a", "b")}

    def sizes(arrays: dict[str, np.ndarray]) -> Sizes:
        squares = {name: float(np.square(array).sum()) for name, array in arrays.items()}
        return Sizes(squares, max(float(np.abs(array).max()) for array in arrays.values()), 24, {})

    def clip_each(tensors: list[torch.Tensor]) -> None:
        for tensor in tensors:
            torch.nn.utils.clip_grad_norm_([tensor], 0.5)

    @pytest.mark.parametrize(
        ("kind", "of_torch"),
        [
            ("global", lambda tensors: torch.nn.utils.clip_grad_norm_(tensors, 0.5)),
            ("none", lambda tensors: None),
            ("each", clip_each),
            ("value", lambda tensors: torch.nn.utils.clip_grad_value_(tensors, 0.5)),
        ],
    )
    def test_clipping_is_torchs(kind: Any, of_torch: Callable[[Any], Any]) -> None:
        arrays = gradients()
        tensors = {name: torch.zeros(4, 3, dtype=torch.float64, requires_grad=True) for name in arrays}
        for name, tensor in tensors.items():
            tensor.grad = torch.tensor(arrays[name])
        of_torch(list(tensors.values()))
        for name, tensor in tensors.items():
            ours = Clipping(0.5, kind)(name, arrays[name], sizes(arrays))
            np.testing.assert_allclose(ours, tensor.grad, rtol=1e-12)

    def stepped(rule: Rule) -> list[np.ndarray]:
        random, found = np.random.RandomState(5), []
        weight, moments = random.standard_normal((4, 3)), Moments(rule)
        for _ in range(STEPS):
            after = moments.step(weight, 0.1 * random.standard_normal((4, 3)), rule.decay)
            assert after is not None
            found.append(weight := after)
        return found

    def by_torch(make: Callable[[list[torch.Tensor]], Any]) -> list[np.ndarray]:
        random, found = np.random.RandomState(5), []
        weight = torch.tensor(random.standard_normal((4, 3)), requires_grad=True)
        optimizer = make([weight])
        for rate in RATES:
            weight.grad = torch.tensor(0.1 * random.standard_normal((4, 3)))
            optimizer.param_groups[0]["lr"] = rate
            optimizer.step()
            found.append(weight.detach().numpy().copy())
        return found

    ADAM: dict[str, Any] = {"lr": 1.0, "betas": (0.9, 0.99), "eps": 1e-4, "weight_decay": 0.1}
    FACTORED: dict[str, Any] = {"lr": 1.0, "scale_parameter": False, "relative_step": False, "weight_decay": 0.1}

    @pytest.mark.parametrize(
        ("rule", "make"),
        [
            (USUAL, lambda weights: torch.optim.AdamW(weights, **ADAM)),
            (replace(USUAL, decay_place="gradient"), lambda weights: torch.optim.Adam(weights, **ADAM)),
            (replace(USUAL, method="amsgrad"), lambda weights: torch.optim.AdamW(weights, amsgrad=True, **ADAM)),
            (
                replace(USUAL, method="sgd"),
                lambda weights: torch.optim.SGD(weights, lr=1.0, momentum=0.9, weight_decay=0.1),
            ),
            (replace(USUAL, method="adafactor"), lambda weights: Adafactor(weights, **FACTORED)),
        ],
        ids=["adamw", "adam", "amsgrad", "sgd", "adafactor"],
    )
    def test_an_optimizer_is_torchs(rule: Rule, make: Callable[[Any], Any]) -> None:
        for ours, right in zip(stepped(rule), by_torch(make), strict=True):
            np.testing.assert_allclose(ours, right, rtol=1e-7, atol=1e-10)

    def test_moments_that_are_reset_are_a_new_optimizers() -> None:
        fresh = by_torch(lambda weights: _Fresh(weights))
        for ours, right in zip(stepped(replace(USUAL, keeps=False)), fresh, strict=True):
            np.testing.assert_allclose(ours, right, rtol=1e-9)

    class _Fresh(torch.optim.AdamW):
        """AdamW that forgets before each step."""

        def __init__(self, weights: list[torch.Tensor]) -> None:
            super().__init__(weights, **ADAM)

        def step(self, closure: Any = None) -> None:
            self.state.clear()
            super().step()
