"""Grammar of the two built-in tasks: English words and their forms, seeded random draws, and the splits made of
them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

T = TypeVar("T")

SPLIT_GROUPS = {"train": 3000, "dev": 250, "test": 250}
"""Number of groups in each split. A group is a sentence or pair with label 1 and its counterpart with label 0."""


class Draw:
    """Random choices from one seeded stream, `numpy.random.RandomState`, which is the same in every numpy."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.RandomState(seed)

    def below(self, bound: int) -> int:
        """Draws a whole number from 0 to below `bound`."""
        return int(self._random.random_sample() * bound)

    def chance(self, share: float = 0.5) -> bool:
        """Is true with this probability."""
        return bool(self._random.random_sample() < share)

    def one(self, options: Sequence[T]) -> T:
        """Draws one of the options."""
        return options[self.below(len(options))]

    def some(self, options: Sequence[T], count: int) -> list[T]:
        """Draws distinct options, in random order."""
        left = list(options)
        return [left.pop(self.below(len(left))) for _ in range(count)]

    def either(self, a: T, b: T) -> tuple[T, T]:
        """Returns both, in random order."""
        return (a, b) if self.chance() else (b, a)


@dataclass(frozen=True)
class Noun:
    """A noun in both numbers."""

    singular: str
    plural: str

    def form(self, plural: bool) -> str:
        """Returns the noun in this number."""
        return self.plural if plural else self.singular


@dataclass(frozen=True)
class Verb:
    """A verb in all its forms."""

    base: str
    third: str
    """Present form with a singular subject."""
    past: str
    participle: str
    gerund: str

    def present(self, plural: bool) -> str:
        """Returns the present form for a subject in this number."""
        return self.base if plural else self.third


@dataclass(frozen=True)
class Gender:
    """Names and nouns of people who share a pronoun."""

    names: tuple[str, ...]
    nouns: tuple[Noun, ...]
    subject: str
    object: str
    reflexive: str


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _nouns(text: str) -> tuple[Noun, ...]:
    """Makes nouns of words with a regular plural, or of pairs such as woman/women."""
    return tuple(Noun(*word.split("/")) if "/" in word else Noun(word, word + "s") for word in text.split())


def _verbs(*forms: str) -> tuple[Verb, ...]:
    return tuple(Verb(*line.split()) for line in forms)


