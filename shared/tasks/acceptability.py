"""A built-in task: is an English sentence acceptable? Minimal pairs from a seeded grammar.

Each phenomenon makes a pair: an acceptable sentence and one that differs in a word or in the order of words. If a word
tells the two apart, it is right in half of the pairs and wrong in the others, so that words alone do not give the label
away.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from shared.tasks import Rows, Task
from shared.tasks.grammar import (
    ADJECTIVES,
    DOING_THINGS,
    FEMALE,
    HAPPENING,
    MALE,
    MEETING_PEOPLE,
    NAMES,
    NEEDING_OBJECTS,
    OPENERS,
    PEOPLE,
    PLACES,
    THINGS,
    TIMES,
    Draw,
    Gender,
    Group,
    Verb,
    a,
    be,
    draw_groups,
    have,
    sentence,
)

SEED = 20180531


# Agreement.


def agreement_with_be(draw: Draw) -> Group:
    plural, past = draw.chance(), draw.chance()
    ending = draw.one((*ADJECTIVES, *PLACES))
    subject = _subject(draw, plural)
    return tuple(f"{subject} {be(number, past)} {ending}" for number in (plural, not plural))


def agreement_with_verbs(draw: Draw) -> Group:
    plural = draw.chance()
    subject, verb = _subject(draw, plural), draw.one(HAPPENING)
    end = draw.one(("every day", "all the time", "a lot", "on Sundays", *PLACES))
    return tuple(f"{subject} {verb.present(number)} {end}" for number in (plural, not plural))


def _subject(draw: Draw, plural: bool) -> str:
    """Draws a plain subject, or one with a noun of the other number between its head and the verb."""
    noun, other = draw.some(PEOPLE, 2)
    verb = draw.one(MEETING_PEOPLE)
    tail = draw.one(
        (
            "",
            "",
            f" {draw.one(('near', 'behind', 'beside', 'with'))} the {other.form(not plural)}",
            f" who {verb.past} the {other.form(not plural)}",
        )
    )
    return f"the {noun.form(plural)}{tail}"


def agreement_after_there(draw: Draw) -> Group:
    plural = draw.chance()
    noun = draw.one(PEOPLE + THINGS)
    amount = draw.one(("some", "two", "several")) + " " + noun.plural if plural else a(noun.singular)
    past, place = draw.chance(), draw.one(PLACES)
    return tuple(f"there {be(number, past)} {amount} {place}" for number in (plural, not plural))


def determiners(draw: Draw) -> Group:
    plural = draw.chance()
    name, verb, place = draw.one(NAMES), draw.one(NEEDING_OBJECTS), draw.one(PLACES)
    noun = draw.one(THINGS)
    determiner = draw.one(("these", "those", "many", "both") if plural else ("this", "that", "every", "each"))
    return tuple(f"{name} {verb.past} {determiner} {noun.form(number)} {place}" for number in (plural, not plural))


# Pronouns.


def reflexive_gender(draw: Draw) -> Group:
    gender, other = draw.either(FEMALE, MALE)
    verb, end = draw.one(MEETING_PEOPLE), draw.one(("", " " + draw.one(TIMES)))
    person = _gendered(draw, gender)
    says = draw.one(("said", "believed", "thought", "claimed", "knew"))
    clause = draw.one((person, person, f"{_gendered(draw, other)} {says} that {person}"))
    return tuple(f"{clause} {verb.past} {g.reflexive}{end}" for g in (gender, other))


def reflexive_number(draw: Draw) -> Group:
    plural = draw.chance()
    gender = draw.one((FEMALE, MALE))
    subject, other = draw.some(gender.nouns, 2)
    clause = draw.one(("", "", f" who knew the {other.form(not plural)}"))
    verb, end = draw.one(MEETING_PEOPLE), draw.one(("", " " + draw.one(TIMES)))
    forms = {True: "themselves", False: gender.reflexive}
    return tuple(f"the {subject.form(plural)}{clause} {verb.past} {forms[n]}{end}" for n in (plural, not plural))


def pronoun_case(draw: Draw) -> Group:
    gender, name = draw.one((FEMALE, MALE)), draw.one(NAMES)
    adjective = draw.one(ADJECTIVES)
    verb, past = draw.one(MEETING_PEOPLE), draw.one(("believed", "expected", "considered", "found"))
    partner = f"the {draw.one(PEOPLE).singular}"
    subject_frame = draw.one(
        (
            f"{name} believed that {{}} {be(False, True)} {adjective}",
            f"{name} and {{}} {verb.past} {partner}",
            f"{partner} who {{}} {verb.past} was {adjective}",
        )
    )
    object_frame = draw.one(
        (
            f"{name} {past} {{}} to be {adjective}",
            f"{partner} {verb.past} {name} and {{}}",
            f"{name} wanted {{}} to be {adjective}",
        )
    )
    if draw.chance():
        return subject_frame.format(gender.subject), subject_frame.format(gender.object)
    return object_frame.format(gender.object), object_frame.format(gender.subject)


def relative_pronouns(draw: Draw) -> Group:
    verb = draw.one(("saw", "remembered", "mentioned", "described", "forgot", "missed"))
    name, place = draw.one(NAMES), draw.one(PLACES)
    person, thing = draw.one(PEOPLE).singular, draw.one(THINGS).singular
    head, right, wrong = draw.one(((person, "who", "which"), (thing, "which", "who")))
    end = draw.one((f"was {place}", f"had been {place}", f"is no longer {place}"))
    return tuple(f"the {head} {pronoun} {name} {verb} {end}" for pronoun in (right, wrong))


# Questions and gaps.


def inversion(draw: Draw) -> Group:
    verb, things = draw.one(DOING_THINGS)
    name, asker = draw.some(NAMES, 2)
    auxiliary, form = draw.one(_auxiliaries(verb))
    wh = draw.one(("what", f"which {draw.one(things).plural}"))
    inverted, straight = f"{wh} {auxiliary} {name} {form}", f"{wh} {name} {auxiliary} {form}"
    if draw.chance():
        return inverted + "?", straight + "?"
    main = draw.one((f"{asker} wonders", f"{asker} does not know", "nobody remembers", f"we asked {asker}"))
    return f"{main} {straight}", f"{main} {inverted}"


def fronted_auxiliary(draw: Draw) -> Group:
    person = draw.one(PEOPLE).singular
    inner, outer = draw.some(ADJECTIVES, 2)
    one, two = draw.either("is", "was")
    start = draw.one(("", "and ", "so "))
    return (
        f"{start}{two} the {person} who {one} {inner} {outer}?",
        f"{start}{two} the {person} who {inner} {one} {outer}?",
    )


def filled_gaps(draw: Draw) -> Group:
    verb, thing = draw.one(NEEDING_OBJECTS), f"the {draw.one(THINGS).singular}"
    name, knower = draw.some(NAMES, 2)
    knows = draw.one((f"{knower} knows", f"{knower} forgot", "nobody told me", f"{knower} found out"))
    end = draw.one(TIMES + PLACES)
    gap, full = f"{name} {verb.past} {end}", f"{name} {verb.past} {thing} {end}"
    if draw.chance():
        return f"{knows} what {gap}", f"{knows} what {full}"
    return f"{knows} that {full}", f"{knows} that {gap}"


def resumptive_pronouns(draw: Draw) -> Group:
    verb, thing = draw.one(NEEDING_OBJECTS), draw.one(THINGS).singular
    name, other = draw.some(NAMES, 2)
    event = draw.one(HAPPENING).past
    if draw.chance():
        end = f"{draw.one(('is', 'was'))} {draw.one(PLACES)}"
        return f"the {thing} that {name} {verb.past} {end}", f"the {thing} that {name} {verb.past} it {end}"
    end = f"before {other} {event}"
    return f"{name} saw the {thing} and {verb.past} it {end}", f"{name} saw the {thing} and {verb.past} {end}"


def adjunct_islands(draw: Draw) -> Group:
    person = f"the {draw.one(PEOPLE).singular}"
    name, other = draw.some(NAMES, 2)
    first, second = draw.some(MEETING_PEOPLE, 2)
    link = draw.one(("before", "after", "because", "while"))
    return (
        f"who did {name} {first.base} {link} {other} {second.past} {person}?",
        f"who did {name} {first.base} {person} {link} {other} {second.past}?",
    )


def subject_islands(draw: Draw) -> Group:
    person, subject = draw.some(PEOPLE, 2)
    name = draw.one(NAMES)
    inner, outer = draw.some(MEETING_PEOPLE, 2)
    wh = draw.one(("who", f"which {person.singular}"))
    return (
        f"{wh} will the {subject.singular} who {inner.third} {name} {outer.base}?",
        f"{wh} will the {subject.singular} who {inner.third} {outer.base} {name}?",
    )


def that_and_a_gap(draw: Draw) -> Group:
    name, other = draw.some(NAMES, 2)
    says, verb = draw.one(("say", "think", "claim", "believe", "suspect")), draw.one(MEETING_PEOPLE)
    return (
        f"who did {name} {says} that {other} had {verb.participle}?",
        f"who did {name} {says} that had {verb.participle} {other}?",
    )


def questions_as_complements(draw: Draw) -> Group:
    name, other = draw.some(NAMES, 2)
    event = f"{other} had {draw.one(HAPPENING).participle} {draw.one(PLACES)}"
    asks, says = draw.one(("asked", "wondered", "inquired")), draw.one(("believed", "claimed", "thought", "hoped"))
    verb, right, wrong = draw.one(((asks, "whether", "that"), (says, "that", "whether")))
    return tuple(f"{name} {verb} {word} {event}" for word in (right, wrong))


# Verbs and what they take.


def transitivity(draw: Draw) -> Group:
    name, end = draw.one(NAMES), draw.one(TIMES + PLACES)
    thing = f"the {draw.one(THINGS).singular}"
    if draw.chance():
        verb = draw.one(NEEDING_OBJECTS)
        return f"{name} {verb.past} {thing} {end}", f"{name} {verb.past} {end}"
    verb = draw.one(HAPPENING)
    return f"{name} {verb.past} {end}", f"{name} {verb.past} {thing} {end}"


def causatives(draw: Draw) -> Group:
    name, thing, end = draw.one(NAMES), f"the {draw.one(THINGS).singular}", draw.one(TIMES)
    if draw.chance():
        verb = draw.one(NEEDING_OBJECTS)
        return f"{name} {verb.past} {thing} {end}", f"{thing} {verb.past} {end}"
    happened = draw.one(("vanished", "appeared", "fell", "disappeared", "arrived", "remained"))
    return f"{thing} {happened} {end}", f"{name} {happened} {thing} {end}"


def datives(draw: Draw) -> Group:
    giver, receiver = draw.some(NAMES, 2)
    if draw.chance():
        verb = draw.one(("explained", "described", "mentioned", "reported", "suggested", "announced", "revealed"))
        thing = draw.one(("the plan", "the problem", "the result", "the rule", "an idea", "the answer"))
        return f"{giver} {verb} {thing} to {receiver}", f"{giver} {verb} {receiver} {thing}"
    subject, verb, thing = draw.one(
        (
            ("the mistake", "cost", "the job"), ("the delay", "cost", "the prize"),
            ("the new machine", "saved", "hours of work"), ("the map", "saved", "a long journey"),
            (giver, "spared", "the trouble"), (giver, "envied", "the prize"), (giver, "forgave", "the debt"),
            ("the judge", "fined", "fifty dollars"), (giver, "bet", "ten dollars"),
        )
    )  # fmt: skip
    end = draw.one(TIMES)
    return f"{subject} {verb} {receiver} {thing} {end}", f"{subject} {verb} {thing} to {receiver} {end}"


def gerunds_and_infinitives(draw: Draw) -> Group:
    name = draw.one(NAMES)
    verb, things = draw.one(DOING_THINGS)
    thing = f"{draw.one(('the', 'that'))} {draw.one(things).singular}"
    gerund, infinitive = f"{verb.gerund} {thing}", f"to {verb.base} {thing}"
    if draw.chance():
        main = draw.one(("enjoyed", "avoided", "admitted", "denied", "imagined", "suggested", "kept", "gave up"))
        return f"{name} {main} {gerund}", f"{name} {main} {infinitive}"
    main = draw.one(("wanted", "hoped", "decided", "refused", "agreed", "offered", "managed", "promised"))
    return f"{name} {main} {infinitive}", f"{name} {main} {gerund}"


def raising(draw: Draw) -> Group:
    gender = draw.one((FEMALE, MALE))
    name, adjective = draw.one(gender.names), draw.one(ADJECTIVES)
    clause = draw.one(
        (f"was {adjective}", f"had {draw.one(HAPPENING).participle}", f"knew the {draw.one(PEOPLE).singular}")
    )
    personal = f"{name} {{}} that {gender.subject} {clause}"
    impersonal = f"it {{}} to {name} that {gender.subject} {clause}"
    if draw.chance():
        verb = draw.one(("hoped", "believed", "claimed", "remembered", "insisted", "feared"))
        return personal.format(verb), impersonal.format(verb)
    verb = draw.one(("seemed", "appeared", "occurred", "mattered"))
    return impersonal.format(verb), personal.format(verb)


def expletive_there(draw: Draw) -> Group:
    noun = a(draw.one(PEOPLE).singular)
    place = draw.one(PLACES)
    there, plain = f"there {{}} to be {noun} {place}", f"{noun} {{}} to be {place}"
    if draw.chance():
        verb = draw.one(("hoped", "tried", "wanted", "refused", "decided", "promised"))
        return plain.format(verb), there.format(verb)
    verb = draw.one(("seemed", "appeared", "happened", "was likely", "was certain"))
    return there.format(verb), f"there {verb} {noun} to be {place}"


def object_control(draw: Draw) -> Group:
    name, other = draw.some(NAMES, 2)
    verb, things = draw.one(DOING_THINGS)
    rest = f"{verb.base} the {draw.one(things).singular}"
    control, finite = f"{name} {{}} {other} to {rest}", f"{name} {{}} that {other} would {rest}"
    if draw.chance():
        main = draw.one(("persuaded", "forced", "encouraged", "invited", "tempted", "trained", "helped"))
        return control.format(main), finite.format(main)
    main = draw.one(("hoped", "said", "dreamed", "agreed", "insisted", "replied"))
    return finite.format(main), control.format(main)


def verb_forms(draw: Draw) -> Group:
    verb, things = draw.one(DOING_THINGS)
    name, thing, end = draw.one(NAMES), f"the {draw.one(things).singular}", draw.one(("", " " + draw.one(TIMES)))
    auxiliary, right, wrong = draw.one(
        (
            ("has ", verb.participle, verb.past), ("", verb.past, verb.participle),
            ("did not ", verb.base, verb.past), ("", verb.past, verb.base),
            ("was ", verb.gerund, verb.base), ("will ", verb.base, verb.gerund),
            ("had ", verb.participle, verb.base), ("could ", verb.base, verb.participle),
        )
    )  # fmt: skip
    return tuple(f"{name} {auxiliary}{form} {thing}{end}" for form in (right, wrong))


def passives(draw: Draw) -> Group:
    verb, things = draw.one(DOING_THINGS)
    thing, person = f"the {draw.one(things).singular}", f"the {draw.one(PEOPLE).singular}"
    end = draw.one(("", " " + draw.one(TIMES)))
    if draw.chance():
        return f"{thing} was {verb.participle} by {person}{end}", f"{thing} {verb.participle} by {person} was{end}"
    return f"{person} {verb.past} {thing}{end}", f"{person} was {verb.past} {thing}{end}"


# Negation and ellipsis.


def negative_polarity(draw: Draw) -> Group:
    first, second = draw.some(PEOPLE, 2)
    verb, event = draw.one(MEETING_PEOPLE), draw.one(HAPPENING)
    plural = draw.chance()
    one, two = first.form(plural), second.form(draw.chance())
    frame = draw.one(
        (
            f"{{}} {one} that {{}} {two} {verb.past} {have(plural)} ever {event.participle}",
            f"{{}} {one} that {{}} {two} {verb.past} {have(plural)} {event.participle} yet",
            f"{{}} {one} that {{}} {two} {verb.past} {be(plural, True)} {draw.one(ADJECTIVES)} at all",
        )
    )
    return frame.format("no", "the"), frame.format("the", "no")


def negation(draw: Draw) -> Group:
    verb, things = draw.one(DOING_THINGS)
    name, thing = draw.one(NAMES), f"the {draw.one(things).singular}"
    auxiliary, form = draw.one(_auxiliaries(verb))
    end = draw.one(("", " " + draw.one(TIMES)))
    return f"{name} {auxiliary} not {form} {thing}{end}", f"{name} not {auxiliary} {form} {thing}{end}"


def gapping(draw: Draw) -> Group:
    verb, things = draw.one(DOING_THINGS)
    one, two = (a(noun.singular) for noun in draw.some(things, 2))
    name, other = draw.some(NAMES, 2)
    link = draw.one(("because", "although", "when", "after"))
    gap, full = f"{other} {two}", f"{other} {verb.past} {two}"
    if draw.chance():
        return f"{name} {verb.past} {one}, and {gap}", f"{name} {verb.past} {one} {link} {gap}"
    return f"{name} {verb.past} {one} {link} {full}", f"{name} {verb.past} {one} {link} {other} {two} {verb.past}"


# Order of words, degrees.


def adverbs(draw: Draw) -> Group:
    verb, things = draw.one(DOING_THINGS)
    name, thing = draw.one(NAMES), f"the {draw.one(things).singular}"
    adverb = draw.one(("often", "never", "always", "quickly", "carefully", "probably", "secretly", "rarely"))
    form = draw.one((verb.past, verb.third))
    return f"{name} {adverb} {form} {thing}", f"{name} {form} {adverb} {thing}"


def floating_quantifiers(draw: Draw) -> Group:
    noun, verb = draw.one(PEOPLE).plural, draw.one(HAPPENING)
    quantifier, end = draw.one(("all", "both", "each")), draw.one(PLACES)
    auxiliary, form = draw.one((("have", verb.participle), ("will", verb.base), ("were", verb.gerund)))
    return f"the {noun} {auxiliary} {quantifier} {form} {end}", f"the {noun} {auxiliary} {form} {quantifier} {end}"


def particles(draw: Draw) -> Group:
    name, end = draw.one(NAMES), draw.one(TIMES + PLACES)
    verb, particle = draw.one(
        (
            ("picked", "up"), ("threw", "away"), ("turned", "off"), ("put", "down"), ("wrote", "down"),
            ("took", "out"), ("gave", "back"), ("handed", "over"), ("cleaned", "up"), ("looked", "up"),
            ("sent", "back"), ("tried", "on"),
        )
    )  # fmt: skip
    pronoun = draw.one(("it", "them"))
    return f"{name} {verb} {pronoun} {particle} {end}", f"{name} {verb} {particle} {pronoun} {end}"


def enough(draw: Draw) -> Group:
    adjective, name = draw.one(ADJECTIVES), draw.one(NAMES)
    verb, things = draw.one(DOING_THINGS)
    rest = f"to {verb.base} the {draw.one(things).singular}"
    copula = draw.one(("is", "was", "is not", "seems"))
    return f"{name} {copula} {adjective} enough {rest}", f"{name} {copula} enough {adjective} {rest}"


def so_and_such(draw: Draw) -> Group:
    adjective, person, verb = draw.one(ADJECTIVES), draw.one(PEOPLE).singular, draw.one(MEETING_PEOPLE)
    result = f"that {draw.one(NAMES)} {verb.past} {draw.one(('her', 'him'))}"
    bare, full = f"the {person} was {{}} {adjective} {result}", f"it was {{}} {a(adjective)} {person} {result}"
    if draw.chance():
        return bare.format("so"), bare.format("such")
    return full.format("such"), full.format("so")


def comparison(draw: Draw) -> Group:
    name, other = draw.some(NAMES, 2)
    adjective = draw.one(ADJECTIVES)
    more = {"old": "older", "young": "younger", "tall": "taller", "clever": "cleverer", "proud": "prouder"}
    degree = more.get(adjective, f"more {adjective}")
    verb = draw.one(("is", "was", "seems", "looks"))
    end = draw.one(("", " " + draw.one(TIMES)))
    if draw.chance():
        return f"{name} {verb} {degree} than {other}{end}", f"{name} {verb} {degree} as {other}{end}"
    return f"{name} {verb} as {adjective} as {other}{end}", f"{name} {verb} as {adjective} than {other}{end}"


PHENOMENA = (
    agreement_with_be, agreement_with_verbs, agreement_after_there, determiners, reflexive_gender, reflexive_number,
    pronoun_case, relative_pronouns, inversion, fronted_auxiliary, filled_gaps, resumptive_pronouns, adjunct_islands,
    subject_islands, that_and_a_gap, questions_as_complements, transitivity, causatives, datives,
    gerunds_and_infinitives, raising, expletive_there, object_control, verb_forms, passives, negative_polarity,
    negation, gapping, adverbs, floating_quantifiers, particles, enough, so_and_such, comparison,
)  # fmt: skip


def _gendered(draw: Draw, gender: Gender) -> str:
    return draw.one(gender.names) if draw.chance() else f"the {draw.one(gender.nouns).singular}"


def _auxiliaries(verb: Verb) -> tuple[tuple[str, str], ...]:
    """Auxiliaries of a singular subject, each with the verb's form that follows it."""
    return ("has", verb.participle), ("should", verb.base), ("will", verb.base), ("is", verb.gerund)


