"""The result of a diagnosis."""

from __future__ import annotations

from msgspec import Struct

from shared.reference import Adopted
from shared.search import Term


class Cause(Struct, frozen=True, kw_only=True):
    """Mistakes that explain rungs of one kind of arithmetic."""

    rungs: list[str]
    """Those that are wrong by themselves."""
    ids: list[list[str]] = []
    """Mistakes that explain them, those of an entry together. Several entries compute the same on this pack."""
    says: list[str] = []
    """The same in plain words."""
    terms: tuple[Term, ...] = ()
    """The first entry's mistakes, with their numbers."""
    share: float | None = None
    """The largest error that the first entry leaves, as a share of its bound; None if told by statistics."""
    tried: int = 0
    """Combinations of mistakes that were computed."""
    place: str = ""
    """If nothing explains, the smallest place that shows it."""
    nearest: str = ""
    """If nothing explains, what came nearest."""
    nearest_share: float = 0.0


class Diagnosis(Struct, frozen=True, kw_only=True):
    """The causes that were found."""

    causes: list[Cause] = []
    made: list[Adopted] = []
    """Mistakes that were found, with their numbers and places; of those that compute the same, the first."""

    def of_rung(self, rung: str) -> Cause | None:
        """The cause of a rung; None if it has none."""
        return next((cause for cause in self.causes if rung in cause.rungs), None)

    @property
    def differences(self) -> list[str]:
        """Ids of the mistakes that were found, each once; the first of those that compute the same."""
        return list(dict.fromkeys(name for cause in self.causes if cause.ids for name in cause.ids[0]))

    @property
    def unexplained(self) -> list[str]:
        """Rungs that nothing explains."""
        return [rung for cause in self.causes if not cause.ids for rung in cause.rungs]
