"""The networks that `scripts/reproduce.py` trained, and how they answer each question."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from reproduce_plan import Training
from reproduce_runs import last_checkpoint

from dact.batch import VQABatch
from dact.datamodules.prior import guessed_right
from dact.groups import cost_name
from dact.models import DACT, MACNetwork
from dact.models.halting import make_bound
from dact.runs.restore import Restored, open_data, restore


class Questions(NamedTuple):
    """What is known of the questions of validation; arrays are (Q,)."""

    dataset: Any
    right: NDArray[np.int64]
    """The right answers; -1 for those that no network knows."""
    lengths: NDArray[np.int64]
    """Nodes of the programs, -1 where there is none."""
    families: NDArray[np.int64]
    types: NDArray[np.int64]
    type_names: tuple[str, ...]
    images: NDArray[np.int64]
    reads: NDArray[np.int64]
    """That their programs need, -1 where there is none."""
    guessed: NDArray[np.bool_]
    """Whether the commonest training answer to their type is the right one."""


class Answers(NamedTuple):
    """Arrays are (Q,), in the order of the split."""

    answers: NDArray[np.int64]
    steps: NDArray[np.int64]


class Answered(NamedTuple):
    """A network of the plan, and what it answers."""

    training: Training
    restored: Restored
    right: NDArray[np.bool_]
    """(Q,) whether its answer is right."""
    steps: NDArray[np.int64]
    """(Q,)."""
    milliseconds: float
    """Per question, of the first ones."""

    @property
    def seed(self) -> int:
        """Of its training."""
        return self.training.seed

    @property
    def accuracy(self) -> float:
        """In 0..1."""
        return float(self.right.mean())

    @property
    def mean_steps(self) -> float:
        """In 1..N."""
        return float(self.steps.mean())

    @property
    def max_steps(self) -> int:
        """N."""
        return self.restored.description.config["model"]["max_steps"]

    @property
    def cost(self) -> float:
        """τ."""
        return self.restored.description.config["ponder"]["cost"]

    @property
    def label(self) -> str:
        """As in tables."""
        return f"{self.kind}, {self.knob}, seed {self.seed}"

    @property
    def kind(self) -> str:
        """What it is."""
        if self.training.group == "paper_rule":
            return "DACT by the paper's rule"
        model = self.restored.model
        return {"pondernet": "PonderNet"}.get(model, model.upper())

    @property
    def knob(self) -> str:
        """What it was told about halting."""
        if self.restored.model == "pondernet":
            return f"λ_p = {self.restored.description.config['model']['prior']:g}"
        return f"τ = {cost_name(self.cost)}"


def load(folder: Path, trainings: Iterable[Training]) -> list[tuple[Training, Restored]]:
    """The networks of some trainings."""
    return [(one, restore(last_checkpoint(folder, one.name))) for one in trainings]


def open_questions(restored: Restored) -> Questions:
    """The questions that a network was validated on."""
    data = open_data(restored)
    dataset = data.dataset(data.splits_of("predict")[-1])
    packed = dataset.questions
    arrays = (packed.answers, packed.program_lengths, packed.families, packed.question_types)
    right, lengths, families, types = (np.asarray(array, np.int64) for array in arrays)
    images, reads = (np.asarray(a, np.int64) for a in (packed.image_rows, packed.reads_needed))
    guessed = guessed_right(data.dataset(data.train_split).questions, packed)
    names = tuple(data.type_names)
    return Questions(dataset, right, lengths, families, types, names, images, reads, guessed)


@torch.inference_mode()
def answer_all(network: MACNetwork, questions: Questions, batch_size: int = 500) -> Answers:
    """The answers of a network to all questions, on the device that it is on."""
    device = next(network.parameters()).device
    answers, steps = [], []
    for start in range(0, len(questions.right), batch_size):
        stop = min(start + batch_size, len(questions.right))
        batch = questions.dataset.__getitems__(range(start, stop))
        output = network(VQABatch(*(part.to(device) for part in batch)))
        answers.append(output.log_probs.argmax(-1).cpu())
        steps.append(output.steps.cpu())
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


def answer_sampled(network: MACNetwork, questions: Questions) -> Answers:
    """The answers of a PonderNet whose steps are drawn by lot; it stays as it is."""
    network.policy.sampled = True
    torch.manual_seed(0)
    try:
        return answer_all(network, questions)
    finally:
        network.policy.sampled = False


def of_group(networks: Sequence[Answered], *groups: str) -> list[Answered]:
    """Those of some groups of the plan."""
    return [one for one in networks if one.training.group in groups]