def group(phenomenon: Callable[[Draw], Group], draw: Draw) -> Group:
    """Draws an acceptable and an unacceptable sentence of a phenomenon."""
    right, wrong = phenomenon(draw)
    opener = draw.one(OPENERS) + " " if not right.endswith("?") and draw.chance(0.3) else ""
    return sentence(opener + right), sentence(opener + wrong)


def load(data_dir: Path | None) -> dict[str, Rows]:
    """Makes the splits, the same each time. `data_dir` is not used."""
    draw = Draw(SEED)
    splits = draw_groups([partial(group, phenomenon) for phenomenon in PHENOMENA], draw)
    return {split: _rows(groups, draw) for split, groups in splits.items()}


def _rows(groups: list[Group], draw: Draw) -> Rows:
    labelled = [(text, label) for right, wrong in groups for text, label in ((right, 1), (wrong, 0))]
    texts, labels = zip(*draw.some(labelled, len(labelled)), strict=True)
    return Rows(list(texts), None, list(labels))


TASK = Task(
    "acceptability",
    ("unacceptable", "acceptable"),
    pair=False,
    metrics=("accuracy", "mcc", "f1"),
    load=load,
    built_in=True,
    about="is the sentence acceptable English?",
    counts={"train": 6000, "dev": 500, "test": 500},
)
