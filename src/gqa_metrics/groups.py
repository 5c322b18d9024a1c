"""Means of any number per question, by kind of question."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from .questions import GQAQuestion

#: Names in the results → what the questions of a group share.
GROUPINGS: dict[str, Callable[[GQAQuestion], str | int]] = {
    "per_structural": lambda question: question.structural,
    "per_semantic": lambda question: question.semantic,
    "per_words": lambda question: question.words,
    "per_steps": lambda question: question.steps,
}


class GroupMean(NamedTuple):
    """Mean over the questions of one group."""

    mean: float
    questions: int


def mean(values: Iterable[float]) -> float:
    """Their mean, the same in any order; 0 for none, as the official script has it."""
    values = list(values)
    return math.fsum(values) / len(values) if values else 0.0


def mean_by_group(
    questions: Mapping[str, GQAQuestion], values: Mapping[str, float]
) -> dict[str, dict[str, GroupMean]]:
    """Means by structural type, semantic type, number of words and number of program steps.

    Args:
        questions: by id.
        values: a number for each of them: whether it was answered right, the steps it took.

    Returns:
        By name of the grouping, as in `GROUPINGS`, then by group, in order.
    """
    result = {}
    for name, group_of in GROUPINGS.items():
        members = defaultdict(list)
        for question_id, question in questions.items():
            members[group_of(question)].append(values[question_id])
        result[name] = {
            str(group): GroupMean(mean(members[group]), len(members[group]))
            for group in sorted(members)
        }
    return result
