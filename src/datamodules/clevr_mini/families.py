"""The question families: what is asked of which set of objects, and how it may be worded.

A family's place in `FAMILIES` is its `question_family_index`. Its wordings use these words:
`{the}` "the red ball left of the cube" · `{a}` the same with "a", "an" or "another" · `{head}` "red
ball" · `{one}` "a red ball" · `{some}` "red balls" · `{where}` "left of the cube" · `{first}` and
`{second}` the two sides of a comparison.
"""

from typing import NamedTuple

from dact.datamodules.clevr_mini.attributes import ATTRIBUTES, VALUES

# Share of each group among the questions. Half share an attribute with an object that has to be
# found first: such questions need two reads (see dact.datamodules.reads_needed), and a network
# learns to make them within minutes only if there are many. Groups with share 0 are CLEVR's others.
MIX = {
    "zero_hop": 0.2,
    "one_hop": 0.1,
    "two_hop": 0.0,
    "three_hop": 0.0,
    "one_hop_set": 0.0,
    "two_hop_set": 0.0,
    "three_hop_set": 0.0,
    "same_attribute": 0.5,
    "equal_attribute": 0.1,
    "equal_attribute_hop": 0.0,
    "compare_integer": 0.1,
    "single_and": 0.0,
    "single_or": 0.0,
}
# Wanted share of each count among count questions: high counts are rare in small scenes.
COUNT_SHARES = {"0": 0.27, "1": 0.32, "2": 0.24, "3": 0.11, "4": 0.04, "5": 0.015, "6": 0.005}
# How often counting and existence are asked relative to one of the four queries of their group.
# Queries say most about an object that was found, so more of them teach the second read sooner.
COUNT_WEIGHT = 3.0
EXIST_WEIGHT = 2.0


class Family(NamedTuple):
    """One family of questions.

    `method`: how a question is found ("restricted", "equal", "compare", "union"); `task`: last
    function of the program; `asked`: attribute that is queried or compared; `restriction`: what
    cuts the set out of the scene (None, "relate", "same", "intersect"), by `shared` attribute
    for "same"; `hops`: relations in each referent; `shares`: wanted share of each answer;
    `weight`: how often it is asked relative to the others of its group.
    """

    group: str
    method: str
    task: str
    wordings: tuple[str, ...]
    shares: dict[str, float]
    asked: int | None = None
    restriction: str | None = None
    shared: int | None = None
    hops: tuple[int, ...] = ()
    weight: float = 1.0

    @property
    def depth(self) -> int:
        """Greatest number of relations in a row."""
        return max(self.hops, default=0) + (self.restriction is not None)


def _even(values: tuple[str, ...]) -> dict[str, float]:
    return dict.fromkeys(values, 1 / len(values))


_YES_NO = _even(("yes", "no"))

