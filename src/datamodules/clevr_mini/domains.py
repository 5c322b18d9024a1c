"""What cuts the set a question is about out of the scene: nothing, relations, a shared attribute.

Every generator yields candidate domains in random order; naming a domain costs more than looking
at its mask, so it is left to the caller to do it for the one that suits.
"""

import random
from collections.abc import Callable, Iterator
from typing import NamedTuple

from dact.datamodules.clevr_mini.attributes import ATTRIBUTES
from dact.datamodules.clevr_mini.families import Family
from dact.datamodules.clevr_mini.masks import SceneMasks
from dact.datamodules.clevr_mini.referents import Where, pick, refer, shuffled

_TRIES = 60


class Domain(NamedTuple):
    """The set a restricted question is about, as a mask, with what is needed to name it.

    `weaker`: the sets left when one relation is dropped; `anchor`: mask of the anchor of a "same"
    question; `name`: makes the restriction, or None if its anchors cannot be named.
    """

    mask: int
    weaker: tuple[int, ...]
    anchor: int
    name: Callable[[], Where | None]


def _whole_scene(view: SceneMasks, family: Family, rng: random.Random) -> Iterator[Domain]:
    yield Domain(view.full, (), 0, lambda: None)


def _by_relation(view: SceneMasks, family: Family, rng: random.Random) -> Iterator[Domain]:
    (hops,) = family.hops
    for relation, anchor in shuffled(rng, view.pairs):

        def name(relation=relation, anchor=anchor):
            referent = refer(view, anchor, hops, rng)
            return referent and Where("relate", (referent,), (relation,))

        around = view.full & ~(1 << anchor)
        yield Domain(view.related[relation][anchor], (around,), 0, name)


def _by_sharing(view: SceneMasks, family: Family, rng: random.Random) -> Iterator[Domain]:
    shared = family.shared
    for anchor in shuffled(rng, range(view.size)):

        def name(anchor=anchor):
            referent = refer(view, anchor, 0, rng, avoid=1 << shared)
            return referent and Where(f"same_{ATTRIBUTES[shared]}", (referent,))

        around = view.full & ~(1 << anchor)
        yield Domain(view.same[shared][anchor], (around,), 1 << anchor, name)


def _by_two_relations(view: SceneMasks, family: Family, rng: random.Random) -> Iterator[Domain]:
    for _ in range(_TRIES):
        (r1, a1), (r2, a2) = pick(rng, view.pairs), pick(rng, view.pairs)
        if a1 == a2:
            continue
        one, two = view.related[r1][a1], view.related[r2][a2]

        def name(a1=a1, a2=a2, relations=(r1, r2)):
            first = refer(view, a1, 0, rng)
            second = first and refer(view, a2, 0, rng)
            return second and Where("intersect", (first, second), relations)

        yield Domain(one & two, (one, two), 0, name)


DOMAINS = {
    None: _whole_scene,
    "relate": _by_relation,
    "same": _by_sharing,
    "intersect": _by_two_relations,
}
