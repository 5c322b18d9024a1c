"""Questions about what has the color of another thing, which is known once that thing is found."""

import random

from dact.datamodules.gqa_mini import ask_attributes, ask_objects, ask_places
from dact.datamodules.gqa_mini.drafts import YES_NO, Draft
from dact.datamodules.gqa_mini.view import ANY, Description, View, refer

_TRIES = 12
_ASK = (ask_attributes.query, ask_attributes.query, ask_attributes.verify, ask_attributes.choose)


def _with_same(view: View, rng: random.Random, noun: str | None = None) -> Description | None:
    """What has the color, which is not said, of some thing; of a category or of a `noun`.

    There are two things or more of that noun besides the anchor, so that the noun is not enough.
    """
    j = rng.randrange(len(view.things))
    others = [thing for i, thing in enumerate(view.things) if i != j]
    anchor = refer(view, j, rng, avoid=("color",), related=0) if others else None
    if anchor is None:
        return None
    noun = noun or rng.choice(others).category
    fitting = sum(noun in (ANY, thing.category) for thing in others)
    return Description(noun, (), "same color", anchor) if fitting > 1 else None


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
    """As in "Which animal is the same color as the chair?"."""
    description = _one(view, rng)
    return description and ask_objects.name(view, rng, description)


def attribute(view: View, rng: random.Random) -> Draft | None:
    """As in "How large is the animal that is the same color as the chair?"."""
    description = _one(view, rng, rng.choice((ANY, None)))
    if description is None:
        return None
    kinds = [kind for kind in view.things[view.one(description)].values if kind != "color"]
    return rng.choice(_ASK)(view, rng, (description, rng.choice(kinds)))


def exist(view: View, rng: random.Random) -> Draft | None:
    """As in "Is there an animal that is the same color as the chair?"."""
    wanted = rng.choice(YES_NO) == "yes"
    for _ in range(_TRIES):
        description = _with_same(view, rng)
        if description is not None and bool(view.fits(description)) == wanted:
            return ask_objects.exist(view, rng, description)
    return None