_QUERY = {
    "size": (
        "What size is {the}?",
        "What is the size of {the}?",
        "How big is {the}?",
        "{the} is what size?",
        "There is {a}; what size is it?",
    ),
    "color": (
        "What color is {the}?",
        "What is the color of {the}?",
        "{the} is what color?",
        "There is {a}; what color is it?",
    ),
    "material": (
        "What is {the} made of?",
        "What material is {the} made of?",
        "{the} is made of what material?",
        "There is {a}; what is it made of?",
    ),
    "shape": (
        "What shape is {the}?",
        "What is the shape of {the}?",
        "{the} has what shape?",
        "There is {a}; what shape is it?",
    ),
}
_COUNT = {
    None: (
        "How many {some} are there?",
        "What number of {some} are there?",
        "How many {some} can you see?",
        "What is the number of {some}?",
    ),
    "relate": (
        "How many {some} are {where}?",
        "What number of {some} are {where}?",
        "How many {some} are there {where}?",
        "What is the number of {some} {where}?",
    ),
    "same": (
        "How many {some} are {where}?",
        "How many {some} have {where}?",
        "What number of {some} are {where}?",
    ),
    "intersect": (
        "How many {some} are {where}?",
        "What number of {some} are {where}?",
        "What is the number of {some} that are {where}?",
    ),
}
_EXIST = {
    None: ("Is there {one}?", "Are there any {some}?", "Can you see {one}?"),
    "relate": (
        "Is there {one} {where}?",
        "Are there any {some} {where}?",
        "Are any {some} {where}?",
        "Is there {one} that is {where}?",
    ),
    "same": (
        "Is there {one} that is {where}?",
        "Is there {one} that has {where}?",
        "Are any {some} {where}?",
        "Do any {some} have {where}?",
    ),
    "intersect": (
        "Is there {one} that is {where}?",
        "Are there any {some} that are {where}?",
        "Are any {some} {where}?",
    ),
}
_EQUAL = (
    "Is {first} the same {attribute} as {second}?",
    "Does {first} have the same {attribute} as {second}?",
    "Do {first} and {second} have the same {attribute}?",
    "Are {first} and {second} the same {attribute}?",
)
_COMPARE = {
    "equal_integer": (
        "Is the number of {first} the same as the number of {second}?",
        "Is there an equal number of {first} and {second}?",
        "Are there exactly as many {first} as {second}?",
    ),
    "less_than": (
        "Are there fewer {first} than {second}?",
        "Is the number of {first} less than the number of {second}?",
        "Is the number of {first} smaller than the number of {second}?",
    ),
    "greater_than": (
        "Are there more {first} than {second}?",
        "Is the number of {first} greater than the number of {second}?",
        "Is the number of {first} larger than the number of {second}?",
    ),
}
_UNION = (
    "How many things are {first} or {second}?",
    "How many objects are either {first} or {second}?",
    "What number of objects are {first} or {second}?",
    "How many {first} or {second} are there?",
)


def _tasks(group: str, restriction: str | None, hops: tuple[int, ...]) -> list[Family]:
    """Count, exist and the four queries of one restricted set.

    Over a relation, count and exist are a group of their own: they need the anchor, queries do not.
    """
    of_set = f"{group}_set" if restriction == "relate" else group

    def family(task, wordings, shares, asked=None, group=group, weight=1.0):
        return Family(
            group, "restricted", task, wordings, shares, asked, restriction, None, hops, weight
        )

    return [
        family("count", _COUNT[restriction], COUNT_SHARES, group=of_set, weight=COUNT_WEIGHT),
        family("exist", _EXIST[restriction], _YES_NO, group=of_set, weight=EXIST_WEIGHT),
        *(
            family(f"query_{name}", _QUERY[name], _even(VALUES[name]), asked)
            for asked, name in enumerate(ATTRIBUTES)
        ),
    ]


def _same(shared: int) -> list[Family]:
    """Count, exist and the three other queries about what shares an attribute with an object."""
    of_it = _tasks("same_attribute", "same", (0,))
    return [family._replace(shared=shared) for family in of_it if family.asked != shared]


def _equal(asked: int, hops: tuple[int, int]) -> Family:
    """Two objects compared by one attribute; a group of their own where relations name them."""
    task, group = (
        f"equal_{ATTRIBUTES[asked]}",
        "equal_attribute_hop" if any(hops) else "equal_attribute",
    )
    weight = 0.5 ** sum(hops)  # those with two relations are long
    return Family(group, "equal", task, _EQUAL, _YES_NO, asked, hops=hops, weight=weight)


FAMILIES: tuple[Family, ...] = (
    *_tasks("zero_hop", None, ()),
    *_tasks("one_hop", "relate", (0,)),
    *_tasks("two_hop", "relate", (1,)),
    *_tasks("three_hop", "relate", (2,)),
    *(family for shared in range(len(ATTRIBUTES)) for family in _same(shared)),
    *(_equal(k, (a, b)) for k in range(len(ATTRIBUTES)) for a in (0, 1) for b in (0, 1)),
    *(Family("compare_integer", "compare", t, w, _YES_NO) for t, w in _COMPARE.items()),
    *_tasks("single_and", "intersect", (0, 0)),
    Family("single_or", "union", "count", _UNION, COUNT_SHARES),
)
