"""RTE, GLUE's textual entailment (Dagan et al. 2006 and later challenges): does a text entail a hypothesis?"""

from __future__ import annotations

from shared.tasks.glue import Inference

LABELS = ("entailment", "not_entailment")

TASK = Inference("rte", "RTE", "sentence1", "sentence2", LABELS, LABELS).task(
    "does the first text entail the second?", ("accuracy", "mcc", "f1"), train=2490, dev=277, test=3000
)
