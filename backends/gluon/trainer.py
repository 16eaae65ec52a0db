"""The loop of GluonNLP's tutorial on fine-tuning BERT (nlp.gluon.ai/examples/sentence_embedding/bert.html): rows padded
to max_len in a DataLoader, BERTClassifier hybridized, SoftmaxCELoss, gradients clipped, `gluon.Trainer` with Adam, the
loss of each step read at once."""

# ruff: noqa: E402  the clock is read before anything slow is imported
from __future__ import annotations

import time

STARTED = time.perf_counter()

from pathlib import Path

import gluonnlp as nlp
import mxnet as mx
import numpy as np

from backends.bare import check_bare
from backends.devices import peak_resident_memory
from backends.gluon.bare import build
from backends.trainer_clock import Passes, answer_job
from shared.answer import TrainerAnswer
from shared.batching import make_batch
from shared.checkpoint.config import read_architecture
from shared.encoding import read_encoded
from shared.job import Job


def loader(job: Job) -> mx.gluon.data.DataLoader:
    """Gives batches of ids, lengths, types and labels, all padded to max_len, in the order of the rows."""
    data = read_encoded(Path(job.data))["train"]
    batch = make_batch(data, np.arange(len(data)), job.recipe)
    rows = mx.gluon.data.ArrayDataset(
        batch.input_ids, batch.attention_mask.sum(axis=1), batch.token_type_ids, batch.labels
    )
    return mx.gluon.data.DataLoader(rows, batch_size=job.recipe.batch_size)


def peak_memory(device: str) -> int:
    """Peak memory in bytes; on a GPU the memory in use now, as MXNet's pool keeps all memory that it once took."""
    if device == "cpu":
        return peak_resident_memory()
    free, total = mx.context.gpu_memory_info(0)
    return int(total - free)


def train(job: Job) -> TrainerAnswer:
    """Trains as the job asks, and returns times, memory and all arguments of GluonNLP."""
    recipe = job.recipe
    mx.random.seed(recipe.seed)  # threads are not set here: MXNet takes them from OMP_NUM_THREADS
    context = mx.cpu() if job.device == "cpu" else mx.gpu()
    check_bare(Path(job.checkpoint), read_architecture(Path(job.checkpoint), recipe, len(job.labels)))
    classifier, _ = build(Path(job.checkpoint), len(job.labels))
    classifier.collect_params().reset_ctx(context)
    loss_function = mx.gluon.loss.SoftmaxCELoss()
    loss_function.hybridize(static_alloc=True)
    metric = mx.metric.Accuracy()
    batches = loader(job)
    adam = {"learning_rate": recipe.learning_rate, "epsilon": 1e-9}
    trainer = mx.gluon.Trainer(classifier.collect_params(), "adam", adam)
    parameters = [p for p in classifier.collect_params().values() if p.grad_req != "null"]
    passes = Passes(STARTED, mx.nd.waitall)
    for _ in range(recipe.epochs):
        metric.reset()
        total = 0.0
        passes.begin_pass()
        for arrays in batches:
            passes.batch(*arrays[0].shape)
            passes.begin_step()
            ids, lengths, types, labels = (array.as_in_context(context) for array in arrays)
            with mx.autograd.record():
                logits = classifier(ids, types, lengths.astype("float32"))
                loss = loss_function(logits, labels).mean()
            loss.backward()
            trainer.allreduce_grads()
            nlp.utils.clip_grad_global_norm(parameters, 1)
            trainer.update(1)
            total += loss.asscalar()
            metric.update([labels], [logits])
            passes.end_step()
        passes.end_pass()
        print(f"loss {total / passes.passes[-1].steps:.4f}, accuracy {metric.get()[1]:.3f}")
    arguments = {
        "hybridize": "static_alloc",
        "optimizer": "adam",
        **adam,
        "clip_grad_global_norm": 1,
        "batch_size": recipe.batch_size,
        "epochs": recipe.epochs,
    }
    return passes.answer(peak_memory(job.device), arguments)


if __name__ == "__main__":
    answer_job(train)
