"""Keras' `fit` on TensorFlow."""

# ruff: noqa: E402  the clock is read before anything slow is imported
from __future__ import annotations

import time

STARTED = time.perf_counter()

import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["KERAS_BACKEND"] = "tensorflow"

import tensorflow as tf

from backends.devices import peak_resident_memory
from backends.keras.fit import fit
from backends.trainer_clock import Passes, answer_job
from shared.answer import TrainerAnswer
from shared.job import Job


def train(job: Job) -> TrainerAnswer:
    tf.config.threading.set_intra_op_parallelism_threads(job.threads)
    tf.config.threading.set_inter_op_parallelism_threads(job.threads)
    passes = Passes(STARTED, tf.test.experimental.sync_devices)
    arguments = fit(job, passes)
    on_gpu = job.device != "cpu"
    peak = tf.config.experimental.get_memory_info("GPU:0")["peak"] if on_gpu else peak_resident_memory()
    return passes.answer(peak, arguments)


if __name__ == "__main__":
    answer_job(train)