FEMALE = Gender(
    _words("Anna Maria Susan Emma Julia Helen Laura Sarah Nina Clara Ruth Alice"),
    _nouns("woman/women girl actress/actresses queen waitress/waitresses aunt mother sister daughter nun"),
    "she", "her", "herself",
)  # fmt: skip
MALE = Gender(
    _words("Tom Peter David Martin Paul Robert Daniel Henry Simon Oscar Victor Frank"),
    _nouns("man/men boy actor king waiter uncle father brother son monk"),
    "he", "him", "himself",
)  # fmt: skip
NAMES = FEMALE.names + MALE.names
PEOPLE = _nouns(
    "doctor teacher lawyer student nurse guest farmer artist singer neighbor client tourist senator author driver "
    "cook guard dancer editor pilot baker judge tailor witness/witnesses painter gardener plumber banker critic sailor"
)
MEETING_PEOPLE = _verbs(
    "admire admires admired admired admiring",
    "trust trusts trusted trusted trusting",
    "avoid avoids avoided avoided avoiding",
    "help helps helped helped helping",
    "visit visits visited visited visiting",
    "thank thanks thanked thanked thanking",
    "hire hires hired hired hiring",
    "follow follows followed followed following",
    "praise praises praised praised praising",
    "blame blames blamed blamed blaming",
    "invite invites invited invited inviting",
    "greet greets greeted greeted greeting",
    "respect respects respected respected respecting",
    "ignore ignores ignored ignored ignoring",
    "support supports supported supported supporting",
    "warn warns warned warned warning",
    "describe describes described described describing",
    "protect protects protected protected protecting",
    "choose chooses chose chosen choosing",
    "forgive forgives forgave forgiven forgiving",
    "see sees saw seen seeing",
    "know knows knew known knowing",
)
"""Verbs that need a person as object."""
DOING_THINGS: tuple[tuple[Verb, tuple[Noun, ...]], ...] = tuple(
    zip(
        _verbs(
            "write writes wrote written writing",
            "steal steals stole stolen stealing",
            "draw draws drew drawn drawing",
            "break breaks broke broken breaking",
            "choose chooses chose chosen choosing",
            "hide hides hid hidden hiding",
            "wear wears wore worn wearing",
            "eat eats ate eaten eating",
            "throw throws threw thrown throwing",
            "forget forgets forgot forgotten forgetting",
            "drive drives drove driven driving",
            "ride rides rode ridden riding",
        ),
        (
            _nouns("letter poem report song story/stories"),
            _nouns("wallet bicycle painting necklace ring"),
            _nouns("map portrait picture plan circle"),
            _nouns("vase window plate mirror cup"),
            _nouns("gift carpet lamp curtain prize"),
            _nouns("key coin letter box/boxes bottle"),
            _nouns("coat hat scarf/scarves jacket sweater"),
            _nouns("sandwich/sandwiches apple pear cake cookie"),
            _nouns("ball stone stick pillow snowball"),
            _nouns("passport umbrella password ticket address/addresses"),
            _nouns("truck bus/buses taxi tractor van"),
            _nouns("horse camel donkey pony/ponies scooter"),
        ),
        strict=True,
    )
)
"""Verbs whose past and participle differ, each with nouns that fit as its object."""
NEEDING_OBJECTS = _verbs(
    "buy buys bought bought buying",
    "find finds found found finding",
    "fix fixes fixed fixed fixing",
    "damage damages damaged damaged damaging",
    "make makes made made making",
    "carry carries carried carried carrying",
    "repair repairs repaired repaired repairing",
    "bring brings brought brought bringing",
    "borrow borrows borrowed borrowed borrowing",
    "mention mentions mentioned mentioned mentioning",
    "keep keeps kept kept keeping",
    "examine examines examined examined examining",
)
"""Verbs that need a thing as object."""
THINGS = _nouns(
    "book lamp chair table clock guitar camera basket blanket kettle ladder bucket suitcase bicycle radio map mirror "
    "knife/knives box/boxes toy"
)
HAPPENING = _verbs(
    "arrive arrives arrived arrived arriving",
    "laugh laughs laughed laughed laughing",
    "sleep sleeps slept slept sleeping",
    "smile smiles smiled smiled smiling",
    "vanish vanishes vanished vanished vanishing",
    "sneeze sneezes sneezed sneezed sneezing",
    "cough coughs coughed coughed coughing",
    "yawn yawns yawned yawned yawning",
    "wait waits waited waited waiting",
    "hesitate hesitates hesitated hesitated hesitating",
    "faint faints fainted fainted fainting",
    "fall falls fell fallen falling",
)
"""Verbs that never have an object."""
LASTING = tuple(verb for verb in HAPPENING if verb.base in {"laugh", "sleep", "smile", "cough", "yawn", "wait"})
ADJECTIVES = _words("old young tall famous clever lonely friendly nervous quiet wealthy tired proud polite")
PLACES = (
    "in the garden", "at the station", "near the river", "in the kitchen", "at the market", "in the library",
    "behind the church", "on the bridge", "at the airport", "in the museum", "outside the theater", "on the train",
)  # fmt: skip
TIMES = (
    "after lunch", "before the meeting", "during the storm", "in the morning", "after the concert", "on Monday",
    "before sunrise", "during the holidays", "in the evening", "after the wedding",
)  # fmt: skip
OPENERS = (
    "in fact,", "of course,", "as you know,", "by all accounts,", "the newspaper says that", "I suspect that",
    "everyone knows that", "it is obvious that", "we were told that", "to be honest,",
)  # fmt: skip
"""Openings of a declarative sentence, which do not change whether the sentence is acceptable."""


def be(plural: bool, past: bool = False) -> str:
    """Returns the form of "be" for a subject in the third person."""
    return ("were" if plural else "was") if past else ("are" if plural else "is")


def have(plural: bool) -> str:
    """Returns the present form of "have" for a subject in the third person."""
    return "have" if plural else "has"


def a(noun: str) -> str:
    """Puts the indefinite article before a noun. In this grammar the noun's first letter decides which one."""
    return ("an " if noun[0] in "aeiou" else "a ") + noun


def sentence(text: str) -> str:
    """Makes the first letter a capital, and adds a full stop unless there is a mark already."""
    text = text[0].upper() + text[1:]
    return text if text.endswith(("?", ".")) else text + "."


Group = tuple[str, ...]
"""Sentences that belong together and go into one split."""


def draw_groups(phenomena: Sequence[Callable[[Draw], Group]], draw: Draw) -> dict[str, list[Group]]:
    """Draws the groups of each split, from each phenomenon in turn. No sentence occurs twice."""
    seen: set[str] = set()
    splits: dict[str, list[Group]] = {}
    for split, count in SPLIT_GROUPS.items():
        groups: list[Group] = []
        while len(groups) < count:
            group = phenomena[len(groups) % len(phenomena)](draw)
            if seen.isdisjoint(group):
                seen.update(group)
                groups.append(group)
        splits[split] = groups
    return splits
