"""Questions that compare two things."""

import random
from collections.abc import Callable
from functools import partial
from itertools import permutations

from dact.datamodules.gqa_mini.ask_attributes import query
from dact.datamodules.gqa_mini.drafts import Draft, Program
from dact.datamodules.gqa_mini.facts import presupposed
from dact.datamodules.gqa_mini.view import Description, Thing, View, refer
from dact.datamodules.gqa_mini.wording import the

_SAME = {
    "color": ("Are {a} and {b} the same color?", "Do {a} and {b} have the same color?"),
    "material": (
        "Are {a} and {b} made of the same material?",
        "Is the material of {a} the same as that of {b}?",
    ),
    "size": ("Are {a} and {b} the same size?", "Do {a} and {b} have the same size?"),
}
_DIFFERENT = {
    "color": ("Are {a} and {b} different in color?", "Do {a} and {b} have different colors?"),
    "material": ("Are {a} and {b} made of different materials?",),
    "size": ("Are {a} and {b} different in size?", "Do {a} and {b} have different sizes?"),
}
_COMMON = ("What do {a} and {b} have in common?", "What is the same for both {a} and {b}?")
_COMPARED = ("material", "color")  # what "common" looks at; every thing has a color
_TRIES = 4


def _two(
    view: View, rng: random.Random, avoid: tuple[str, ...], fits: Callable[[Thing, Thing], bool]
) -> tuple[Description, Description] | None:
    """Descriptions of two things that go together, at random; by no value of a kind in `avoid`."""
    things = [i for i, thing in enumerate(view.things) if avoid[0] in thing.values]
    pairs = [(i, j) for i, j in permutations(things, 2) if fits(view.things[i], view.things[j])]
    for i, j in rng.sample(pairs, min(len(pairs), _TRIES)):
        one, other = (refer(view, k, rng, avoid, related=0) for k in (i, j))
        if one and other:
            return one, other
    return None


def same(view: View, rng: random.Random) -> Draft | None:
    """As in "Are the dog and the cat the same color?" and "Do they have different colors?"."""
    kind = rng.choices(("color", "material", "size"), (3, 2, 1))[0]
    equal = rng.random() < 0.5
    two = _two(view, rng, (kind,), lambda a, b: (a.values[kind] == b.values[kind]) == equal)
    return two and _same(view, rng, kind, equal, two)


def _same(
    view: View, rng: random.Random, kind: str, equal: bool, two: tuple[Description, Description]
) -> Draft:
    asked = rng.choice(("same", "different"))
    answer = "yes" if equal == (asked == "same") else "no"
    program = Program(view)
    program.add(f"{asked} {kind}", "", *[program.find(one) for one in two])
    a, b = (the(view, one) for one in two)
    ground = presupposed(*two) | {("same" if equal else "differ", kind, frozenset(two))}
    detailed = "twoSame" if asked == "same" else "twoDifferent"
    return Draft(
        rng.choice((_SAME if asked == "same" else _DIFFERENT)[kind]).format(a=a, b=b),
        answer,
        f"{answer}, {a} and {b} have {'the same' if equal else 'a different'} {kind}.",
        ("compare", "attr", detailed + ("Material" if kind == "material" else "")),
        f"{asked}_{kind}",
        None,
        program.steps,
        ground,
        (ground,),
        more=tuple(partial(query, about=(one, kind)) for one in two),
    )


def common(view: View, rng: random.Random) -> Draft | None:
    """As in "What do the sofa and the jacket have in common?": either color or material."""
    wanted = rng.choice(_COMPARED)

    def fits(one: Thing, other: Thing) -> bool:
        return [k for k in _COMPARED if one.values[k] == other.values.get(k)] == [wanted]

    two = _two(view, rng, _COMPARED, fits)
    return two and _common(view, rng, wanted, two)


def _common(
    view: View, rng: random.Random, kind: str, two: tuple[Description, Description]
) -> Draft:
    program = Program(view)
    program.add("common", "", *[program.find(one) for one in two])
    a, b = (the(view, one) for one in two)
    pair = frozenset(two)
    ground = presupposed(*two) | {("same" if k == kind else "differ", k, pair) for k in _COMPARED}
    return Draft(
        rng.choice(_COMMON).format(a=a, b=b),
        kind,
        f"{a} and {b} have the same {kind}.",
        ("compare", "attr", "twoCommon"),
        "common",
        None,
        program.steps,
        ground,
        (ground,),
        # What the official evaluation takes for any question of this type.
        ("color", "material", "shape"),
        _COMPARED,
        more=tuple(partial(query, about=(one, kind)) for one in two),
    )
