"""The questions of one scene: which are asked, and what follows from what."""

import random
from collections.abc import Callable, Mapping
from itertools import accumulate
from types import MappingProxyType
from typing import NamedTuple

from dact.datamodules.gqa_mini import (
    ask_attributes,
    ask_objects,
    ask_pairs,
    ask_places,
    ask_scene,
    ask_shared,
)
from dact.datamodules.gqa_mini.drafts import Draft
from dact.datamodules.gqa_mini.facts import close, follows
from dact.datamodules.gqa_mini.view import View
from dact.datamodules.gqa_mini.wording import sentence, unmark

Ask = Callable[[View, random.Random], Draft | None]
# Kinds of questions, by the name that a mix has for them.
KINDS: dict[str, Ask] = {
    "attribute": ask_attributes.query,
    "attribute_verify": ask_attributes.verify,
    "attribute_choose": ask_attributes.choose,
    "attribute_two": ask_attributes.verify_two,
    "same": ask_pairs.same,
    "common": ask_pairs.common,
    "exist": ask_objects.exist,
    "either": ask_objects.either,
    "name": ask_objects.name,
    "name_choose": ask_objects.choose_name,
    "neighbour": ask_places.neighbour,
    "place_verify": ask_places.verify_place,
    "place_choose": ask_places.choose_place,
    "scene": ask_scene.query,
    "scene_verify": ask_scene.verify,
    "scene_choose": ask_scene.choose,
    "shared_attribute": ask_shared.attribute,
    "shared_exist": ask_shared.exist,
    "shared_name": ask_shared.name,
    "shared_neighbour": ask_shared.neighbour,
}
# How often each is asked for; a scene may not hold it.
MIX = {
    "attribute": 15,
    "attribute_verify": 4,
    "attribute_choose": 6,
    "attribute_two": 3,
    "same": 12,
    "common": 4,
    "exist": 4,
    "either": 4,
    "name": 6,
    "name_choose": 3,
    "neighbour": 3,
    "place_verify": 0,
    "place_choose": 0,
    "scene": 2,
    "scene_verify": 1,
    "scene_choose": 1,
    "shared_attribute": 0,
    "shared_exist": 10,
    "shared_name": 25,
    "shared_neighbour": 40,
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


def ask(
    view: View, number: int, rng: random.Random, mix: Mapping[str, float] = MappingProxyType(MIX)
) -> list[Asked]:
    """Up to `number` questions with different texts; fewer only of a scene that holds no more."""
    drafts: dict[str, Draft] = {}
    kinds, weights = [KINDS[name] for name in mix], list(accumulate(mix.values()))
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
