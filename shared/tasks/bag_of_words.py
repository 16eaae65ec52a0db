"""Measures how much words alone tell about a task's labels:

    python -m shared.tasks.bag_of_words acceptability paraphrase

Fits logistic regression on the counts of each word, and on their tf-idf. For pairs, the features are those of both
texts as one, of each text in columns of its own, and the absolute difference of the two.
"""

from __future__ import annotations

import sys
from pathlib import Path

from shared.tasks import Rows, get_task


def scores(task: str, data_dir: Path | None = None) -> dict[str, dict[str, float]]:
    """Fits on train and returns the accuracy on each labelled split, for each kind of features."""
    from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    splits = {name: rows for name, rows in get_task(task).load(data_dir).items() if rows.labels is not None}
    train = splits["train"]
    found = {}
    for kind, vectorizer in (("counts", CountVectorizer()), ("tf-idf", TfidfVectorizer())):
        vectorizer.fit([*train.first, *(train.second or [])])
        for way in ("together",) if train.second is None else ("together", "side by side", "difference"):
            features = {name: _features(rows, vectorizer, way) for name, rows in splits.items()}
            model = LogisticRegression(max_iter=2000).fit(features["train"], train.labels)
            found[f"{kind}, {way}"] = {
                name: float(model.score(features[name], rows.labels)) for name, rows in splits.items()
            }
    return found


def _features(rows: Rows, vectorizer, way: str):  # type: ignore[no-untyped-def]
    """Makes a sparse matrix with one line for each row."""
    import scipy.sparse

    first = vectorizer.transform(rows.first)
    if rows.second is None:
        return first
    second = vectorizer.transform(rows.second)
    if way == "together":
        return first + second
    return scipy.sparse.hstack([first, second] if way == "side by side" else [first, second, abs(first - second)])


if __name__ == "__main__":
    for task in sys.argv[1:]:
        for features, by_split in scores(task).items():
            print(f"{task:14} {features:22}", *(f"{split} {score:.3f}" for split, score in by_split.items()))
