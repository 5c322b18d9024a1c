"""Finding a question of a given family with a given answer on a given scene.

Directed rather than by trial: the answer is chosen first, and only sets, anchors and descriptions
that lead to it are considered. Every finder returns (program, text), or None where the scene holds
no such question. Nothing found is ill-posed, and no relation in it can be left out.
"""

import random
from collections.abc import Iterator
from itertools import permutations

from dact.datamodules.clevr_mini.attributes import (
    ATTRIBUTES,
    LENGTHS,
    MENTIONS,
    NAMING,
    includes,
)
from dact.datamodules.clevr_mini.domains import DOMAINS, Domain
from dact.datamodules.clevr_mini.families import Family
from dact.datamodules.clevr_mini.masks import SceneMasks
from dact.datamodules.clevr_mini.programs import (
    Program,
    add,
    add_described,
    add_filters,
    add_referent,
    add_where,
)
from dact.datamodules.clevr_mini.referents import pick, pick_short, refer, shuffled
from dact.datamodules.clevr_mini.wording import word_equal, word_restricted, word_sets

Found = tuple[Program, str]

# Attributes named by descriptions of sets, as bits (size 1, color 2, material 4, shape 8), repeated
# by weight. Drawn before the values, so that the words used say little about the answer.
_NAMED = (2, 8, 8, 2, 1, 4, 3, 5, 9, 6, 10, 10, 12, 12, 9, 11, 14, 13)
_NAMED_OF_ALL = (2, 2, 8, 3, 6, 10, 10, 9, 12, 5, 11, 14, 13, 7)
_TRIES = 60


def find(view: SceneMasks, family: Family, answer: str, rng: random.Random) -> Found | None:
    """A question of `family` whose answer is `answer`."""
    return _FINDERS[family.method](view, family, answer, rng)


def _restricted(view: SceneMasks, family: Family, answer: str, rng: random.Random) -> Found | None:
    """Count, exist and query questions."""
    avoid = sum(1 << k for k in {family.asked, family.shared} - {None})
    describe = _DESCRIBE[family.task.partition("_")[0]]
    for domain in DOMAINS[family.restriction](view, family, rng):
        description = describe(view, family, answer, domain, avoid, rng)
        if description is None:
            continue
        where = domain.name()
        if where is None and family.restriction is not None:
            continue
        program: Program = []
        last = add_filters(program, add_where(program, where), description)
        if family.asked is not None:
            last = add(program, "unique", last)
        add(program, family.task, last)
        other = bool(domain.anchor & view.described[description])
        return program, word_restricted(family, description, where, other, rng)
    return None


def _describe_count(
    view: SceneMasks, family: Family, answer: str, domain: Domain, avoid: int, rng: random.Random
) -> int | None:
    """A description that fits `answer` objects of the domain, and more without the relation."""
    wanted, inside = int(answer), domain.mask
    if wanted > inside.bit_count():
        return None
    if not domain.weaker and not wanted:
        return _absent(view, rng)
    options = [
        d
        for mask, ds in view.groups(avoid)
        if (mask & inside).bit_count() == wanted
        and all((mask & wide).bit_count() > wanted for wide in domain.weaker)
        for d in ds
    ]
    return pick_short(rng, options, 2) if options else None


def _describe_exist(
    view: SceneMasks, family: Family, answer: str, domain: Domain, avoid: int, rng: random.Random
) -> int | None:
    """For "no" the description fits something outside, so that the relation decides."""
    inside = domain.mask
    if not domain.weaker and answer == "no":
        return _absent(view, rng)
    if answer == "yes":
        fits = [ds for mask, ds in view.groups(avoid) if mask & inside]
    else:
        fits = [
            ds
            for mask, ds in view.groups(avoid)
            if not mask & inside and all(mask & wide for wide in domain.weaker)
        ]
    named = pick(rng, _NAMED if domain.weaker else _NAMED_OF_ALL) & ~avoid
    options = [d for ds in fits for d in ds if MENTIONS[d] == named]
    return pick(rng, options) if options else None


def _describe_query(
    view: SceneMasks, family: Family, answer: str, domain: Domain, avoid: int, rng: random.Random
) -> int | None:
    """A description of one object with the asked value, of several without the relation."""
    inside = domain.mask
    targets = inside & view.holders[family.asked][answer]
    if not targets:
        return None
    options = [
        d
        for mask, ds in view.groups(avoid)
        if (only := mask & inside) & targets
        and only & (only - 1) == 0
        and all(mask & wide != only for wide in domain.weaker)
        for d in ds
    ]
    return pick_short(rng, options) if options else None


def _absent(view: SceneMasks, rng: random.Random) -> int | None:
    """A description of nothing in the scene."""
    for _ in range(_TRIES):
        description = pick(rng, NAMING[pick(rng, _NAMED_OF_ALL)])
        if not view.described[description]:
            return description
    return None


def _equal(view: SceneMasks, family: Family, answer: str, rng: random.Random) -> Found | None:
    """Whether two objects share the asked attribute. Neither is described by it."""
    asked, avoid = family.asked, 1 << family.asked
    for a, b in shuffled(rng, list(permutations(range(view.size), 2))):
        if (view.same[asked][a] >> b & 1) != (answer == "yes"):
            continue
        used = 1 << a | 1 << b
        first = refer(view, a, family.hops[0], rng, avoid, used)
        second = first and refer(view, b, family.hops[1], rng, avoid, used)
        if not second:
            continue
        program: Program = []
        sides = [
            add(program, f"query_{ATTRIBUTES[asked]}", add_referent(program, side))
            for side in (first, second)
        ]
        add(program, family.task, *sides)
        return program, word_equal(family, first, second, rng)
    return None


_COMPARISONS = {
    "equal_integer": int.__eq__,
    "less_than": int.__lt__,
    "greater_than": int.__gt__,
}


def _compare(view: SceneMasks, family: Family, answer: str, rng: random.Random) -> Found | None:
    """Which of two described sets is larger. At least one of them is not empty."""
    holds, wanted = _COMPARISONS[family.task], answer == "yes"
    for first, second in _two_sets(rng):
        a, b = view.described[first].bit_count(), view.described[second].bit_count()
        if holds(a, b) == wanted and a + b:
            program: Program = []
            sides = [
                add(program, "count", add_described(program, side)) for side in (first, second)
            ]
            add(program, family.task, *sides)
            return program, word_sets(family, first, second, rng)
    return None


def _union(view: SceneMasks, family: Family, answer: str, rng: random.Random) -> Found | None:
    """The number of objects that fit either of two descriptions."""
    for first, second in _two_sets(rng):
        if (view.described[first] | view.described[second]).bit_count() == int(answer):
            program: Program = []
            sides = [add_described(program, side) for side in (first, second)]
            add(program, "count", add(program, "union", *sides))
            return program, word_sets(family, first, second, rng)
    return None


def _two_sets(rng: random.Random) -> Iterator[tuple[int, int]]:
    """Random pairs of short descriptions, neither of which includes the other."""
    for _ in range(_TRIES):
        first, second = (pick(rng, NAMING[pick(rng, _NAMED)]) for _ in range(2))
        if LENGTHS[first] + LENGTHS[second] > 4:
            continue
        if not includes(first, second) and not includes(second, first):
            yield first, second


_FINDERS = {"restricted": _restricted, "equal": _equal, "compare": _compare, "union": _union}
_DESCRIBE = {"count": _describe_count, "exist": _describe_exist, "query": _describe_query}
