"""The answers to all questions of a split, and what they have in common."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from dact.datamodules.questions import PackedQuestions
from dact.lit_module import Prediction


class Survey(NamedTuple):
    """Q answered questions, in the order of their split; arrays are (Q,)."""

    positions: NDArray[np.int64]
    """In the split."""
    right: NDArray[np.bool_]
    """Whether the answer is the gold one."""
    confidences: NDArray[np.float32]
    """Probability of the answer, in 0..1."""
    steps: NDArray[np.int64]
    """In 1..N."""
    types: NDArray[np.int64]
    """Question types."""
    lengths: NDArray[np.int64]
    """Nodes of the programs, -1 where there is none."""
    reads: NDArray[np.int64]
    """Reads that the questions need, -1 where that is not known."""
    families: NDArray[np.int64]
    """Template families, -1 where there is none."""

    @property
    def accuracy(self) -> float:
        """Share of right answers, in 0..1."""
        return float(self.right.mean())

    @property
    def mean_steps(self) -> float:
        """In 1..N."""
        return float(self.steps.mean())


class Group(NamedTuple):
    """Questions that have something in common."""

    key: int
    """What it is: a type, a length, a family."""
    questions: int
    accuracy: float
    mean_steps: float
    shares: NDArray[np.float64]
    """(N,) share of the questions that took 1, 2, … steps."""
    example: int
    """Position of the question in the middle, by steps."""


def survey(predictions: Sequence[Prediction], questions: PackedQuestions) -> Survey:
    """Put the batches of a prediction together.

    Args:
        predictions: of `VQALitModule.predict_step`.
        questions: of the split.
    """
    columns = zip(*(prediction[:4] for prediction in predictions), strict=True)
    positions, answers, confidences, steps = (
        torch.cat([part.cpu() for part in column]).numpy() for column in columns
    )
    order = positions.argsort()
    positions = positions[order]
    return Survey(
        positions,
        answers[order] == questions.answers[positions],
        confidences[order].astype(np.float32),
        steps[order],
        questions.question_types[positions].astype(np.int64),
        questions.program_lengths[positions].astype(np.int64),
        questions.reads_needed[positions].astype(np.int64),
        questions.families[positions].astype(np.int64),
    )


def group_by(found: Survey, keys: NDArray[np.int64], max_steps: int) -> list[Group]:
    """Groups of questions with the same key; questions with a negative key are in none."""
    groups = []
    for key in np.unique(keys[keys >= 0]).tolist():
        mine = np.flatnonzero(keys == key)
        steps = found.steps[mine]
        middle = mine[steps.argsort(kind="stable")[len(mine) // 2]]
        groups.append(
            Group(
                key,
                len(mine),
                float(found.right[mine].mean()),
                float(steps.mean()),
                np.bincount(steps, minlength=max_steps + 1)[1:] / len(mine),
                int(found.positions[middle]),
            )
        )
    return groups


def correlation(steps: NDArray[np.int64], numbers: NDArray[np.int64]) -> float | None:
    """Pearson's r of steps with another number of each question, such as its program length.

    Args:
        steps: (Q,) steps taken.
        numbers: (Q,) of the questions; negative: not known.

    Returns:
        None where either is the same for all.
    """
    known = numbers >= 0
    steps, numbers = steps[known], numbers[known]
    if len(steps) < 2 or np.ptp(steps) == 0 or np.ptp(numbers) == 0:
        return None
    return float(np.corrcoef(steps, numbers)[0, 1])


def choose_examples(found: Survey, count: int, seed: int = 0) -> list[int]:
    """Positions of questions that are worth a look, in the order of the split.

    A quarter each are wrong answers, took the most steps and took the fewest, evenly from all
    question types and as far as there are such; the rest is drawn from all questions.

    Args:
        found: what was answered.
        count: how many; all, if there are no more.
        seed: of the draw.
    """
    shuffled = np.random.default_rng(seed).permutation(len(found.steps))
    by_steps = shuffled[np.argsort(found.steps[shuffled], kind="stable")]
    wrong = shuffled[~found.right[shuffled]]
    chosen: dict[int, None] = {}
    for pool in (wrong, by_steps[::-1], by_steps):
        new = [place for place in _evenly(pool, found.types) if place not in chosen]
        chosen |= dict.fromkeys(new[: count // 4])
    rest = [place for place in shuffled.tolist() if place not in chosen]
    chosen |= dict.fromkeys(rest[: count - len(chosen)])
    return sorted(int(found.positions[place]) for place in chosen)


def _evenly(places: NDArray[np.int64], types: NDArray[np.int64]) -> list[int]:
    """Places reordered so that question types take turns."""
    kinds = types[places]
    turn = np.zeros(len(places), np.int64)
    for kind in np.unique(kinds):
        mine = kinds == kind
        turn[mine] = np.arange(mine.sum())
    return places[np.argsort(turn, kind="stable")].tolist()
