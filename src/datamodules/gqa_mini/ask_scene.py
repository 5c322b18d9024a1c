"""Questions about the whole picture: where it was taken, and in what weather."""

import random
from functools import partial

from dact.datamodules.gqa_mini.drafts import YES_NO, Draft, Program
from dact.datamodules.gqa_mini.facts import Facts
from dact.datamodules.gqa_mini.view import View
from dact.datamodules.gqa_mini.world import LOCATIONS, WEATHERS

_QUERY = ("How is the weather?", "What is the weather like?", "How is the weather in the image?")
_VERIFY = {
    "weather": ("Is it {value}?", "Is the weather {value}?"),
    "location": ("Is it {value}?", "Is this scene {value}?", "Was the image taken {value}?"),
}
_CHOOSE = {
    "weather": ("Is it {a} or {b}?", "How is the weather, {a} or {b}?"),
    "location": ("Is it {a} or {b}?", "Is this scene {a} or {b}?"),
}
_POSSIBLE = {"weather": WEATHERS, "location": LOCATIONS}
_FULL = {"weather": "it is {value}.", "location": "the image was taken {value}."}
_FACT = {"weather": "sky", "location": "in"}


def _kind(view: View, rng: random.Random) -> str:
    """What to ask for: there is weather outdoors only."""
    return rng.choice(("weather", "location")) if view.weather else "location"


def _value(view: View, kind: str) -> str:
    return view.weather if kind == "weather" else view.location


def _draft(
    view: View, kind: str, question: str, answer: str, structural: str, step: tuple[str, str]
) -> Draft:
    """What all of these have in common."""
    program, value = Program(view), _value(view, kind)
    program.add(*step, program.add("select", "scene"))
    full = _FULL[kind].format(value=value)
    ending = {"query": "", "verify": "Verify", "choose": "Choose"}[structural]
    ground = Facts({(_FACT[kind], value)})
    more = [partial(verify, kind=kind), partial(choose, kind=kind)]
    return Draft(
        question,
        answer,
        full,
        (structural, "global", f"{kind}{ending}"),
        kind,
        kind,
        program.steps,
        ground,
        (ground,),
        _POSSIBLE[kind],
        _POSSIBLE[kind],
        more=(*more, partial(query)) if kind == "weather" else tuple(more),
    )


def query(view: View, rng: random.Random) -> Draft | None:
    """As in "How is the weather?"."""
    if view.weather is None:
        return None
    return _draft(view, "weather", rng.choice(_QUERY), view.weather, "query", ("query", "weather"))


def verify(view: View, rng: random.Random, kind: str | None = None) -> Draft | None:
    """As in "Is it indoors?"."""
    kind = kind or _kind(view, rng)
    answer, value = rng.choice(YES_NO), _value(view, kind)
    said = value
    if answer == "no":
        said = rng.choice([other for other in _POSSIBLE[kind] if other != value])
    question = rng.choice(_VERIFY[kind]).format(value=said)
    draft = _draft(view, kind, question, answer, "verify", (f"verify {kind}", said))
    fact = (_FACT[kind] if answer == "yes" else f"not {_FACT[kind]}", said)
    ground = Facts({fact})
    return draft._replace(
        full=f"{answer}, {draft.full}",
        group=None,
        subject=f"{kind}_{said}",
        stated=ground,
        grounds=(ground,),
        valid=YES_NO,
        plausible=YES_NO,
    )


def choose(view: View, rng: random.Random, kind: str | None = None) -> Draft | None:
    """As in "Is it indoors or outdoors?"."""
    kind = kind or _kind(view, rng)
    value = _value(view, kind)
    decoy = rng.choice([other for other in _POSSIBLE[kind] if other != value])
    a, b = rng.sample((value, decoy), 2)
    question = rng.choice(_CHOOSE[kind]).format(a=a, b=b)
    draft = _draft(view, kind, question, value, "choose", (f"choose {kind}", f"{a}|{b}"))
    return draft._replace(valid=(a, b), plausible=(a, b))
