"""From descriptions and referents to English.

Synonyms are those of CLEVR (thing/object, sphere/ball, cube/block, large/big, small/tiny, metal/
metallic/shiny, rubber/matte); the sentences are our own.
"""

import random

from dact.datamodules.clevr_mini.attributes import ATTRIBUTES, DESCRIPTIONS
from dact.datamodules.clevr_mini.families import Family
from dact.datamodules.clevr_mini.referents import Referent, Where, pick

_SYNONYMS = {
    None: ("thing", "object"),
    "sphere": ("sphere", "ball"),
    "cube": ("cube", "block"),
    "cylinder": ("cylinder",),
    "large": ("large", "big"),
    "small": ("small", "tiny"),
    "metal": ("metal", "metallic", "shiny"),
    "rubber": ("rubber", "matte"),
}
_RELATIONS = (
    ("left of", "to the left of"),
    ("right of", "to the right of"),
    ("behind",),
    ("in front of",),
)
_THAT_IS = 0.35  # how often "the ball that is behind …" is said instead of "the ball behind …"


def noun(description: int, rng: random.Random) -> str:
    """A singular noun phrase without article, as "tiny shiny ball"; "s" makes its plural."""
    *adjectives, shape = DESCRIPTIONS[description]
    words = [pick(rng, _SYNONYMS.get(word, (word,))) for word in adjectives if word]
    words.append(pick(rng, _SYNONYMS[shape]))
    return " ".join(words)


def with_article(phrase: str) -> str:
    """The phrase after "a" or "an". None of our words has a silent first letter."""
    return f"an {phrase}" if phrase[0] in "aeiou" else f"a {phrase}"


def definite(referent: Referent, rng: random.Random) -> str:
    """The referring expression, as "the big cube that is behind the red ball"."""
    phrase = f"the {noun(referent.description, rng)}"
    if referent.anchor is None:
        return phrase
    link = "that is " if rng.random() < _THAT_IS else ""
    return f"{phrase} {link}{_related(referent.anchor, referent.relation, rng)}"


def _related(anchor: Referent, relation: int, rng: random.Random) -> str:
    return f"{pick(rng, _RELATIONS[relation])} {definite(anchor, rng)}"


def place(where: Where, rng: random.Random) -> str:
    """The restriction as it follows "are": "both left of … and behind …", "the same size as …"."""
    if where.function in ("relate", "intersect"):
        sides = [
            _related(anchor, relation, rng)
            for anchor, relation in zip(where.anchors, where.relations, strict=True)
        ]
        return sides[0] if len(sides) == 1 else f"both {sides[0]} and {sides[1]}"
    attribute = where.function.partition("_")[2]
    return f"the same {attribute} as {definite(where.anchors[0], rng)}"


def word_restricted(
    family: Family, description: int, where: Where | None, other: bool, rng: random.Random
) -> str:
    """A count, exist or query question about what fits `description` and `where`.

    `other`: the anchor fits the description too, so English needs "other" to leave it out.
    """
    head = noun(description, rng)
    one = f"another {head}" if other else with_article(head)
    some = f"other {head}s" if other else f"{head}s"
    the, a, spot = f"the {'other ' if other else ''}{head}", one, ""
    if where is not None:
        spot = place(where, rng)
        # A bare "ball behind the cube" reads well; the other two kinds need their verb.
        link = "" if where.function == "relate" and rng.random() >= _THAT_IS else "that is "
        the, a = f"{the} {link}{spot}", f"{one} {link}{spot}"
    return sentence(family, rng, the=the, a=a, one=one, some=some, where=spot)


def word_equal(family: Family, first: Referent, second: Referent, rng: random.Random) -> str:
    """Whether two objects share an attribute."""
    return sentence(
        family,
        rng,
        first=definite(first, rng),
        second=definite(second, rng),
        attribute=ATTRIBUTES[family.asked],
    )


def word_sets(family: Family, first: int, second: int, rng: random.Random) -> str:
    """A question about two described sets."""
    return sentence(family, rng, first=noun(first, rng) + "s", second=noun(second, rng) + "s")


def sentence(family: Family, rng: random.Random, **slots: str) -> str:
    """One of the family's wordings, filled in."""
    text = pick(rng, family.wordings).format(**slots)
    return text[0].upper() + text[1:]
