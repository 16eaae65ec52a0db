"""MNLI, GLUE's multi-genre natural language inference (Williams, Nangia and Bowman 2018): does a premise entail a
hypothesis, contradict it, or neither? Dev and test are in two halves: `dev` of the genres that are trained on, matched,
and `dev-mismatched` of others."""

from __future__ import annotations

from shared.tasks.glue import Inference

LABELS = ("entailment", "neutral", "contradiction")
MNLI = Inference(
    name="mnli",
    folder="MNLI",
    first="sentence1",
    second="sentence2",
    labels=LABELS,
    in_files=LABELS,
    label="gold_label",
    hub_first="premise",
    hub_second="hypothesis",
    files=(
        ("train", "train.tsv"),
        ("dev", "dev_matched.tsv"),
        ("dev-mismatched", "dev_mismatched.tsv"),
        ("test", "test_matched.tsv"),
        ("test-mismatched", "test_mismatched.tsv"),
    ),
    hub_splits=(
        ("train", "train"),
        ("validation_matched", "dev"),
        ("validation_mismatched", "dev-mismatched"),
        ("test_matched", "test"),
        ("test_mismatched", "test-mismatched"),
    ),
)

TASK = MNLI.task(
    "does the first text entail the second?",
    ("accuracy", "macro_f1", "mcc"),
    train=392_702,
    dev=9815,
    dev_mismatched=9832,
    test=9796,
    test_mismatched=9847,
)
