"""Questions about what shares a value with another thing: its value is known once it is found."""

import random

from dact.datamodules.gqa_mini import ask_attributes, ask_objects, ask_places
from dact.datamodules.gqa_mini.drafts import YES_NO, Draft
from dact.datamodules.gqa_mini.view import ANY, Description, View, refer

_TRIES = 12
_SHARES = {"color": 0.5, "size": 0.25, "material": 0.25}  # of the kinds that are shared
_ASK = (ask_attributes.query, ask_attributes.query, ask_attributes.verify, ask_attributes.choose)


def _with_same(view: View, rng: random.Random, noun: str | None = None) -> Description | None:
    """What shares a value, which is not said, with some thing; of a category or of a `noun`.

    There are two things or more of that noun besides the anchor, so that the noun is not enough.
    """
    kind = rng.choices(list(_SHARES), list(_SHARES.values()))[0]
    j = rng.randrange(len(view.things))
    others = [thing for i, thing in enumerate(view.things) if i != j]
    anchor = refer(view, j, rng, avoid=(kind,), related=0) if others else None
    if anchor is None or kind not in view.things[j].values:
        return None
    noun = noun or rng.choice(others).category
    fitting = [thing for thing in others if noun in (ANY, thing.category) and kind in thing.values]
    return Description(noun, (), f"same {kind}", anchor) if len(fitting) > 1 else None


def _one(view: View, rng: random.Random, noun: str | None = None) -> Description | None:
    """The same, of one thing alone."""
    for _ in range(_TRIES):
        description = _with_same(view, rng, noun)
        if description is not None and len(view.fits(description)) == 1:
            return description
    return None


def neighbour(view: View, rng: random.Random) -> Draft | None:
    """As in "What is the same color as the chair?"."""
    description = _one(view, rng, ANY)
    return description and ask_places.at(view, rng, description)


def name(view: View, rng: random.Random) -> Draft | None:
    """As in "Which animal is the same size as the chair?"."""
    description = _one(view, rng)
    return description and ask_objects.name(view, rng, description)


def attribute(view: View, rng: random.Random) -> Draft | None:
    """As in "What color is the animal that is the same size as the chair?"."""
    description = _one(view, rng, rng.choice((ANY, None)))
    if description is None:
        return None
    thing = view.things[view.one(description)]
    kinds = [kind for kind in thing.values if not description.relation.endswith(kind)]
    return rng.choice(_ASK)(view, rng, (description, rng.choice(kinds)))


def exist(view: View, rng: random.Random) -> Draft | None:
    """As in "Is there an animal that is the same color as the chair?"."""
    wanted = rng.choice(YES_NO) == "yes"
    for _ in range(_TRIES):
        description = _with_same(view, rng)
        if description is not None and bool(view.fits(description)) == wanted:
            return ask_objects.exist(view, rng, description)
    return None
