"""JAX's rates and profiler."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from backends.keras_jax.process import COMPILER
from backends.probes import Sizes, Timed, Totals


def rates(threads: int, precisions: list[str], sizes: Sizes) -> tuple[dict[str, Timed], Timed]:
    """See backends/probes.py. The sum makes a new array each time, as XLA's programs do."""
    COMPILER.start(threads)
    jax.config.update("jax_enable_x64", True)
    gpu = jax.devices()[0].platform == "gpu"

    def product(precision: str) -> Timed:
        dtype = "float32" if precision == "tf32" else precision
        keys = jax.random.split(jax.random.key(0))
        a, b = (jax.random.uniform(key, (sizes.product, sizes.product)).astype(dtype) for key in keys)
        # JAX's default on a GPU is tf32.
        of_float32 = "tensorfloat32" if precision == "tf32" else "float32"
        multiply = jax.jit(partial(jnp.matmul, precision=of_float32))
        return lambda: jax.block_until_ready(multiply(a, b))

    x, y = (jnp.ones(sizes.array, "float32") for _ in range(2))
    add = jax.jit(jnp.add)
    return {p: product(p) for p in precisions if p != "tf32" or gpu}, lambda: jax.block_until_ready(add(x, y))


OF_PROGRAM = re.compile(r"(?P<operator>[a-z][a-z0-9_-]*)(\.\d+)*")
"""Names of a program's operators in JAX's profile: XLA's name of the operator or of the fused ones, and a number."""


def operators(train: Callable[[], None]) -> Totals:
    """See backends/probes.py. An operator's time is without that of others in it, as a loop's."""
    with tempfile.TemporaryDirectory() as scratch:
        with jax.profiler.trace(scratch):
            train()
        (file,) = Path(scratch).rglob("*.xplane.pb")
        planes = jax.profiler.ProfileData.from_file(str(file)).planes
        lines = [list(line.events) for plane in planes for line in plane.lines if line.name.startswith("tf_XLA")]
    found: Totals = {}
    for events in lines:
        inside: list[tuple[float, str]] = []
        """Operators that have not ended yet: their end, and their name."""
        for event in sorted(events, key=lambda event: (event.start_ns, -event.duration_ns)):
            node = OF_PROGRAM.fullmatch(event.name)
            if not node:
                continue
            while inside and inside[-1][0] <= event.start_ns:
                inside.pop()
            if inside:
                _add(found, inside[-1][1], 0, -event.duration_ns)
            _add(found, node["operator"], 1, event.duration_ns)
            inside.append((event.start_ns + event.duration_ns, node["operator"]))
    return found


def _add(found: Totals, operator: str, calls: int, nanoseconds: Any) -> None:
    count, seconds = found.get(operator, (0, 0.0))
    found[operator] = count + calls, seconds + nanoseconds / 1e9
