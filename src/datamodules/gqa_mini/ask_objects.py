"""Questions about what there is, and what it is called."""

import random
from functools import partial

from dact.datamodules.gqa_mini.ask_attributes import possible
from dact.datamodules.gqa_mini.drafts import YES_NO, Draft, Program
from dact.datamodules.gqa_mini.facts import Facts, anchored, presupposed
from dact.datamodules.gqa_mini.view import Description, View, refer
from dact.datamodules.gqa_mini.wording import article, looks, phrase, place, the
from dact.datamodules.gqa_mini.world import CATEGORIES, NAMES, RELATIONS

_TRIES = 8
_EXIST = (
    "Is there {a}?",
    "Are there any {some}?",
    "Do you see {a}?",
    "Do you see any {some} in the image?",
)
_BOTH = ("Is there both {a} and {b}?", "Are there both {some} and {others}?")
_EITHER = ("Is there either {a} or {b}?", "Are there any {some} or {others}?")


def a(view: View, description: Description) -> str:
    """The indefinite phrase."""
    return article(phrase(view, description))


def exist(view: View, rng: random.Random, about: Description | None = None) -> Draft | None:
    """As in "Is there a brown dog?"."""
    description = about or _perhaps(view, rng)
    if description is None:
        return None
    answer = "yes" if view.fits(description) else "no"
    program = Program(view)
    program.exist(description)
    one = a(view, description)
    some = phrase(view, description, plural=True)
    full = f"yes, there is {one}." if answer == "yes" else f"no, there are no {some}."
    fact = ("some" if answer == "yes" else "none", description)
    ground = anchored(description) | {fact}
    semantic, detailed = "obj", "exist"
    if description.relation is not None:
        semantic, detailed = "rel", "existRelS"
    elif description.filters:
        detailed = "existAttr"
    return Draft(
        rng.choice(_EXIST).format(a=one, some=some),
        answer,
        full,
        ("verify", semantic, detailed),
        f"{description.noun}_exist",
        None,
        program.steps,
        ground,
        (ground,),
        more=tuple(partial(exist, about=other) for other in _others(description)),
    )


def _others(description: Description) -> list[Description]:
    """Wider descriptions that are worth a question."""
    plain = description.without_relation()
    return [some for some in (plain, plain._replace(filters=())) if some != description]


def _perhaps(view: View, rng: random.Random, answer: str | None = None) -> Description | None:
    """A description of some things or, as often, of none; with an `answer`, of what it says.

    It is a bare noun or a noun with a value; without an `answer`, it may have a place instead.
    """
    wanted = answer or rng.choice(YES_NO)
    for _ in range(_TRIES):
        noun = rng.choice(NAMES) if rng.random() < 0.8 else rng.choice(tuple(CATEGORIES))
        if wanted == "yes":
            thing = rng.choice(view.things)
            noun = thing.name if noun in NAMES else thing.category
        description = Description(noun)
        if rng.random() < 0.35:
            kind = rng.choice(("color", "size"))
            description = description.also(kind, rng.choice(possible(description, kind)))
        elif answer is None and rng.random() < 0.4:
            j = rng.randrange(len(view.things))
            anchor = refer(view, j, rng, related=0)
            description = Description(noun, (), rng.choice(RELATIONS), anchor)
            if anchor is None:
                continue
        if bool(view.fits(description)) == (wanted == "yes"):
            return description
    return None


def either(view: View, rng: random.Random) -> Draft | None:
    """As in "Are there both dogs and cats?" and "Is there a dog or a cat?"."""
    operation, answer = rng.choice(("and", "or")), rng.choice(YES_NO)
    # What decides is one that is there for "or", one that is not for "and".
    decisive = "yes" if operation == "or" else "no"
    parts = [decisive if answer == decisive else "no" if operation == "or" else "yes"]
    parts.append(rng.choice(YES_NO) if answer == decisive else parts[0])
    rng.shuffle(parts)
    two = [_perhaps(view, rng, part) for part in parts]
    if None in two or two[0].noun == two[1].noun:
        return None
    return _either(view, rng, operation, answer, two)


