"""QNLI, GLUE's inference made of SQuAD (Rajpurkar et al. 2016; Wang et al. 2018): does a sentence hold the answer to a
question?"""

from __future__ import annotations

from shared.tasks.glue import Inference

LABELS = ("entailment", "not_entailment")

TASK = Inference("qnli", "QNLI", "question", "sentence", LABELS, LABELS).task(
    "does the sentence answer the question?", ("accuracy", "mcc", "f1"), train=104_743, dev=5463, test=5463
)
