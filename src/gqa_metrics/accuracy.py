"""Accuracy: the share of questions whose predicted answer is the annotated one."""

from collections.abc import Mapping

from .groups import mean
from .questions import GQAQuestion


def right_answers(
    questions: Mapping[str, GQAQuestion], predictions: Mapping[str, str]
) -> dict[str, bool]:
    """Whether each question is answered right: the strings are equal."""
    return {
        question_id: predictions[question_id] == question.answer
        for question_id, question in questions.items()
    }


def accuracies(
    questions: Mapping[str, GQAQuestion], right: Mapping[str, bool]
) -> dict[str, float | None]:
    """accuracy, that of open and that of binary questions, each in 0..100.

    A question is open if its structural type is "query"; all others are binary. An accuracy over
    no questions is None.
    """
    is_open = {name: question.structural == "query" for name, question in questions.items()}
    values = {
        "accuracy": [right[name] for name in questions],
        "binary": [right[name] for name in questions if not is_open[name]],
        "open": [right[name] for name in questions if is_open[name]],
    }
    return {name: 100 * mean(part) if part else None for name, part in values.items()}
