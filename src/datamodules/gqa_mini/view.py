"""What a description means in a scene."""

import random
from functools import lru_cache
from itertools import combinations, permutations
from typing import NamedTuple, Optional

from dact.datamodules.gqa_mini.world import CATEGORY, KIND, RELATIONS, SHARED

ANY = "_"  # the noun that fits every thing, written as GQA writes it


class Description(NamedTuple):
    """Things of a name, category or `ANY` with all values of `filters` (kind, value).

    With a relation, only those that are `relation` ("above", …) of the one thing that is `anchor`.
    """

    noun: str
    filters: tuple[tuple[str, str], ...] = ()
    relation: str | None = None
    anchor: Optional["Description"] = None

    def without_relation(self) -> "Description":
        """The same wherever it is."""
        return self._replace(relation=None, anchor=None)

    def also(self, kind: str, value: str) -> "Description":
        """The same with one more value."""
        return self._replace(filters=tuple(sorted({*self.filters, (kind, value)})))


@lru_cache(maxsize=100_000)
def wider(description: Description) -> tuple[Description, ...]:
    """All descriptions that fit whatever fits this one, itself among them."""
    noun = description.noun
    nouns = dict.fromkeys((noun, CATEGORY.get(noun, ANY), ANY))
    filters = description.filters
    subsets = [some for n in range(len(filters) + 1) for some in combinations(filters, n)]
    places = dict.fromkeys([(description.relation, description.anchor), (None, None)])
    return tuple(
        Description(n, some, *place) for n in nouns for some in subsets for place in places
    )


class Thing(NamedTuple):
    """An object of a scene graph; `values`: attribute → value."""

    key: str
    name: str
    category: str
    values: dict[str, str]


class View:
    """The things of a scene graph, by number, in the order of the graph; no backdrop."""

    def __init__(self, scene: dict) -> None:
        self.location: str = scene["location"]
        self.weather: str | None = scene.get("weather")
        graph = {key: o for key, o in scene["objects"].items() if o["name"] in CATEGORY}
        self.things = [
            Thing(key, o["name"], CATEGORY[o["name"]], {KIND[v]: v for v in o["attributes"]})
            for key, o in graph.items()
        ]
        number = {key: i for i, key in enumerate(graph)}
        # related[r] holds (i, j) when thing i is r of thing j.
        self.related: dict[str, set[tuple[int, int]]] = {name: set() for name in RELATIONS}
        for key, o in graph.items():
            for relation in o["relations"]:
                self.related[relation["name"]].add((number[key], number[relation["object"]]))
        for name in SHARED:
            self.related[name] = self._pairs_with_same(name.removeprefix("same "))
        self._found: dict[Description, tuple[int, ...]] = {}

    def _pairs_with_same(self, kind: str) -> set[tuple[int, int]]:
        """Two things, in either order, that have the same value of a kind."""
        values = [thing.values.get(kind) for thing in self.things]
        pairs = permutations(range(len(values)), 2)
        return {(i, j) for i, j in pairs if values[i] is not None and values[i] == values[j]}

    def fits(self, description: Description) -> tuple[int, ...]:
        """Numbers of the things that fit; the anchor must be one thing."""
        found = self._found.get(description)
        if found is None:
            found = self._found[description] = tuple(self._search(description))
        return found

    def _search(self, description: Description) -> list[int]:
        noun, filters, relation, anchor = description
        there = None if relation is None else self.one(anchor)
        return [
            i
            for i, thing in enumerate(self.things)
            if noun in (ANY, thing.name, thing.category)
            and all(thing.values.get(kind) == value for kind, value in filters)
            and (there is None or (i, there) in self.related[relation])
        ]

    def one(self, description: Description) -> int:
        """The one thing that fits."""
        (thing,) = self.fits(description)
        return thing

    def keys(self, description: Description) -> list[str]:
        """Object ids of the things that fit."""
        return [self.things[i].key for i in self.fits(description)]

    def plain(self, i: int, avoid: tuple[str, ...] = ()) -> list[Description]:
        """Descriptions of thing `i` alone, by at most one value and of no kind in `avoid`."""
        thing = self.things[i]
        some = [(), *(((k, v),) for k, v in thing.values.items() if k not in avoid)]
        options = [Description(noun, f) for f in some for noun in (thing.name, thing.category)]
        return [option for option in options if self.fits(option) == (i,)]


_SHORTEST = 0.5  # how often a thing is called by its bare name where that is enough
_RELATED = 0.2  # how often it is told by its place


def refer(
    view: View, i: int, rng: random.Random, avoid: tuple[str, ...] = (), related: float = _RELATED
) -> Description | None:
    """A description of thing `i` alone, if there is one, with no value of a kind in `avoid`."""
    if rng.random() < related:
        found = _refer_by_place(view, i, rng)
        if found is not None:
            return found
    options = view.plain(i, avoid)
    if options and not options[0].filters and rng.random() < _SHORTEST:
        return options[0]
    return rng.choice(options) if options else None


def _refer_by_place(view: View, i: int, rng: random.Random) -> Description | None:
    """A description that needs its relation: without it, several things would fit."""
    thing = view.things[i]
    for noun in rng.sample((thing.category, thing.name), 2):
        if len(view.fits(Description(noun))) < 2:
            continue
        for relation, j in rng.sample(_places(view, i), len(_places(view, i))):
            for anchor in view.plain(j)[:1]:
                found = Description(noun, (), relation, anchor)
                if view.fits(found) == (i,):
                    return found
    return None


def _places(view: View, i: int) -> list[tuple[str, int]]:
    """Relations of thing `i` to others."""
    others = range(len(view.things))
    return [(r, j) for r in RELATIONS for j in others if (i, j) in view.related[r]]
