"""Descriptions of networks for a pack, kept by a hash of all that they follow from."""

from __future__ import annotations

from pathlib import Path

from benchmarks.port.answers import basis, place
from benchmarks.port.reference import Reference
from shared.files import from_json, hash_files, to_json, write_whole
from shared.kept import held_folder
from shared.pack import PACK_WEIGHTS
from shared.reference import Describe, Described

FILE = "described.json"


def describe(question: Describe, reference: Reference, again: bool = False) -> Described:
    """The answer: from the cache, or computed now, and in any case `again`. If the reference is to make the weights, it
    is asked. Raises ProcessFailed."""
    if question.perturb is not None or question.checkpoint is not None:
        return reference.ask(question, Described)
    digest = basis(reference)
    source = Path(question.source)
    files = (source / "config.json", source / PACK_WEIGHTS, source / question.batch)
    digest.update(hash_files(files).encode())
    target = place(f"described-{digest.hexdigest()[:16]}")

    def ask(partial: Path) -> None:
        write_whole(partial / FILE, to_json(reference.ask(question, Described)))

    return from_json((held_folder(target, ask, again) / FILE).read_bytes(), Described)
