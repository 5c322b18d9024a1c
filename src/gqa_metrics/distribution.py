"""Distribution: how far the predicted answers of a group are from its annotated ones."""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping

from .questions import GQAQuestion


def distribution(
    questions: Mapping[str, GQAQuestion], predictions: Mapping[str, str]
) -> float | None:
    """χ² statistic of the global groups, averaged with their sizes as weights; lower is better.

    For a group of n questions, of which g_a have and p_a are given the answer a,
    χ² = Σ_a (p_a − g_a)² / g_a over the answers with g_a > 0, and the metric is
    Σ n χ² / Σ n / 100, ≥ 0. Questions without a group do not count.

    Returns:
        None if no question has a group.
    """
    wanted: dict[str, Counter[str]] = defaultdict(Counter)
    given: dict[str, Counter[str]] = defaultdict(Counter)
    for name, question in questions.items():
        if question.group is not None:
            wanted[question.group][question.answer] += 1
            given[question.group][predictions[name]] += 1
    weighted = [
        gold.total() * (given[group][answer] - number) ** 2 / number
        for group, gold in wanted.items()
        for answer, number in gold.items()
    ]
    total = sum(gold.total() for gold in wanted.values())
    return math.fsum(weighted) / total / 100 if total else None
