"""WNLI, GLUE's form of the Winograd schema challenge (Levesque, Davis and Morgenstern 2011): does a sentence entail the
one in which its pronoun is resolved?"""

from __future__ import annotations

from shared.tasks.glue import Inference

LABELS = ("not_entailment", "entailment")

TASK = Inference("wnli", "WNLI", "sentence1", "sentence2", LABELS, ("0", "1")).task(
    "does the sentence entail the one with its pronoun resolved?",
    ("accuracy", "mcc", "f1"),
    train=635,
    dev=71,
    test=146,
)
