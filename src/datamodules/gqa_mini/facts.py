"""What questions with their answers say, and which questions follow from that.

A fact is a tuple that begins with its kind:

- ("some", d), ("none", d), ("one", d): how many things fit description d;
- ("has", d, kind, value), ("lacks", d, kind, value): of the one thing that d means;
- ("is", d, name), ("is not", d, name): what that thing is called;
- ("rel", a, relation, b), ("not rel", a, relation, b): of two such things;
- ("same", kind, {a, b}), ("differ", kind, {a, b}): whether they share a value;
- ("in", location), ("sky", weather), ("not sky", weather): of the whole scene.

A question *presupposes* that each of its definite phrases means one thing. What it *states* with
its answer is closed under the rules below; another question follows when all that one of its
*grounds* holds is stated. Both sides name things by description: "the dog" and "the brown animal"
may be one and the same in a scene, but nothing follows from that.
"""

from collections.abc import Iterable, Iterator
from functools import lru_cache

from dact.datamodules.gqa_mini.view import Description, wider
from dact.datamodules.gqa_mini.world import CATEGORIES, INVERSE, LOCATIONS, VALUES, WEATHERS

Fact = tuple
Facts = frozenset


def close(facts: Iterable[Fact]) -> Facts:
    """All that follows from `facts` by the rules."""
    closed: set[Fact] = set()
    todo = list(facts)
    while todo:
        fact = todo.pop()
        if fact not in closed:
            closed.add(fact)
            todo.extend(_consequences(fact))
    return Facts(closed)


def follows(grounds: Iterable[Facts], stated: Facts) -> bool:
    """Whether all facts of one of the `grounds` are `stated`."""
    return any(all(_holds(fact, stated) for fact in ground) for ground in grounds)


def presupposed(*descriptions: Description) -> Facts:
    """That each description and its anchors mean one thing."""
    facts = set()
    for description in descriptions:
        some: Description | None = description
        while some is not None:
            facts.add(("one", some))
            some = some.anchor
    return Facts(facts)


def anchored(description: Description) -> Facts:
    """That the anchors of a description mean one thing each; what fits itself is left open."""
    return presupposed(description.anchor) if description.anchor else Facts()


def _holds(fact: Fact, stated: Facts) -> bool:
    if fact[0] == "none":
        return any(("none", general) in stated for general in wider(fact[1]))
    return fact in stated


@lru_cache(maxsize=100_000)
def _consequences(fact: Fact) -> tuple[Fact, ...]:
    return tuple(_RULES[fact[0]](*fact[1:]) if fact[0] in _RULES else ())


def _from_some(description: Description) -> Iterator[Fact]:
    for general in wider(description):
        yield "some", general


def _from_one(description: Description) -> Iterator[Fact]:
    yield "some", description
    if description.anchor is not None:
        yield "one", description.anchor


def _from_has(description: Description, kind: str, value: str) -> Iterator[Fact]:
    yield "some", description.also(kind, value)
    for other in VALUES[kind]:
        if other != value:
            yield "lacks", description, kind, other


def _from_lacks(description: Description, kind: str, value: str) -> Iterator[Fact]:
    others = [other for other in VALUES[kind] if other != value]
    if len(others) == 1:
        yield "has", description, kind, others[0]


def _from_is(description: Description, name: str) -> Iterator[Fact]:
    yield "some", description._replace(noun=name)
    for names in CATEGORIES.values():
        for other in names:
            if other != name:
                yield "is not", description, other


def _from_relation(one: Description, relation: str, other: Description) -> Iterator[Fact]:
    back = INVERSE[relation]
    yield "rel", other, back, one
    if back != relation:
        yield "not rel", one, back, other
    if one.relation is None:
        yield "some", one._replace(relation=relation, anchor=other)


def _from_no_relation(one: Description, relation: str, other: Description) -> Iterator[Fact]:
    yield "not rel", other, INVERSE[relation], one


def _from_location(location: str) -> Iterator[Fact]:
    for other in LOCATIONS:
        if other != location:
            yield "not in", other


def _from_weather(weather: str) -> Iterator[Fact]:
    yield "in", "outdoors"
    for other in WEATHERS:
        if other != weather:
            yield "not sky", other


def _from_no_weather(weather: str) -> Iterator[Fact]:
    yield "in", "outdoors"  # only there is the weather spoken of


_RULES = {
    "some": _from_some,
    "one": _from_one,
    "has": _from_has,
    "lacks": _from_lacks,
    "is": _from_is,
    "rel": _from_relation,
    "not rel": _from_no_relation,
    "in": _from_location,
    "sky": _from_weather,
    "not sky": _from_no_weather,
}
