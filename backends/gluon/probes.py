"""MXNet's rates and profiler."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable

from backends.probes import Sizes, Timed, Totals


def rates(threads: int, precisions: list[str], sizes: Sizes) -> tuple[dict[str, Timed], Timed]:
    """See backends/probes.py. Threads come from OMP_NUM_THREADS. The product is the operator that layers use."""
    import mxnet as mx

    context = mx.gpu() if mx.context.num_gpus() else mx.cpu()
    able = ("float32", "float64", *(("float16",) if mx.context.num_gpus() else ()))

    def product(precision: str) -> Timed:
        shape = (sizes.product, sizes.product)
        a, b = (mx.nd.random.uniform(shape=shape, ctx=context).astype(precision) for _ in range(2))

        def once() -> None:
            mx.nd.FullyConnected(a, b, num_hidden=sizes.product, no_bias=True).wait_to_read()

        return once

    x, y, z = (mx.nd.ones((sizes.array,), ctx=context) for _ in range(3))

    def add() -> None:
        mx.nd.elemwise_add(x, y, out=z)
        z.wait_to_read()

    return {p: product(p) for p in precisions if p in able}, add


def operators(train: Callable[[], None]) -> Totals:
    """See backends/probes.py."""
    from mxnet import profiler

    with tempfile.TemporaryDirectory() as scratch:
        profiler.set_config(
            profile_symbolic=True, profile_imperative=True, aggregate_stats=True, filename=f"{scratch}/profile.json"
        )
        profiler.set_state("run")
        train()
        profiler.set_state("stop")
        times = json.loads(profiler.dumps(reset=True, format="json"))["Time"]
    found = times["operator"] | times.get("Custom Operator", {})
    return {name: (entry["Count"], entry["Total"] / 1e3) for name, entry in found.items()}
