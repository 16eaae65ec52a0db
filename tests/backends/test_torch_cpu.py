"""The torch adapter's faster operations on a CPU, compared with formulas in float64. Runs in torch's environment."""

from __future__ import annotations

import os
from types import SimpleNamespace

import numpy as np

if os.environ.get("CONCORD_TEST_BACKEND") == "torch":
    import pytest
    import torch

    from backends.torch.cpu import OneDnnLinear, attention, drop, for_cpu

    ROUNDING = 1e-6
    """Bound on an error, as a share of the largest number: float32's rounding over sums of some tens of products."""

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))

    def assert_equal(found: torch.Tensor | None, formula: np.ndarray) -> None:
        assert found is not None
        difference = np.abs(found.detach().double().numpy() - formula).max()
        assert difference <= ROUNDING * np.abs(formula).max()

    @pytest.mark.parametrize("rows", [(5, 7), (5,), (1,)], ids=["of tokens", "of rows", "of one row"])
    def test_a_linear_layer_and_its_gradients_are_the_formula(rows: tuple[int, ...]) -> None:
        layer = OneDnnLinear(24, 16)
        given = random(*rows, 24).requires_grad_()
        outward = random(*rows, 16)
        output = layer(given)
        output.backward(outward)
        w, b, x, d = (t.detach().double().numpy() for t in (layer.weight, layer.bias, given, outward))
        assert_equal(output, x @ w.T + b)
        assert_equal(given.grad, d @ w)
        assert_equal(layer.weight.grad, d.reshape(-1, 16).T @ x.reshape(-1, 24))
        assert_equal(layer.bias.grad, d.reshape(-1, 16).sum(0))

    def test_a_linear_layer_takes_rows_apart_in_memory() -> None:
        """The pooler takes the first token of each row."""
        layer, given, outward = OneDnnLinear(24, 16), random(5, 7, 24), random(5, 2, 16)[:, 0]
        w, b = layer.weight.detach().double().numpy(), layer.bias.detach().double().numpy()
        x, d = given[:, 0].double().numpy(), outward.double().numpy()
        output = layer(given[:, 0])
        output.backward(outward)
        assert_equal(output, x @ w.T + b)
        assert_equal(layer.weight.grad, d.T @ x)

    def test_a_torch_without_onednn_keeps_its_own_linear_layers(monkeypatch: pytest.MonkeyPatch) -> None:
        def kind() -> type:
            network = torch.nn.Sequential(torch.nn.Linear(4, 2))
            network.config = SimpleNamespace()
            for_cpu(network, "float32")
            return type(network[0])

        assert kind() is OneDnnLinear
        monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
        assert kind() is torch.nn.Linear

    @pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
    def test_dropout_drops_its_share_and_keeps_the_mean(rate: float, dtype: torch.dtype) -> None:
        torch.manual_seed(3)
        n = 400_001  # no multiple of four, the number that is drawn at once
        output = drop(torch.ones(n, dtype=dtype), rate).double()
        dropped = (output == 0).double().mean().item()
        assert abs(dropped - rate) < 5 * np.sqrt(rate * (1 - rate) / n)
        assert output.max().item() == pytest.approx(1 / (1 - rate), rel=2**-7 if dtype == torch.bfloat16 else 0.01)

    def test_dropout_draws_neighbours_independently() -> None:
        """One draw gives four of them."""
        torch.manual_seed(4)
        kept = (drop(torch.ones(400_000), 0.1) > 0).double().numpy()
        centred = kept - kept.mean()
        for apart in (1, 2, 3, 4, 8):
            correlation = (centred[apart:] * centred[:-apart]).mean() / centred.var()
            assert abs(correlation) < 5 / np.sqrt(len(kept))

    def test_dropout_keeps_the_gradients_of_kept_numbers() -> None:
        given = random(3, 50).abs_().add_(1).requires_grad_()
        output = drop(given, 0.3)
        output.sum().backward()
        assert_equal(given.grad, output.detach().double().numpy() / given.detach().double().numpy())

    def test_dropout_is_decided_by_the_seed() -> None:
        """Two draws differ, and the same seed gives the same two."""

        def two() -> tuple[torch.Tensor, torch.Tensor]:
            torch.manual_seed(5)
            return drop(torch.ones(1000), 0.5), drop(torch.ones(1000), 0.5)

        first, second = two()
        assert not torch.equal(first, second)
        assert all(torch.equal(a, b) for a, b in zip((first, second), two(), strict=True))

    @pytest.mark.parametrize("rate", [0.0, 1e-9], ids=["without dropout", "with a rate that drops nothing"])
    @pytest.mark.parametrize("masked", [False, True], ids=["whole rows", "padded rows"])
    def test_attention_is_the_formula(rate: float, masked: bool) -> None:
        query, key, value = (random(2, 3, 5 + n, 8)[:, :, :5] for n in range(3))
        mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]], dtype=torch.bool)[:, None, None] if masked else None
        module = torch.nn.Module()
        module.is_causal = False
        context, _ = attention(module, query, key, value, mask, dropout=rate, scaling=0.25)
        q, k, v = (t.double().numpy() for t in (query, key, value))
        scores = q @ k.transpose(0, 1, 3, 2) * 0.25
        if mask is not None:
            scores = np.where(mask.numpy(), scores, -np.inf)
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        weights /= weights.sum(-1, keepdims=True)
        assert_equal(context, (weights @ v).transpose(0, 2, 1, 3))

    @pytest.mark.parametrize("rate", [1e-9, 0.3], ids=["with a rate that drops nothing", "with dropout"])
    def test_gradients_of_attention_are_the_formula(rate: float) -> None:
        query, key, value = (random(2, 3, 5, 8 + n)[..., :8].clone().requires_grad_() for n in range(3))
        module = torch.nn.Module()
        module.is_causal = False

        def context(value: torch.Tensor) -> torch.Tensor:
            torch.manual_seed(6)
            return attention(module, query, key, value, None, dropout=rate, scaling=0.25)[0].transpose(1, 2)

        q, k, v = (t.detach().double().numpy() for t in (query, key, value))
        weights = np.exp(q @ k.swapaxes(2, 3) * 0.25)
        weights /= weights.sum(-1, keepdims=True)
        dropped = context(torch.eye(5).expand(2, 3, 5, 5)).detach().double().numpy()  # of such values, the weights
        assert (dropped == 0).any() == (rate > 0.01)
        outward = random(2, 3, 5, 8)
        output = context(value)
        output.backward(outward)
        d = outward.double().numpy()
        assert_equal(output, dropped @ v)
        assert_equal(value.grad, dropped.swapaxes(2, 3) @ d)
        of_weights = d @ v.swapaxes(2, 3) * dropped / weights  # kept ones times the factor
        of_scores = weights * (of_weights - (of_weights * weights).sum(-1, keepdims=True)) * 0.25
        assert_equal(query.grad, of_scores @ k)
        assert_equal(key.grad, of_scores.swapaxes(2, 3) @ q)
