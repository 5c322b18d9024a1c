"""Accuracy and steps by what a question asks for, beside what guessing reaches."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from reproduce_answers import Answered, Questions
from reproduce_verdict import spread_text, table


def by_type(questions: Questions) -> dict[str, NDArray[np.bool_]]:
    """Which questions are of each type, by its name."""
    names = {n: name.replace("_", " ") for n, name in enumerate(questions.type_names)}
    found = {names[n]: questions.types == n for n in names}
    return {name: own for name, own in found.items() if own.any()}


def by_reads(questions: Questions) -> dict[str, NDArray[np.bool_]]:
    """Which questions need so many reads."""
    numbers = np.unique(questions.reads[questions.reads >= 0])
    return {f"{n} read{'s'[: n - 1]}": questions.reads == n for n in numbers.tolist()}


def breakdown(
    groups: Mapping[str, NDArray[np.bool_]],
    macs: Mapping[str, Sequence[Answered]],
    others: Mapping[str, Sequence[Answered]],
    questions: Questions,
) -> str:
    """A table.

    Args:
        groups: (Q,) questions of each row.
        macs: networks by seed of each column of accuracies.
        others: those with a column of mean steps beside it.
        questions: that were answered.
    """
    head = ["", "questions", "guessing in %", *(f"{name} in %" for name in macs)]
    rows = [[*head, *(cell for name in others for cell in (f"{name} in %", "steps"))]]
    for name, own in {**groups, "all": np.ones(len(questions.right), bool)}.items():
        cells = [name, f"{own.sum():,}", f"{100 * questions.guessed[own].mean():.1f}"]
        cells += [_accuracy(same, own) for same in macs.values()]
        for same in others.values():
            cells += [_accuracy(same, own), spread_text(one.steps[own].mean() for one in same)]
        rows.append(cells)
    return table(rows)


def _accuracy(networks: Sequence[Answered], own: NDArray[np.bool_]) -> str:
    return spread_text([one.right[own].mean() for one in networks], 1, 100)
