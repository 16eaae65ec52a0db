"""torch's rates and profiler."""

from __future__ import annotations

from collections.abc import Callable

from backends.probes import Sizes, Timed, Totals


def rates(threads: int, precisions: list[str], sizes: Sizes) -> tuple[dict[str, Timed], Timed]:
    """See backends/probes.py."""
    import torch

    torch.set_num_threads(threads)
    gpu = torch.cuda.is_available()
    device = "cuda" if gpu else "cpu"

    def product(precision: str) -> Timed:
        dtype = torch.float32 if precision == "tf32" else getattr(torch, precision)
        a, b = (torch.rand(sizes.product, sizes.product, device=device).to(dtype) for _ in range(2))

        def once() -> None:
            torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
            a @ b
            if gpu:
                torch.cuda.synchronize()

        return once

    x, y, z = (torch.ones(sizes.array, device=device) for _ in range(3))

    def add() -> None:
        torch.add(x, y, out=z)
        if gpu:
            torch.cuda.synchronize()

    return {p: product(p) for p in precisions if p != "tf32" or gpu}, add


def operators(train: Callable[[], None]) -> Totals:
    """See backends/probes.py."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        train()
    return {e.key: (e.count, e.self_cpu_time_total / 1e6) for e in profiler.key_averages()}
