"""Referring expressions that point at exactly one object, possibly by way of others.

"the ball behind the red cube" is Referent("ball", "behind", Referent("red cube")). The final set
that a question is about is cut out of the scene by a `Where`.
"""

import random
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Optional, TypeVar

from dact.datamodules.clevr_mini.attributes import LENGTHS
from dact.datamodules.clevr_mini.masks import SceneMasks

T = TypeVar("T")


class Referent(NamedTuple):
    """One object: the only one that fits `description` and stands in `relation` to `anchor`."""

    description: int
    relation: int | None = None
    anchor: Optional["Referent"] = None


class Where(NamedTuple):
    """A restriction of the scene: `function` of one anchor, or "intersect" of two relations.

    `function`: "relate", "same_size" … or "intersect"; `relations`: numbers into RELATIONS, one
    per anchor (none for "same_…").
    """

    function: str
    anchors: tuple[Referent, ...]
    relations: tuple[int, ...] = ()


def pick(rng: random.Random, options: Sequence[T]) -> T:
    """`rng.choice` in a third of the time."""
    return options[int(rng.random() * len(options))]


def pick_short(rng: random.Random, descriptions: Sequence[int], draws: int = 3) -> int:
    """A random description, the shortest of a few draws: people do not say more than they must."""
    return min((pick(rng, descriptions) for _ in range(draws)), key=LENGTHS.__getitem__)


def shuffled(rng: random.Random, options: Sequence[T]) -> Iterator[T]:
    """The options in random order, shuffled only as far as they are asked for."""
    rest = list(options)
    while rest:
        place = int(rng.random() * len(rest))
        rest[place], rest[-1] = rest[-1], rest[place]
        yield rest.pop()


def refer(
    view: SceneMasks, thing: int, hops: int, rng: random.Random, avoid: int = 0, used: int = 0
) -> Referent | None:
    """A referent of object `thing` through `hops` relations, or None if there is none.

    Attributes with a bit in `avoid` are not named in its own description; objects with a bit in
    `used` do not serve as anchors. Without any one relation the description would fit several
    objects, so that none can be left out.
    """
    target = 1 << thing
    if hops == 0:
        options = [d for mask, ds in view.groups(avoid) if mask == target for d in ds]
        return Referent(pick_short(rng, options)) if options else None
    used |= target
    for relation, anchor in shuffled(rng, view.pairs):
        domain = view.related[relation][anchor]
        if not domain & target or used >> anchor & 1:
            continue
        around = view.full & ~(1 << anchor)
        options = [
            d
            for mask, ds in view.groups(avoid)
            if mask & domain == target and mask & around != target
            for d in ds
        ]
        if not options:
            continue
        inner = refer(view, anchor, hops - 1, rng, 0, used)
        if inner is not None:
            return Referent(pick_short(rng, options), relation, inner)
    return None
