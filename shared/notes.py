"""Notes: what one should know of a cell's data or result before trusting its scores, a line each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

from msgspec import Struct

LOPSIDED = 0.95
"""Share of one label above which accuracy says little."""

MANY_CUT = 0.05
"""Share of cut rows above which max_len is worth a look."""


class Note(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Something to know of one split."""

    kind: Literal["one class", "missing label", "lopsided", "cut", "majority result"]
    split: str
    labels: list[str] = []
    """The labels that the note is about."""
    share: float | None = None
    """Share of the rows: of the label, or of those cut; for a result, the accuracy."""

    @property
    def line(self) -> str:
        """The note in words."""
        labels, share = ", ".join(map(repr, self.labels)), 100 * (self.share or 0.0)
        match self.kind:
            case "one class":
                words = f"every row has the label {labels}, so there is nothing to tell apart"
            case "missing label":
                words = f"no row has the label {labels}, which the task has"
            case "lopsided":
                words = f"{share:.1f} % of the rows have the label {labels}, so accuracy says little"
            case "cut":
                words = f"{share:.1f} % of the rows are longer than max_len and are cut"
            case "majority result":
                words = f"accuracy {share / 100:.3f} is not above that of always answering {labels}"
        return f"{self.split}: {words}"


def of_data(
    labels: Mapping[str, Sequence[int] | None], names: Sequence[str], rows: Mapping[str, int], cut: Mapping[str, int]
) -> list[Note]:
    """Notes of the data: `labels` by split (None without labels), the task's label names, the number of rows by split
    and of those cut at max_len."""
    notes = []
    for split, given in labels.items():
        counts = Counter(given or [])
        missing = [name for label, name in enumerate(names) if not counts[label]]
        if split == "train" and len(counts) == 1:
            notes.append(Note(kind="one class", split=split, labels=[names[next(iter(counts))]]))
        elif split == "train" and counts and missing:
            notes.append(Note(kind="missing label", split=split, labels=missing))
        if split != "train" and counts:
            (label, most), total = counts.most_common(1)[0], counts.total()
            if most / total > LOPSIDED:
                notes.append(Note(kind="lopsided", split=split, labels=[names[label]], share=most / total))
        if cut.get(split, 0) > MANY_CUT * rows[split]:
            notes.append(Note(kind="cut", split=split, share=cut[split] / rows[split]))
    return notes


def of_results(
    labels: Mapping[str, Sequence[int] | None], names: Sequence[str], accuracy: Mapping[str, float]
) -> list[Note]:
    """Notes of the scores: the splits whose accuracy is not above that of their commonest label."""
    notes = []
    for split, share in accuracy.items():
        counts = Counter(labels.get(split) or [])
        if counts and share <= counts.most_common(1)[0][1] / counts.total():
            label = counts.most_common(1)[0][0]
            notes.append(Note(kind="majority result", split=split, labels=[names[label]], share=share))
    return notes
