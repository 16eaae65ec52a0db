"""The MXNet adapter's faster operations on a CPU, compared with formulas in float64. Runs in MXNet's environment."""

from __future__ import annotations

import os

import numpy as np

if os.environ.get("CONCORD_TEST_BACKEND") == "gluon":
    import mxnet as mx
    import pytest
    from mxnet.gluon import nn

    from backends.gluon.layer_norm import CpuLayerNorm, for_cpu
    from backends.gluon.network import NormThenDropout

    EPSILON = 1e-5
    ROUNDING = 1e-6
    """Bound on an error, as a share of the largest number: float32's rounding over sums of some hundred products."""

    def random(*shape: int) -> mx.nd.NDArray:
        return mx.nd.array(np.random.default_rng(sum(shape)).normal(0.5, 2, shape))

    def norm(kind: type[nn.LayerNorm], width: int) -> nn.LayerNorm:
        dropped = kind is NormThenDropout
        made = NormThenDropout(width, EPSILON, 0) if dropped else nn.LayerNorm(epsilon=EPSILON, in_channels=width)
        made.gamma.initialize(mx.init.Constant(random(width)))
        made.beta.initialize(mx.init.Constant(random(width)))
        network = nn.HybridSequential()
        network.add(made)
        for_cpu(network)
        assert isinstance(made, CpuLayerNorm)
        return made

    def assert_equal(found: mx.nd.NDArray, formula: np.ndarray) -> None:
        assert np.abs(found.asnumpy() - formula).max() <= ROUNDING * np.abs(formula).max()

    def by_formula(
        data: mx.nd.NDArray, outward: mx.nd.NDArray, gamma: mx.nd.NDArray, beta: mx.nd.NDArray
    ) -> tuple[np.ndarray, ...]:
        """The result, and the gradients of data, gamma and beta."""
        x, d, scale, shift = (array.asnumpy().astype(np.float64) for array in (data, outward, gamma, beta))
        std = np.sqrt(x.var(axis=-1, keepdims=True) + EPSILON)
        unit, g = (x - x.mean(axis=-1, keepdims=True)) / std, d * scale
        of_data = (g - g.mean(axis=-1, keepdims=True) - unit * (g * unit).mean(axis=-1, keepdims=True)) / std
        return unit * scale + shift, of_data, (d * unit).sum(axis=(0, 1)), d.sum(axis=(0, 1))

    @pytest.mark.parametrize("hybrid", [False, True], ids=["by itself", "in a graph"])
    @pytest.mark.parametrize("kind", [nn.LayerNorm, NormThenDropout])
    @pytest.mark.parametrize("shape", [(11, 4, 24), (1, 1, 24), (64, 32, 384)], ids=str)
    def test_a_norm_and_its_gradients_are_the_formula(
        kind: type[nn.LayerNorm], shape: tuple[int, ...], hybrid: bool
    ) -> None:
        layer, data, outward = norm(kind, shape[-1]), random(*shape), random(*shape) - 0.5
        if hybrid:
            layer.hybridize(static_alloc=True)
        data.attach_grad()
        with mx.autograd.record():
            output = layer(data)
        output.backward(outward)
        wanted = by_formula(data, outward, layer.gamma.data(), layer.beta.data())
        for found, formula in zip((output, data.grad, layer.gamma.grad(), layer.beta.grad()), wanted, strict=True):
            assert_equal(found, formula)

    def test_gradients_of_a_norm_used_twice_add_up() -> None:
        layer, data = norm(nn.LayerNorm, 24), random(5, 3, 24)
        for parameter in (layer.gamma, layer.beta):
            parameter.grad_req = "add"
        data.attach_grad()
        outward = random(5, 3, 24)
        for _ in range(2):
            with mx.autograd.record():
                output = layer(data)
            output.backward(outward)
        _, _, of_gamma, of_beta = by_formula(data, outward, layer.gamma.data(), layer.beta.data())
        assert_equal(layer.gamma.grad(), 2 * of_gamma)
        assert_equal(layer.beta.grad(), 2 * of_beta)

    def test_one_pass_of_adamw_makes_the_bits_of_four() -> None:
        """The operator for mixed precision, its weight as its own copy, and the one for one precision."""
        found = []
        for one_pass in (True, False):
            weight, first, second = random(40, 30), mx.nd.zeros((40, 30)), mx.nd.zeros((40, 30))
            for step in range(1, 21):
                arrays = (weight, random(40, 30) * step, first, second)
                options = {"lr": 0.5 * step, "eta": 1e-3, "wd": 0.1, "epsilon": 1e-6, "out": weight}
                if one_pass:
                    mx.nd.contrib.mp_adamw_update(*arrays, weight, mx.nd.array([0.3]), **options)
                else:
                    mx.nd.contrib.adamw_update(*arrays, mx.nd.array([0.3]), **options)
            found.append([array.asnumpy() for array in (weight, first, second)])
        for one, other in zip(*found, strict=True):
            np.testing.assert_array_equal(one, other)
