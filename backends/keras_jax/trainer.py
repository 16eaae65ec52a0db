"""Keras' `fit` on JAX."""

# ruff: noqa: E402  the clock is read before anything slow is imported
from __future__ import annotations

import time

STARTED = time.perf_counter()


import jax

from backends.devices import peak_resident_memory
from backends.keras.fit import fit
from backends.keras_jax.process import COMPILER
from backends.trainer_clock import Passes, answer_job
from shared.answer import TrainerAnswer
from shared.job import Job


def train(job: Job) -> TrainerAnswer:
    COMPILER.start(job.threads)
    passes = Passes(STARTED, lambda: jax.block_until_ready(jax.live_arrays()))
    arguments = fit(job, passes)
    on_gpu = job.device != "cpu"
    peak = int(jax.devices()[0].memory_stats()["peak_bytes_in_use"]) if on_gpu else peak_resident_memory()
    return passes.answer(peak, arguments)


if __name__ == "__main__":
    answer_job(train)
