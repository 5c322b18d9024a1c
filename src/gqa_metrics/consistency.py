"""Consistency: who knows an answer should know what follows from it."""

from collections.abc import Mapping

from .groups import mean
from .questions import GQAQuestion


def entailed_by_right(
    questions: Mapping[str, GQAQuestion], right: Mapping[str, bool]
) -> dict[str, tuple[str, ...]]:
    """Questions entailed by each one that is answered right, without itself, if there are any."""
    entailed = {
        name: tuple(other for other in question.entailed if other != name)
        for name, question in questions.items()
        if right[name]
    }
    return {name: others for name, others in entailed.items() if others}


def consistency(
    entailed: Mapping[str, tuple[str, ...]],
    predictions: Mapping[str, str],
    answers: Mapping[str, str],
) -> float | None:
    """Mean accuracy over the questions that each one entails, then the mean of these, in 0..100.

    Args:
        entailed: from `entailed_by_right`.
        predictions: by id, for every entailed question, balanced or not.
        answers: the same.

    Returns:
        None if no question that is answered right entails another one.
    """
    shares = [
        mean(predictions[other] == answers[other] for other in others)
        for others in entailed.values()
    ]
    return 100 * mean(shares) if shares else None
