"""A built-in task: do two English sentences say the same? Pairs from a seeded grammar.

Each phenomenon has two meanings with similar words, and several ways of saying each, the plain one first. One meaning
said plainly is compared with the same meaning said in another way, and with the other meaning said in that way. So
neither a word nor a way of saying it gives the label away.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from shared.tasks import Rows, Task
from shared.tasks.grammar import (
    DOING_THINGS,
    HAPPENING,
    LASTING,
    MEETING_PEOPLE,
    NAMES,
    PEOPLE,
    PLACES,
    THINGS,
    TIMES,
    Draw,
    Group,
    a,
    draw_groups,
    sentence,
)

SEED = 20050104
Renderings = list[tuple[str, str]]
"""Ways of saying two meanings, the plain way first. Each entry says both meanings in one way."""
Phenomenon = Callable[[Draw], Renderings]
Contrast = tuple[tuple[str, str], tuple[str, str]]
"""Two words of one meaning, and two words of another, which is contrary or similar."""
NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


def _swapped(one: str, other: str, *ways: str) -> Renderings:
    """Fills {x} and {y} of each way with the two names, and with the names swapped."""
    return [(way.format(x=one, y=other), way.format(x=other, y=one)) for way in ways]


# One or several details differ.


def events(draw: Draw) -> Renderings:
    """Draws two events that share the person, the place or time, or nothing."""
    one, other = _event(draw), _event(draw)
    same = draw.one(({}, {"person": one["person"]}, {"end": one["end"]}))
    return _told(one, other | same)


def things(draw: Draw) -> Renderings:
    verb, objects = draw.one(DOING_THINGS)
    event = _event(draw) | {"verb": verb}
    one, other = (noun.singular for noun in draw.some(objects, 2))
    return _told(event | {"thing": f"the {one}"}, event | {"thing": f"the {other}"})


def numbers(draw: Draw) -> Renderings:
    verb, objects = draw.one(DOING_THINGS)
    event = _event(draw) | {"verb": verb}
    noun = draw.one(objects).plural
    one, other = draw.some(range(1, len(NUMBERS)), 2)
    words = _told(event | {"thing": f"{NUMBERS[one]} {noun}"}, event | {"thing": f"{NUMBERS[other]} {noun}"})
    figures = _told(event | {"thing": f"{one + 1} {noun}"}, event | {"thing": f"{other + 1} {noun}"})
    return [draw.one(ways) for ways in zip(words, figures, strict=True)]


def _event(draw: Draw) -> dict[str, Any]:
    verb, objects = draw.one(DOING_THINGS)
    return {
        "person": _person(draw),
        "verb": verb,
        "thing": f"the {draw.one(objects).singular}",
        "end": draw.one(PLACES + TIMES),
    }


def _told(one: dict[str, Any], other: dict[str, Any]) -> Renderings:
    """Tells two events in every way."""
    ways = (
        "{person} {verb.past} {thing} {end}",
        "{end} {person} {verb.past} {thing}",
        "it was {person} who {verb.past} {thing} {end}",
        "it was {thing} that {person} {verb.past} {end}",
        "what {person} {verb.past} {end} was {thing}",
    )
    return [(way.format(**one), way.format(**other)) for way in ways]


# Who did what to whom, and when.


def voice(draw: Draw) -> Renderings:
    x, y = _two_people(draw)
    verb = draw.one(MEETING_PEOPLE)
    return _swapped(
        x, y,
        f"{{x}} {verb.past} {{y}}",
        f"{{y}} was {verb.participle} by {{x}}",
        f"it was {{x}} who {verb.past} {{y}}",
        f"it was {{y}} who was {verb.participle} by {{x}}",
        f"{{x}} was the one who {verb.past} {{y}}",
        f"the one that {{x}} {verb.past} was {{y}}",
    )  # fmt: skip


def transfer(draw: Draw) -> Renderings:
    x, y = _two_people(draw)
    thing = draw.one(THINGS).singular
    verb, participle, back = draw.one(
        (
            ("gave", "given", "got the {thing} from"), ("sold", "sold", "bought the {thing} from"),
            ("lent", "lent", "borrowed the {thing} from"), ("handed", "handed", "took the {thing} from"),
            ("sent", "sent", "received the {thing} from"),
        )
    )  # fmt: skip
    return _swapped(
        x, y,
        f"{{x}} {verb} {{y}} the {thing}",
        f"{{x}} {verb} the {thing} to {{y}}",
        f"{{y}} was {participle} the {thing} by {{x}}",
        f"the {thing} was {participle} to {{y}} by {{x}}",
        f"{{y}} {back.format(thing=thing)} {{x}}",
    )  # fmt: skip


def comparison(draw: Draw) -> Renderings:
    x, y = _two_people(draw)
    more, less, one, other = draw.one(
        (
            ("older", "younger", "old", "young"), ("taller", "shorter", "tall", "short"),
            ("richer", "poorer", "rich", "poor"), ("faster", "slower", "fast", "slow"),
            ("stronger", "weaker", "strong", "weak"), ("happier", "sadder", "happy", "sad"),
        )
    )  # fmt: skip
    return _swapped(
        x, y,
        f"{{x}} is {more} than {{y}}",
        f"{{y}} is {less} than {{x}}",
        f"{{y}} is not as {one} as {{x}}",
        f"{{x}} is not as {other} as {{y}}",
    )  # fmt: skip


def before_and_after(draw: Draw) -> Renderings:
    x, y = _two_events(draw)
    return _swapped(
        x, y,
        "{x} before {y}",
        "{y} after {x}",
        "before {y}, {x}",
        "after {x}, {y}",
        "first {x}, and then {y}",
    )  # fmt: skip


# Negation, quantity, modality.


def negation(draw: Draw) -> Renderings:
    event = _event(draw)
    did, do = "{verb.past} {thing} {end}".format(**event), "{verb.base} {thing} {end}".format(**event)
    person = event["person"]
    return [
        (f"{person} {did}", f"{person} did not {do}"),
        (f"it is true that {person} {did}", f"it is not true that {person} {did}"),
        (f"{person} did {do}", f"{person} never {did}"),
    ]


def still_and_no_longer(draw: Draw) -> Renderings:
    person, verb, place = _person(draw), draw.one(LASTING), draw.one(PLACES)
    return [
        (f"{person} is still {verb.gerund} {place}", f"{person} is no longer {verb.gerund} {place}"),
        (f"{person} has not stopped {verb.gerund} {place}", f"{person} has stopped {verb.gerund} {place}"),
        (f"{person} continues to {verb.base} {place}", f"{person} does not {verb.base} {place} any more"),
    ]


def negated_contraries(draw: Draw) -> Renderings:
    person, place = _person(draw), draw.one(PLACES)
    yes, no = draw.either(
        *draw.one(
            (
                ("awake", "asleep"), ("present", "absent"), ("alone", "accompanied"), ("alive", "dead"),
                ("sober", "drunk"), ("guilty", "innocent"), ("visible", "hidden"), ("safe", "in danger"),
            )
        )
    )  # fmt: skip
    return [
        (f"{person} was {yes} {place}", f"{person} was not {yes} {place}"),
        (f"{person} was not {no} {place}", f"{person} was {no} {place}"),
        (f"it is true that {person} was {yes} {place}", f"it is false that {person} was {yes} {place}"),
    ]


def with_and_without(draw: Draw) -> Renderings:
    person = _person(draw)
    verb, things = draw.one(DOING_THINGS)
    thing = f"the {draw.one(things).singular}"
    left = draw.one(("left", "went home", "fell asleep", "came back"))
    leaving = {
        "left": "leaving",
        "went home": "going home",
        "fell asleep": "falling asleep",
        "came back": "coming back",
    }
    return [
        (f"{person} {left} without {verb.gerund} {thing}", f"{person} {left} after {verb.gerund} {thing}"),
        (
            f"{person} did not {verb.base} {thing} before {leaving[left]}",
            f"{person} {verb.past} {thing} before {leaving[left]}",
        ),
        (
            f"{person} {left} and had not {verb.participle} {thing}",
            f"{person} {left} and had {verb.participle} {thing}",
        ),
    ]


def both_and_neither(draw: Draw) -> Renderings:
    x, y = _two_people(draw)
    verb, place = draw.one(HAPPENING), draw.one(PLACES)
    return [
        (f"both {x} and {y} {verb.past} {place}", f"neither {x} nor {y} {verb.past} {place}"),
        (f"{x} {verb.past} {place}, and so did {y}", f"{x} did not {verb.base} {place}, and neither did {y}"),
        (f"{y} {verb.past} {place}, and {x} did too", f"{y} did not {verb.base} {place}, and {x} did not either"),
    ]


def none_and_some(draw: Draw) -> Renderings:
    noun, verb, place = draw.one(PEOPLE), draw.one(HAPPENING), draw.one(PLACES)
    end = f"{verb.past} {place}"
    return [
        (f"no {noun.singular} {end}", f"at least one {noun.singular} {end}"),
        (f"none of the {noun.plural} {end}", f"one or more of the {noun.plural} {end}"),
        (f"not a single {noun.singular} {end}", f"there was {a(noun.singular)} who {end}"),
        (f"there was no {noun.singular} who {end}", f"not every {noun.singular} failed to {verb.base} {place}"),
    ]


def all_and_some(draw: Draw) -> Renderings:
    noun, verb, place = draw.one(PEOPLE), draw.one(HAPPENING), draw.one(PLACES)
    end, base = f"{verb.past} {place}", f"{verb.base} {place}"
    return [
        (f"every {noun.singular} {end}", f"not every {noun.singular} {end}"),
        (f"all of the {noun.plural} {end}", f"not all of the {noun.plural} {end}"),
        (f"there was no {noun.singular} who did not {base}", f"there was {a(noun.singular)} who did not {base}"),
        (f"no {noun.singular} failed to {base}", f"some {noun.singular} failed to {base}"),
    ]


def permission(draw: Draw) -> Renderings:
    person = _person(draw)
    verb, things = draw.one(DOING_THINGS)
    deed = f"{verb.base} the {draw.one(things).singular}"
    return [
        (f"{person} must not {deed}", f"{person} need not {deed}"),
        (f"{person} is not allowed to {deed}", f"{person} is not obliged to {deed}"),
        (f"{person} is forbidden to {deed}", f"{person} is free not to {deed}"),
        (f"{person} may not {deed}", f"{person} does not have to {deed}"),
    ]


# Words of the same and of the contrary meaning.


def _contrast(draw: Draw, contrasts: Sequence[Contrast]) -> tuple[str, str, str, str]:
    """Draws a word, another of the same meaning, and two words of the other meaning."""
    (one, like), (other, like_other) = draw.either(*draw.one(contrasts))
    return one, like, other, like_other


def people(draw: Draw) -> Renderings:
    return _seen(
        draw,
        (("doctor", "physician"), ("lawyer", "attorney")), (("author", "writer"), ("cook", "chef")),
        (("child", "kid"), ("adult", "grown-up")), (("thief", "robber"), ("policeman", "cop")),
        (("sailor", "seaman"), ("soldier", "fighter")), (("teacher", "instructor"), ("pupil", "student")),
    )  # fmt: skip


def objects(draw: Draw) -> Renderings:
    return _seen(
        draw,
        (("car", "automobile"), ("bicycle", "bike")), (("sofa", "couch"), ("carpet", "rug")),
        (("film", "movie"), ("photograph", "picture")), (("gift", "present"), ("prize", "award")),
        (("cellar", "basement"), ("attic", "loft")), (("stone", "rock"), ("branch", "twig")),
        (("woods", "forest"), ("lake", "pond")), (("shop", "store"), ("jail", "prison")),
    )  # fmt: skip


def _seen(draw: Draw, *contrasts: Contrast) -> Renderings:
    one, like, other, like_other = _contrast(draw, contrasts)
    person, end = _person(draw), draw.one(TIMES)
    verb = draw.one(("described", "remembered", "mentioned", "noticed", "watched", "photographed"))
    return [
        (f"{person} {verb} the {one} {end}", f"{person} {verb} the {other} {end}"),
        (f"{person} {verb} the {like} {end}", f"{person} {verb} the {like_other} {end}"),
        (f"the {like} was {verb} by {person} {end}", f"the {like_other} was {verb} by {person} {end}"),
        (f"{end} {person} {verb} the {like}", f"{end} {person} {verb} the {like_other}"),
    ]


def verbs(draw: Draw) -> Renderings:
    one, like, other, like_other = _contrast(
        draw,
        (
            (("bought", "purchased"), ("sold", "auctioned")), (("repaired", "fixed"), ("damaged", "broke")),
            (("found", "discovered"), ("lost", "misplaced")), (("hid", "concealed"), ("showed", "displayed")),
            (("lifted", "raised"), ("dropped", "lowered")), (("loved", "adored"), ("hated", "despised")),
            (("cleaned", "washed"), ("soiled", "stained")), (("accepted", "welcomed"), ("refused", "rejected")),
            (("praised", "commended"), ("criticized", "condemned")),
            (("kept", "retained"), ("discarded", "dumped")),
        ),
    )  # fmt: skip
    person, thing, end = _person(draw), f"the {draw.one(THINGS).singular}", draw.one(TIMES)
    return [
        (f"{person} {one} {thing} {end}", f"{person} {other} {thing} {end}"),
        (f"{person} {like} {thing} {end}", f"{person} {like_other} {thing} {end}"),
        (f"{end} {person} {like} {thing}", f"{end} {person} {like_other} {thing}"),
        (f"it was {person} who {like} {thing} {end}", f"it was {person} who {like_other} {thing} {end}"),
    ]


def adjectives(draw: Draw) -> Renderings:
    one, like, other, like_other = _contrast(
        draw,
        (
            (("big", "large"), ("small", "little")), (("cheap", "inexpensive"), ("expensive", "costly")),
            (("broken", "defective"), ("intact", "undamaged")), (("dirty", "filthy"), ("clean", "spotless")),
            (("strange", "odd"), ("ordinary", "normal")), (("wet", "soaked"), ("dry", "parched")),
            (("ugly", "hideous"), ("beautiful", "lovely")), (("useful", "helpful"), ("useless", "worthless")),
        ),
    )  # fmt: skip
    person, thing = _person(draw), draw.one(THINGS).singular
    return [
        (f"the {thing} that {person} has is {one}", f"the {thing} that {person} has is {other}"),
        (f"{person} has {a(like)} {thing}", f"{person} has {a(like_other)} {thing}"),
        (f"{person}'s {thing} is {like}", f"{person}'s {thing} is {like_other}"),
        (f"the {thing} {person} owns is {like}", f"the {thing} {person} owns is {like_other}"),
    ]


def adverbs(draw: Draw) -> Renderings:
    one, like, other, like_other = _contrast(
        draw,
        (
            (("often", "frequently"), ("rarely", "seldom")), (("quickly", "rapidly"), ("slowly", "without haste")),
            (("carefully", "cautiously"), ("carelessly", "recklessly")),
            (("secretly", "in secret"), ("openly", "publicly")),
            (("quietly", "without a sound"), ("noisily", "loudly")),
            (("gladly", "willingly"), ("reluctantly", "unwillingly")),
        ),
    )  # fmt: skip
    verb, objects = draw.one(DOING_THINGS)
    person, thing = _person(draw), f"the {draw.one(objects).singular}"
    return [
        (f"{person} {verb.past} {thing} {one}", f"{person} {verb.past} {thing} {other}"),
        (f"{person} {verb.past} {thing} {like}", f"{person} {verb.past} {thing} {like_other}"),
        (
            f"{thing} was {verb.participle} {like} by {person}",
            f"{thing} was {verb.participle} {like_other} by {person}",
        ),
        (f"it was {thing} that {person} {verb.past} {like}", f"it was {thing} that {person} {verb.past} {like_other}"),
    ]


PHENOMENA: tuple[Phenomenon, ...] = (
    events, events, events, things, numbers, people, objects, verbs, adjectives, adverbs, negation, negated_contraries,
    still_and_no_longer, with_and_without, both_and_neither, none_and_some, all_and_some, permission, voice, transfer,
    comparison, before_and_after,
)  # fmt: skip


def _person(draw: Draw) -> str:
    return draw.one(NAMES) if draw.chance() else f"the {draw.one(PEOPLE).singular}"


def _two_people(draw: Draw) -> tuple[str, str]:
    if draw.chance():
        one, other = draw.some(NAMES, 2)
        return one, other
    one, other = (f"the {noun.singular}" for noun in draw.some(PEOPLE, 2))
    return one, other


def _two_events(draw: Draw) -> tuple[str, str]:
    people = _two_people(draw)
    events = draw.some(HAPPENING, 2)
    one, other = (f"{person} {event.past}" for person, event in zip(people, events, strict=True))
    return one, other


def group(phenomenon: Phenomenon, draw: Draw) -> Group:
    """Draws a sentence, its paraphrase, and a sentence that says something else."""
    plain, *others = phenomenon(draw)
    second = draw.one(others)
    same, other = draw.either(0, 1)
    return sentence(plain[same]), sentence(second[same]), sentence(second[other])


def load(data_dir: Path | None) -> dict[str, Rows]:
    """Makes the splits, the same each time. `data_dir` is not used."""
    draw = Draw(SEED)
    splits = draw_groups([partial(group, phenomenon) for phenomenon in PHENOMENA], draw)
    return {split: _rows(groups, draw) for split, groups in splits.items()}


def _rows(groups: list[Group], draw: Draw) -> Rows:
    pairs = [(text, second, label) for text, *both in groups for second, label in zip(both, (1, 0), strict=True)]
    first, second, labels = zip(*draw.some(pairs, len(pairs)), strict=True)
    return Rows(list(first), list(second), list(labels))


TASK = Task(
    "paraphrase",
    ("different", "paraphrase"),
    pair=True,
    metrics=("accuracy", "mcc", "f1"),
    load=load,
    built_in=True,
    about="do the two sentences say the same?",
    counts={"train": 6000, "dev": 500, "test": 500},
)