def _either(
    view: View, rng: random.Random, operation: str, answer: str, two: list[Description]
) -> Draft:
    program = Program(view)
    program.add(operation, "", *[program.exist(one) for one in two])
    facts = [Facts({("some" if view.fits(one) else "none", one)}) for one in two]
    if (operation, answer) in (("and", "yes"), ("or", "no")):
        stated = facts[0] | facts[1]
        grounds: tuple[Facts, ...] = (stated,)
    else:
        decisive = "some" if operation == "or" else "none"
        stated = Facts()
        grounds = tuple(Facts({(decisive, one)}) for one in two)
    first, second = (a(view, one) for one in two)
    some, others = (phrase(view, one, plural=True) for one in two)
    head = "there is" if answer == "yes" else "there is not"
    link = f"both {first} and {second}" if operation == "and" else f"{first} or {second}"
    wording = rng.choice(_BOTH if operation == "and" else _EITHER)
    return Draft(
        wording.format(a=first, b=second, some=some, others=others),
        answer,
        f"{answer}, {head} {link}.",
        ("logical", "obj", "existAnd" if operation == "and" else "existOr"),
        f"{operation}_exist",
        None,
        program.steps,
        stated,
        grounds,
        more=tuple(partial(exist, about=one) for one in two),
    )


def name(view: View, rng: random.Random, about: Description | None = None) -> Draft | None:
    """As in "What kind of animal is brown?" and "Which animal is to the left of the chair?"."""
    description = about or _unnamed(view, rng)
    if description is None:
        return None
    thing = view.things[view.one(description)]
    program = Program(view)
    program.add("query", "name", program.find(description))
    is_some = f"is {_rest(view, description)}"
    wording = rng.choice(("What kind of {category} {rest}?", "Which {category} {rest}?"))
    ground = presupposed(description) | {("is", description, thing.name)}
    names = CATEGORIES[description.noun]
    return Draft(
        wording.format(category=description.noun, rest=is_some),
        thing.name,
        f"{the(view, description)} is {article(thing.name)}.",
        *_name_types("query", description),
        description.noun,
        program.steps,
        ground,
        (ground,),
        names,
        _likely(description, names),
        thing.key,
        _named(description, thing.name),
    )


def choose_name(view: View, rng: random.Random, about: Description | None = None) -> Draft | None:
    """As in "What kind of animal is brown, a dog or a cat?"."""
    description = about or _unnamed(view, rng)
    if description is None:
        return None
    thing = view.things[view.one(description)]
    decoy = rng.choice([n for n in CATEGORIES[description.noun] if n != thing.name])
    options = tuple(rng.sample((thing.name, decoy), 2))
    first, second = map(article, options)
    program = Program(view)
    program.add("choose name", "|".join(options), program.find(description))
    wordings = (
        f"What kind of {description.noun} is {_rest(view, description)}, {first} or {second}?",
        f"Is {the(view, description)} {first} or {second}?",
    )
    ground = presupposed(description) | {("is", description, thing.name)}
    return Draft(
        rng.choice(wordings),
        thing.name,
        f"{the(view, description)} is {article(thing.name)}.",
        *_name_types("choose", description),
        description.noun,
        program.steps,
        ground,
        (ground,),
        options,
        options,
        thing.key,
        _named(description, thing.name),
    )


def _unnamed(view: View, rng: random.Random) -> Description | None:
    """A category with at most one value or relation, that fits one thing."""
    for _ in range(_TRIES):
        i = rng.randrange(len(view.things))
        found = refer(view, i, rng, related=0.5)
        if found is not None and found.noun in CATEGORIES:
            return found
    return None


def _rest(view: View, description: Description) -> str:
    """What is said of the things besides their noun, as it follows "is"."""
    if description.relation is not None:
        return place(view, description)
    return " and ".join(looks(*pair) for pair in description.filters) or "in the image"


def _name_types(structural: str, description: Description) -> tuple[tuple[str, str, str], str]:
    """Types and local group."""
    how = "Rel" if description.relation else "Attr" if description.filters else ""
    kind = description.filters[0][0] if description.filters else how.lower() or "alone"
    detailed = f"category{how}{'Choose' if structural == 'choose' else ''}"
    semantic = "rel" if description.relation else "cat"
    return (structural, semantic, detailed), f"{description.noun}_{kind}"


def _likely(description: Description, names: tuple[str, ...]) -> tuple[str, ...]:
    """Names whose things may have the described values."""
    return tuple(
        some
        for some in names
        if all(v in possible(Description(some), k) for k, v in description.filters)
    )


def _named(description: Description, found: str) -> tuple[partial, ...]:
    here = description._replace(noun=found)
    return (
        partial(exist, about=here),
        partial(exist, about=here.without_relation()),
        partial(choose_name, about=description),
        partial(name, about=description),
    )
