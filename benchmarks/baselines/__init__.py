"""Each framework's stock way to fine-tune, by its library's own trainer: what `benchmarks.speed` holds the adapters
against. One program a backend, run in that backend's environment as a worker is:

    python -m benchmarks.baselines.BACKEND_stock JOB_FOLDER

The job is one of shared/job.py. The programs read its encoded rows and train on them in the order in which they lie, as
many passes as the recipe has epochs; of the recipe they take max_len, padding, batch_size, learning_rate, decay and
seed, and leave all else at the library's own. The answer has the fields of a worker's that are about time and memory,
and `arguments`, what the library was told.
"""
