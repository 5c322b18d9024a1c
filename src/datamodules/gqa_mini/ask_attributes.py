"""Questions about what things look like: query, verify, choose, and two values at once."""

import random
from functools import partial

from dact.datamodules.gqa_mini.drafts import YES_NO, Draft, Program
from dact.datamodules.gqa_mini.facts import Facts, presupposed
from dact.datamodules.gqa_mini.view import ANY, Description, View, refer
from dact.datamodules.gqa_mini.wording import looks, the
from dact.datamodules.gqa_mini.world import CATEGORIES, NAMES, POSSIBLE, VALUES

_QUERIES = {
    "color": (
        ("direct", "What color is {the}?"),
        ("directWhich", "Which color is {the}?"),
        ("directOf", "What is the color of {the}?"),
    ),
    "material": (
        ("material", "What is {the} made of?"),
        ("material", "What material is {the} made of?"),
        ("material", "What material makes up {the}?"),
    ),
    "size": (
        ("how", "How large is {the}?"),
        ("how", "How big is {the}?"),
        ("directOf", "What is the size of {the}?"),
    ),
}
_VERIFY = {
    "color": ("Is {the} {value}?", "Does {the} look {value}?", "Is the color of {the} {value}?"),
    "material": ("Is {the} made of {value}?", "Is {value} the material of {the}?"),
    "size": ("Is {the} {value}?", "Does {the} look {value}?"),
}
_CHOOSE = {
    "color": ("Is {the} {a} or {b}?", "What color is {the}, {a} or {b}?"),
    "material": ("Is {the} made of {a} or {b}?", "What is {the} made of, {a} or {b}?"),
    "size": ("Is {the} {a} or {b}?", "Does {the} look {a} or {b}?"),
}
_SHARES = {"color": 0.55, "material": 0.25, "size": 0.2}  # of the kinds asked for


def possible(description: Description, kind: str) -> tuple[str, ...]:
    """Values that things which fit the noun may have."""
    noun = description.noun
    names = NAMES if noun == ANY else CATEGORIES.get(noun, (noun,))
    return tuple(v for v in VALUES[kind] if any(v in POSSIBLE[name][kind] for name in names))


def _target(
    view: View, rng: random.Random, about: tuple[Description, str] | None
) -> tuple[Description, str, str] | None:
    """A description, the kind asked of it, and its value: those of `about`, or any."""
    if about is not None:
        description, kind = about
        return description, kind, view.things[view.one(description)].values[kind]
    kind = rng.choices(list(_SHARES), list(_SHARES.values()))[0]
    holders = [i for i, thing in enumerate(view.things) if kind in thing.values]
    if not holders:
        return None
    i = rng.choice(holders)
    description = refer(view, i, rng, avoid=(kind,))
    return description and (description, kind, view.things[i].values[kind])


def _more(description: Description, kind: str) -> tuple[partial, ...]:
    about = (description, kind)
    return tuple(partial(ask, about=about) for ask in (query, verify, verify, choose))


def query(view: View, rng: random.Random, about: tuple | None = None) -> Draft | None:
    """As in "What color is the dog?"."""
    target = _target(view, rng, about)
    if target is None:
        return None
    description, kind, value = target
    detailed, wording = rng.choice(_QUERIES[kind])
    program = Program(view)
    program.add("query", kind, program.find(description))
    subject = the(view, description)
    ground = presupposed(description) | {("has", description, kind, value)}
    return Draft(
        wording.format(the=subject),
        value,
        f"{subject} is {looks(kind, value)}.",
        ("query", "attr", detailed),
        f"{description.noun}_{kind}",
        kind,
        program.steps,
        ground,
        (ground,),
        VALUES[kind],
        possible(description, kind),
        more=_more(description, kind),
    )


def _decoy(rng: random.Random, description: Description, kind: str, value: str) -> str:
    """Another value, most often one that the thing could have."""
    likely = [other for other in possible(description, kind) if other != value]
    others = [other for other in VALUES[kind] if other != value]
    return rng.choice(likely if likely and rng.random() < 0.8 else others)


def verify(view: View, rng: random.Random, about: tuple | None = None) -> Draft | None:
    """As in "Is the dog brown?"."""
    target = _target(view, rng, about)
    if target is None:
        return None
    description, kind, value = target
    answer = rng.choice(YES_NO)
    said = value if answer == "yes" else _decoy(rng, description, kind, value)
    program = Program(view)
    program.add(f"verify {kind}", said, program.find(description))
    subject = the(view, description)
    holds = "has" if answer == "yes" else "lacks"
    ground = presupposed(description) | {(holds, description, kind, said)}
    return Draft(
        rng.choice(_VERIFY[kind]).format(the=subject, value=said),
        answer,
        f"{answer}, {subject} is {looks(kind, value)}.",
        ("verify", "attr", "materialVerify" if kind == "material" else "verifyAttr"),
        f"{description.noun}_{said}",
        None,
        program.steps,
        ground,
        (ground,),
        more=_more(description, kind),
    )


def choose(view: View, rng: random.Random, about: tuple | None = None) -> Draft | None:
    """As in "Is the dog brown or black?"."""
    target = _target(view, rng, about)
    if target is None:
        return None
    description, kind, value = target
    a, b = rng.sample((value, _decoy(rng, description, kind, value)), 2)
    program = Program(view)
    program.add(f"choose {kind}", f"{a}|{b}", program.find(description))
    subject = the(view, description)
    ground = presupposed(description) | {("has", description, kind, value)}
    return Draft(
        rng.choice(_CHOOSE[kind]).format(the=subject, a=a, b=b),
        value,
        f"{subject} is {looks(kind, value)}.",
        ("choose", "attr", "materialChoose" if kind == "material" else "chooseAttr"),
        f"{description.noun}_{kind}",
        kind,
        program.steps,
        ground,
        (ground,),
        (a, b),
        (a, b),
        more=_more(description, kind),
    )


def verify_two(view: View, rng: random.Random) -> Draft | None:
    """As in "Is the dog both small and brown?"."""
    i = rng.randrange(len(view.things))
    description = refer(view, i, rng, avoid=("size", "color"))
    if description is None:
        return None
    values = view.things[i].values
    answer = rng.choice(YES_NO)
    wrong = "" if answer == "yes" else rng.choice(("size", "color"))
    said = {
        kind: _decoy(rng, description, kind, values[kind]) if kind == wrong else values[kind]
        for kind in ("size", "color")
    }
    program = Program(view)
    found = program.find(description)
    program.add("and", "", *[program.add(f"verify {k}", v, found) for k, v in said.items()])
    subject, one = the(view, description), presupposed(description)
    if answer == "yes":
        stated = one | {("has", description, *pair) for pair in said.items()}
        grounds: tuple[Facts, ...] = (stated,)
    else:
        stated = one
        grounds = tuple(one | {("lacks", description, *pair)} for pair in said.items())
    wording = rng.choice(("Is {the} {size} and {color}?", "Is {the} both {size} and {color}?"))
    return Draft(
        wording.format(the=subject, **said),
        answer,
        f"{answer}, {subject} is {values['size']} and {values['color']}.",
        ("logical", "attr", "verifyAttrAnd"),
        f"{description.noun}_and",
        None,
        program.steps,
        stated,
        grounds,
        more=tuple(partial(verify, about=(description, kind)) for kind in said),
    )
