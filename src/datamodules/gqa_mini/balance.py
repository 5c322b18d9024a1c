"""Which questions are in the balanced files: no answer of a group far ahead of the others."""

import math
import random
from collections import defaultdict
from statistics import median_low

from dact.datamodules.gqa_mini.drafts import Draft

SLACK = 1.2  # an answer may come up this much more often than the middle one of its group
KEPT = 0.75  # of what the limit leaves: in GQA too, most questions are in the larger files only


def select(drafts: list[Draft], rng: random.Random) -> list[bool]:
    """Whether each question stays; of a too common answer more of them go, at random.

    Questions belong together by their global group, those without one by their detailed type.
    """
    groups: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for number, draft in enumerate(drafts):
        groups[draft.group or f"/{draft.types[2]}"][draft.answer].append(number)
    stays = [False] * len(drafts)
    for answers in groups.values():
        most = math.ceil(SLACK * median_low(map(len, answers.values())))
        for numbers in answers.values():
            kept = math.ceil(KEPT * min(most, len(numbers)))
            for number in rng.sample(numbers, kept):
                stays[number] = True
    return stays
