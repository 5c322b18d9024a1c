"""The tables of `scripts/measure_depth.py`: accuracy, steps and time by depth."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from depth_plan import lever_of
from numpy.typing import NDArray
from reproduce_answers import Questions
from reproduce_plan import Training
from reproduce_statistics import Interval, Resamples, interval, spearman
from reproduce_verdict import spread_text, table

from dact.batch import VQABatch
from dact.models import MACNetwork

#: What groups of the plan are called.
NAMES = {
    "mac": "MAC",
    "mac_on": "MAC, trained on",
    "dact": "DACT",
    "act": "ACT",
    "pondernet": "PonderNet",
    "lever": "DACT",
}
#: Questions of a depth that are answered at once to take the time, and how often.
TIMED, REPEATS = 256, 7


class Found(NamedTuple):
    """A network, and how it answers each question; arrays are (Q,)."""

    training: Training
    network: MACNetwork
    right: NDArray[np.bool_]
    steps: NDArray[np.int64]


def depths(questions: Questions) -> Mapping[int, NDArray[np.bool_]]:
    """(Q,) which questions are of each depth."""
    return {int(d): questions.reads == d for d in np.unique(questions.reads)}


def need(found: Sequence[Found], questions: Questions) -> str:
    """Accuracy of plain MACs by N and depth."""
    rows = [["N", "all", *_head(questions)]]
    own = [one for one in found if one.training.group == "mac"]
    for steps in sorted({one.network.max_steps for one in own}):
        same = [one for one in own if one.network.max_steps == steps]
        rows.append([str(steps), *_accuracies(same, questions)])
    rows.append(
        ["guessing", *_over(questions, lambda at: f"{100 * questions.guessed[at].mean():.1f}")]
    )
    text = "Accuracy in % of MACs that take N steps, trained alike, by the depth d of a question."
    return f"{text}\n\n{table(rows)}"


def follow(found: Sequence[Found], questions: Questions, draws: Resamples) -> str:
    """Mean steps of adaptive networks by depth, and the rank correlation of both."""
    rows = [["", "seed", "in %", "steps", *_head(questions), "rank correlation"]]
    for group in ("dact", "act", "pondernet"):
        rows += [
            [NAMES[group], str(one.training.seed), *_told(one, questions, draws)]
            for one in found
            if one.training.group == group
        ]
    accuracy = [["", "all", *_head(questions)]]
    for group in ("mac_on", "dact", "act", "pondernet"):
        same = [one for one in found if one.training.group == group]
        accuracy.append([NAMES[group], *_accuracies(same, questions)])
    return (
        "Mean steps by depth, and Spearman's rank correlation of steps and depth over all "
        f"questions.\n\n{table(rows, words=2)}\n\nAccuracy in % of the same, by depth:\n\n"
        f"{table(accuracy)}"
    )


def levers(found: Sequence[Found], questions: Questions, draws: Resamples) -> str:
    """The same of DACTs that differ in one thing from the one of seed 0."""
    rows = [["DACT with", "in %", "steps", *_head(questions), "rank correlation"]]
    for one in found:
        if one.training.group == "dact" and one.training.seed == 0:
            rows.insert(1, ["the recipe of the data", *_told(one, questions, draws)])
        if one.training.group == "lever":
            rows.append([lever_of(one.training), *_told(one, questions, draws)])
    text = "One thing changed at a time, seed 0; mean steps by depth."
    return f"{text}\n\n{table(rows)}"


def by_most_steps(found: Sequence[tuple[int, Found]], questions: Questions) -> str:
    """Networks by the most steps that they had in evaluation."""
    rows = [["", "most steps", "mean steps", "all", *_head(questions)]]
    for most, one in found:
        name = f"{NAMES[one.training.group]}, N = {one.network.max_steps}"
        rows.append([name, str(most), f"{one.steps.mean():.2f}", *_accuracies([one], questions)])
    text = (
        "`model.eval_steps`: beyond the N of training, the last position of the control unit is "
        "used again. Seed 0, accuracy in %."
    )
    return f"{text}\n\n{table(rows)}"


def times(found: Sequence[Found], questions: Questions) -> str:
    """Milliseconds per question by depth, of MAC with all steps and of what starts from it."""
    most = max(one.network.max_steps for one in found)
    first = [one for one in found if one.training.seed == 0]
    shown = [one for one in first if one.training.group in ("dact", "act", "pondernet")]
    shown += [one for one in first if one.training.name == f"mac-{most}-s0"]
    taken = milliseconds([one.network for one in shown], questions)
    rows = [["", *_head(questions)]]
    for one, row in zip(shown, taken, strict=True):
        rows.append([NAMES[one.training.group], *(f"{value:.3f}" for value in row)])
    text = (
        f"Milliseconds per question of seed 0, {TIMED} questions of one depth at once, networks "
        f"in turns, median of {REPEATS} rounds; encoding question and image is part of it."
    )
    return f"{text}\n\n{table(rows)}"


@torch.inference_mode()
def milliseconds(networks: Sequence[MACNetwork], questions: Questions) -> NDArray[np.float64]:
    """(networks, depths) the time that a question takes."""
    batches = [
        VQABatch(*questions.dataset.__getitems__(at.nonzero()[0][:TIMED].tolist()))
        for at in depths(questions).values()
    ]
    rounds = np.zeros((1 + REPEATS, len(networks), len(batches)))
    for turn in rounds:
        for row, network in zip(turn, networks, strict=True):
            for column, batch in enumerate(batches):
                begin = time.perf_counter()
                network(batch)
                row[column] = 1000 * (time.perf_counter() - begin) / len(batch.lengths)
    return np.median(rounds[1:], 0)  # the first round warms up


def _head(questions: Questions) -> list[str]:
    return [f"d = {depth}" for depth in depths(questions)]


def _over(questions: Questions, cell: Callable[[NDArray[np.bool_]], str]) -> list[str]:
    """A cell for all questions, then one for each depth."""
    everything = np.ones(len(questions.right), bool)
    return [cell(at) for at in (everything, *depths(questions).values())]


def _accuracies(same: Sequence[Found], questions: Questions) -> list[str]:
    return _over(questions, lambda at: spread_text([one.right[at].mean() for one in same], 1, 100))


def _told(one: Found, questions: Questions, draws: Resamples) -> list[str]:
    """Accuracy, mean steps, mean steps by depth, rank correlation."""
    steps = _over(questions, lambda at: f"{one.steps[at].mean():.2f}")
    return [f"{100 * one.right.mean():.1f}", *steps, correlation(one, questions, draws).text()]


def correlation(one: Found, questions: Questions, draws: Resamples) -> Interval:
    """Spearman's, of steps and depth."""
    return interval(draws.each(lambda at: spearman(one.steps[at], questions.reads[at])))
