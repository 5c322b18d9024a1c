"""What can be answered without looking at an image."""

import numpy as np
from numpy.typing import NDArray

from .questions import PackedQuestions


def guessed_right(train: PackedQuestions, split: PackedQuestions) -> NDArray[np.bool_]:
    """(Q,) of `split`: whether the commonest answer of `train` to such questions is the right one.

    Never right are an answer outside the vocabulary and a type that `train` does not have.
    """
    shape = len(train.type_names), 1 + int(max(train.answers.max(), 0))
    known = train.answers >= 0
    pairs = train.question_types[known].astype(np.int64), train.answers[known]
    counts = np.bincount(np.ravel_multi_index(pairs, shape), minlength=np.prod(shape))
    counts = counts.reshape(shape)
    commonest = np.where(counts.any(axis=1), counts.argmax(axis=1), -2)
    return commonest[split.question_types] == split.answers


def answer_priors(
    train: PackedQuestions, split: PackedQuestions, positions: NDArray[np.int64] | None = None
) -> dict[str, float]:
    """Accuracy of the commonest answer of `train` to each type of question, on `split`.

    Args:
        train: questions with answers.
        split: questions with answers, of the same vocabulary and types, see `guessed_right`.
        positions: (n,) those of `split` that count; None: all.

    Returns:
        Shares in 0..1 of all questions (`all`) and of those of each type that `split` has.
    """
    chosen = slice(None) if positions is None else positions
    types = split.question_types[chosen]
    right = guessed_right(train, split)[chosen]
    by_type = {
        name: float(right[types == number].mean())
        for number, name in enumerate(train.type_names)
        if (types == number).any()
    }
    return {"all": float(right.mean()), **by_type}
