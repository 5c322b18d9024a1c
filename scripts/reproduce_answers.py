"""The networks that `scripts/reproduce.py` trained, and how they answer each question."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from reproduce_plan import Training
from reproduce_runs import last_checkpoint

from dact.models import DACT, MACNetwork
from dact.models.halting import make_bound
from dact.runs.restore import Restored, open_data, restore


class Trained(NamedTuple):
    """A network of the plan."""

    training: Training
    restored: Restored
    milliseconds: float
    """Per question, in evaluation; NaN where it was not measured."""

    @property
    def accuracy(self) -> float:
        """On validation, in 0..1."""
        return self.restored.results["all"].accuracy

    @property
    def steps(self) -> float:
        """Mean on validation."""
        return self.restored.results["all"].steps

    @property
    def max_steps(self) -> int:
        """N."""
        return self.restored.description.config["model"]["max_steps"]

    @property
    def cost(self) -> float:
        """τ."""
        return self.restored.description.config["ponder"]["cost"]


class Answers(NamedTuple):
    """Arrays are (Q,), in the order of the split."""

    answers: NDArray[np.int64]
    steps: NDArray[np.int64]


class Questions(NamedTuple):
    """What is known of the questions of validation; arrays are (Q,)."""

    dataset: Any
    lengths: NDArray[np.int64]
    """Nodes of the programs, -1 where there is none."""
    families: NDArray[np.int64]
    types: NDArray[np.int64]
    type_names: tuple[str, ...]
    images: NDArray[np.int64]


def load(folder: Path, trainings: Sequence[Training], times: dict[str, float]) -> list[Trained]:
    """The networks of some trainings."""
    return [
        Trained(one, restore(last_checkpoint(folder, one.name)), times.get(one.name, float("nan")))
        for one in trainings
    ]


def open_questions(restored: Restored) -> Questions:
    """The questions that a network was validated on."""
    data = open_data(restored)
    dataset = data.dataset(data.splits_of("predict")[-1])
    packed = dataset.questions
    return Questions(
        dataset,
        np.asarray(packed.program_lengths, np.int64),
        np.asarray(packed.families, np.int64),
        np.asarray(packed.question_types, np.int64),
        tuple(data.type_names),
        np.asarray(packed.image_rows, np.int64),
    )


@torch.inference_mode()
def answer_all(network: MACNetwork, questions: Questions, batch_size: int = 500) -> Answers:
    """The answers of a network to all questions."""
    answers, steps = [], []
    for start in range(0, len(questions.dataset), batch_size):
        stop = min(start + batch_size, len(questions.dataset))
        output = network(questions.dataset.__getitems__(range(start, stop)))
        answers.append(output.log_probs.argmax(-1))
        steps.append(output.steps)
    return Answers(torch.cat(answers).numpy(), torch.cat(steps).numpy())


def answer_bounded(
    network: MACNetwork, questions: Questions, bound: str | None, **more: Any
) -> Answers:
    """The answers of a DACT that halts by another bound; None: after all steps.

    Args:
        network: whose policy is a `DACT`; it stays as it is.
        questions: to be answered.
        bound: name of it.
        **more: arguments of `make_bound`.
    """
    policy = network.policy
    assert isinstance(policy, DACT)
    before = policy.bound
    policy.bound = None if bound is None else make_bound(bound, policy.max_steps, **more)
    try:
        return answer_all(network, questions)
    finally:
        policy.bound = before
