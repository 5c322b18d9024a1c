"""The questions of one scene: which are asked, and what follows from what."""

import random
from collections.abc import Callable
from itertools import accumulate
from typing import NamedTuple

from dact.datamodules.gqa_mini import ask_attributes, ask_objects, ask_pairs, ask_places, ask_scene
from dact.datamodules.gqa_mini.drafts import Draft
from dact.datamodules.gqa_mini.facts import close, follows
from dact.datamodules.gqa_mini.view import View
from dact.datamodules.gqa_mini.wording import sentence, unmark

Ask = Callable[[View, random.Random], Draft | None]
# How often each kind is asked for; a scene may not hold it.
MIX: dict[Ask, float] = {
    ask_attributes.query: 34,
    ask_attributes.verify: 5,
    ask_attributes.choose: 8,
    ask_attributes.verify_two: 3,
    ask_pairs.same: 9,
    ask_pairs.common: 14,
    ask_objects.exist: 6,
    ask_objects.either: 5,
    ask_objects.name: 16,
    ask_objects.choose_name: 4,
    ask_places.neighbour: 8,
    ask_places.verify_place: 2,
    ask_places.choose_place: 4,
    ask_scene.query: 6,
    ask_scene.verify: 2,
    ask_scene.choose: 2,
}
_TRIES = 40  # per question, before the scene is taken to hold no more
_MORE = 0.4  # how often a question brings another one about the same things


class Asked(NamedTuple):
    """A question with its sentences unmarked, and which others of the scene follow from it."""

    draft: Draft
    question: str
    question_places: dict[str, str]
    full: str
    full_places: dict[str, str]
    entailed: list[int]
    equivalent: list[int]


def ask(view: View, number: int, rng: random.Random) -> list[Asked]:
    """Up to `number` questions with different texts; fewer only of a scene that holds no more."""
    drafts: dict[str, Draft] = {}
    kinds, weights = list(MIX), list(accumulate(MIX.values()))
    waiting: list[Ask] = []
    for _ in range(number * _TRIES):
        if len(drafts) == number:
            break
        kind = waiting.pop() if waiting else rng.choices(kinds, cum_weights=weights)[0]
        draft = kind(view, rng)
        if draft is None:
            continue
        text, _ = unmark(draft.question)
        if text in drafts:
            continue
        drafts[text] = draft
        if draft.more and rng.random() < _MORE:
            waiting.append(rng.choice(draft.more))
    return _related(list(drafts.values()))


def _related(drafts: list[Draft]) -> list[Asked]:
    """With what follows from what."""
    stated = [close(draft.stated) for draft in drafts]
    within = [{j for j, d in enumerate(drafts) if follows(d.grounds, facts)} for facts in stated]
    asked = []
    for i, draft in enumerate(drafts):
        question, places = unmark(sentence(draft.question))
        full, full_places = unmark(sentence(draft.full))
        equivalent = sorted({i} | {j for j in within[i] if i in within[j]})
        # As in GQA a question may be in its own list, and the list of another is empty.
        entailed = sorted(within[i] - {i})
        if entailed or draft.types[0] == "query":
            entailed = sorted({*entailed, i})
        asked.append(Asked(draft, question, places, full, full_places, entailed, equivalent))
    return asked
