"""Decides what a fine-tuning starts from beside the encoder: the stored head or a new one, a stored pooler or a new
one."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from msgspec import Struct, structs

from shared.architecture import Architecture
from shared.checkpoint.saved import label_names
from shared.checkpoint.weights import contents
from shared.errors import InputError
from shared.files import read_json

Head = Literal["auto", "keep", "new"]
"""Values of --head: keep a stored head if it fits, keep it or refuse, draw a new one."""

HEADS: tuple[Head, ...] = ("auto", "keep", "new")

CLASSIFIER = "ForSequenceClassification"
"""End of the architecture whose head can be kept."""


class Start(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """The first weights of a fine-tuning beside those of the encoder."""

    head: Literal["new", "kept"]
    fits: Literal["name", "number"] | None = None
    """The trait that a kept head's labels share with the task's; None for a new head."""
    rows: tuple[int, ...] = ()
    """The kept head's row for each label; empty for a new head."""
    not_kept: str | None = None
    """The reason why a stored head was not kept; None if it was, or if there is none."""
    pooler: Literal["stored", "drawn"] | None = None
    """None for DistilBERT, which has no pooler."""
    ignored: tuple[str, ...] = ()
    """Stored tensors that belong to no part of the network."""

    def remarks(self) -> list[str]:
        """Sentences about all that is not plain: a stored head, a pooler that is drawn, tensors that are ignored."""
        found = []
        if self.head == "kept":
            found.append(f"the stored head is kept: its labels fit the task's by {self.fits}")
        elif self.not_kept:
            found.append(f"a new head is drawn: {self.not_kept}")
        if self.pooler == "drawn":
            found.append("a pooler is drawn, as none is stored")
        if self.ignored:
            more = f" and {len(self.ignored) - 3} more" if len(self.ignored) > 3 else ""
            found.append(f"stored weights outside the network are ignored: {', '.join(self.ignored[:3])}{more}")
        return found


PLAIN = Start(head="new")
"""A new head on an encoder."""


def choose_start(folder: Path, architecture: Architecture, labels: tuple[str, ...], choice: Head) -> Start:
    """Decides for the checkpoint in `folder` and a task of these labels. Raises InputError if `choice` is `keep` and no
    stored head fits, and for a broken folder."""
    stored = contents(folder, architecture)
    pooler = None if architecture.model_type != "bert" else "stored" if stored.pooler else "drawn"
    new = Start(head="new", pooler=pooler, ignored=stored.ignored)  # type: ignore[arg-type]
    if stored.labels is None:
        if choice == "keep":
            raise InputError(f"--head keep: {folder} stores no head of a classifier; pass --head new")
        return new
    if choice == "new":
        return structs.replace(new, not_kept="--head new says so")
    path = folder / "config.json"
    config = read_json(path)
    reason = _of_another_kind(config)
    if reason is None:
        fits, rows, reason = _fit(path, config, labels, stored.labels)
        if reason is None:
            return structs.replace(new, head="kept", fits=fits, rows=rows)
    if choice == "keep":
        raise InputError(f"--head keep: {folder}: {reason}; pass --head new")
    return structs.replace(new, not_kept=reason)


def _of_another_kind(config: dict[str, object]) -> str | None:
    """The reason why the stored head is of no single-label classifier; None if it is, or config.json does not say."""
    architectures, problem = config.get("architectures"), config.get("problem_type")
    if (
        isinstance(architectures, list)
        and architectures
        and not any(str(a).endswith(CLASSIFIER) for a in architectures)
    ):
        return f"the stored head is of {', '.join(map(str, architectures))}"
    if problem not in (None, "single_label_classification"):
        return f"the stored head is of problem_type {problem}"
    return None


def _fit(
    path: Path, config: dict[str, object], labels: tuple[str, ...], stored: int
) -> tuple[Literal["name", "number"], tuple[int, ...], str | None]:
    """How a stored head of so many labels fits, its row for each label of the task, and the reason if it does not.
    Names are compared without regard to case, as run_glue.py of transformers does."""
    if stored != len(labels):
        return "number", (), f"the stored head has {stored} labels, and {len(labels)} are wanted"
    rows = {name.lower(): row for row, name in enumerate(label_names(path, config))}
    wanted = [label.lower() for label in labels]
    if sorted(rows) == sorted(wanted):
        return "name", tuple(rows[label] for label in wanted), None
    return "number", tuple(range(stored)), None
