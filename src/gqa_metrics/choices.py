"""Validity and plausibility: whether an answer fits the question, be it right or wrong."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from dact.datamodules.json_stream import field
from dact.errors import UserError

from .questions import GQAQuestion

#: Answers to "What do … have in common?", whatever the choices say.
_COMMON = ("color", "material", "shape")


class Fit(NamedTuple):
    """Both in 0..100."""

    validity: float
    """Share of answers in the question's scope: a color for a question about a color."""
    plausibility: float
    """Share of answers that occur with the question's subject: no purple apples."""


def fit(
    questions: Mapping[str, GQAQuestion],
    predictions: Mapping[str, str],
    choices: Iterable[tuple[str, str, Any]],
) -> Fit:
    """Look every prediction up among the question's `valid` and `plausible` answers.

    Questions of a detailed type with "Common" in its name have choices of their own: color,
    material and shape are valid and plausible, and nothing else is.

    Args:
        questions: by id.
        predictions: by id, for each of them.
        choices: (where, id, `{"valid": […], "plausible": […]}`) in any order; other questions may
            be among them.

    Raises:
        UserError: a question has no choices.
    """
    waiting = {name for name, question in questions.items() if not question.common}
    valid = sum(predictions[name] in _COMMON for name in questions if name not in waiting)
    plausible = valid
    for where, name, entry in choices:
        if name in waiting:
            waiting.remove(name)
            valid += predictions[name] in field(entry, "valid", list, where)
            plausible += predictions[name] in field(entry, "plausible", list, where)
    if waiting:
        raise UserError(f"{len(waiting)} questions have no choices, such as {min(waiting)}")
    return Fit(100 * valid / len(questions), 100 * plausible / len(questions))
