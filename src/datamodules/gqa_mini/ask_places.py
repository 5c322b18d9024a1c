"""Questions about where things are."""

import random
from functools import partial

from dact.datamodules.gqa_mini.ask_objects import exist
from dact.datamodules.gqa_mini.drafts import YES_NO, Draft, Program
from dact.datamodules.gqa_mini.facts import presupposed
from dact.datamodules.gqa_mini.view import ANY, Description, View, refer
from dact.datamodules.gqa_mini.wording import article, mark, place, said, the
from dact.datamodules.gqa_mini.world import INVERSE, NAMES, RELATIONS, SHARED, SIDES

_TRIES = 8
Pair = tuple[Description, str, Description]


def neighbour(view: View, rng: random.Random) -> Draft | None:
    """As in "What is above the chair?" and "What is the dog to the left of?"."""
    for _ in range(_TRIES):
        relation, j = rng.choice(RELATIONS), rng.randrange(len(view.things))
        anchor = refer(view, j, rng, related=0)
        description = Description(ANY, (), relation, anchor)
        if anchor is not None and len(view.fits(description)) == 1:
            return at(view, rng, description)
    return None


def at(view: View, rng: random.Random, description: Description) -> Draft:
    """What the one thing is called that is in a relation."""
    subject = rng.random() < 0.5
    thing = view.things[view.one(description)]
    program = Program(view)
    program.add("query", "name", program.find(description, subject))
    anchor = the(view, description.anchor)
    wording = f"What is {place(view, description)}?"
    if not subject:
        wording = f"What is {anchor} {said(INVERSE[description.relation])}?"
    detailed = "relS" if subject else "relO"
    if description.relation in SHARED:
        detailed = "sameRelate"
    ground = presupposed(description) | {("is", description, thing.name)}
    here = description._replace(noun=thing.name)
    return Draft(
        wording,
        thing.name,
        f"{article(mark(thing.name, thing.key))} is {place(view, description)}.",
        ("query", "rel", detailed),
        f"{description.anchor.noun}_{description.relation}",
        "object",
        program.steps,
        ground,
        (ground,),
        NAMES,
        NAMES,
        thing.key,
        (partial(exist, about=here), partial(exist, about=here.without_relation())),
    )


def _pair(
    view: View, rng: random.Random, relations: tuple[str, ...] = RELATIONS, holds: bool = True
) -> Pair | None:
    """Two things and one of the relations, which holds between them or not.

    The second is called by its bare noun, as a program's step can name no more.
    """
    for _ in range(_TRIES):
        i, j = rng.sample(range(len(view.things)), 2)
        relation = rng.choice(relations)
        if ((i, j) in view.related[relation]) != holds:
            continue
        one, other = refer(view, i, rng, related=0), view.plain(j)
        if one and other and not other[0].filters:
            return one, relation, other[0]
    return None


def _more(pair: Pair) -> tuple[partial, ...]:
    one, relation, other = pair
    there = one._replace(relation=relation, anchor=other)
    more = (partial(verify_place, about=pair), partial(exist, about=there))
    if one.filters:
        return more
    back = tuple(
        partial(verify_place, about=(other, r, one)) for r in (relation, INVERSE[relation])
    )
    return more + back


def verify_place(view: View, rng: random.Random, about: Pair | None = None) -> Draft | None:
    """As in "Is the dog to the left of the chair?"."""
    pair = about or _pair(view, rng, holds=rng.choice((True, False)))
    if pair is None:
        return None
    one, relation, other = pair
    holds = (view.one(one), view.one(other)) in view.related[relation]
    answer = YES_NO[not holds]
    program = Program(view)
    key = view.things[view.one(other)].key
    program.add("verify rel", f"{other.noun},{relation},o ({key})", program.find(one))
    x, y = the(view, one), the(view, other)
    ground = presupposed(one, other) | {("rel" if holds else "not rel", one, relation, other)}
    wordings = ("Is {x} {relation} {y}?", "Do you see that {x} is {relation} {y}?")
    return Draft(
        rng.choice(wordings).format(x=x, relation=relation, y=y),
        answer,
        f"{answer}, {x} is {'' if holds else 'not '}{relation} {y}.",
        ("verify", "rel", "relVerify"),
        f"{one.noun}_{relation}",
        None,
        program.steps,
        ground,
        (ground,),
        more=_more(pair),
    )


def choose_place(view: View, rng: random.Random) -> Draft | None:
    """As in "Is the dog to the left or to the right of the chair?"."""
    relations = rng.choice(tuple(SIDES))
    pair = _pair(view, rng, relations)
    if pair is None:
        return None
    one, relation, other = pair
    answer = SIDES[relations][relations.index(relation)]
    either = rng.sample(relations, 2)
    program = Program(view)
    argument = f"{other.noun},{'|'.join(either)},o ({view.things[view.one(other)].key})"
    program.add("choose rel", argument, program.find(one))
    x, y = the(view, one), the(view, other)
    ground = presupposed(one, other) | {("rel", one, relation, other)}
    return Draft(
        f"Is {x} {_or(either)} {y}?",
        answer,
        f"{x} is {relation} {y}.",
        ("choose", "rel", "relChooser"),
        f"{one.noun}_side",
        "direction",
        program.steps,
        ground,
        (ground,),
        SIDES[relations],
        SIDES[relations],
        more=_more(pair),
    )


def _or(relations: list[str]) -> str:
    """Two relations as one: "to the left or to the right of"."""
    return " or ".join(relations).replace(" of or ", " or ")
