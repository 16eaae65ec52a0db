"""The loop of GluonNLP's tutorial on fine-tuning BERT (nlp.gluon.ai/examples/sentence_embedding/bert.html): rows padded
to max_len in a DataLoader, BERTClassifier hybridized, SoftmaxCELoss, gradients clipped, `gluon.Trainer` with Adam, each
step's loss read and counted."""

# ruff: noqa: E402  the clock is read before anything slow is imported
from __future__ import annotations

import time

STARTED = time.time()

from pathlib import Path
from typing import Any

import gluonnlp as nlp
import mxnet as mx
import numpy as np

from backends.devices import peak_resident_memory
from backends.gluon.bare import build
from backends.trainer_clock import Passes, answer_job
from shared.batching import make_batch
from shared.encoding import read_encoded
from shared.job import Job


def train(job: Job) -> dict[str, Any]:
    recipe = job.recipe
    mx.random.seed(recipe.seed)  # threads are not set here: MXNet takes them from OMP_NUM_THREADS
    context = mx.cpu() if job.device == "cpu" else mx.gpu()
    classifier, _ = build(Path(job.checkpoint), len(job.labels))
    classifier.collect_params().reset_ctx(context)
    loss_function = mx.gluon.loss.SoftmaxCELoss()
    loss_function.hybridize(static_alloc=True)
    metric = mx.metric.Accuracy()
    data = read_encoded(Path(job.data))["train"]
    padded = make_batch(data, np.arange(len(data)), recipe)
    loader = mx.gluon.data.DataLoader(
        mx.gluon.data.ArrayDataset(
            padded.input_ids, padded.attention_mask.sum(axis=1), padded.token_type_ids, padded.labels
        ),
        batch_size=recipe.batch_size,
    )
    adam = {"learning_rate": recipe.learning_rate, "epsilon": 1e-9}
    trainer = mx.gluon.Trainer(classifier.collect_params(), "adam", adam)
    parameters = [p for p in classifier.collect_params().values() if p.grad_req != "null"]
    passes = Passes(STARTED, mx.nd.waitall)
    for _ in range(recipe.epochs):
        metric.reset()
        total = 0.0
        passes.begin_pass()
        for arrays in loader:
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
        print(f"loss {total / passes.passes[-1]['steps']:.4f}, accuracy {metric.get()[1]:.3f}")
    if job.device == "cpu":
        peak = peak_resident_memory()
    else:
        free, whole = mx.context.gpu_memory_info(0)
        peak = whole - free
    arguments = {
        "hybridize": "static_alloc",
        "optimizer": "adam",
        **adam,
        "clip_grad_global_norm": 1,
        "batch_size": recipe.batch_size,
        "epochs": recipe.epochs,
    }
    return passes.answer(peak, arguments)


if __name__ == "__main__":
    answer_job(train)
