"""What can be answered without looking at an image."""

import numpy as np
from numpy.typing import NDArray

from .questions import PackedQuestions


def answer_prior(
    train: PackedQuestions, split: PackedQuestions, positions: NDArray[np.int64] | None = None
) -> float:
    """Accuracy of the commonest answer of `train` to each type of question, on `split`.

    Args:
        train: questions with answers.
        split: questions with answers, of the same vocabulary and types. Never right are an answer
            outside the vocabulary and a type that `train` does not have.
        positions: (n,) those of `split` that count; None: all.

    Returns:
        In 0..1.
    """
    shape = len(train.type_names), 1 + int(max(train.answers.max(), 0))
    known = train.answers >= 0
    pairs = train.question_types[known].astype(np.int64), train.answers[known]
    counts = np.bincount(np.ravel_multi_index(pairs, shape), minlength=np.prod(shape))
    counts = counts.reshape(shape)
    commonest = np.where(counts.any(axis=1), counts.argmax(axis=1), -2)
    right = commonest[split.question_types] == split.answers
    return float(np.mean(right if positions is None else right[positions]))
