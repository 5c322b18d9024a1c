"""Accuracy and steps over every question, never a mean of batch means."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torchmetrics import Metric

from dact.batch import NO_ANSWER, VQABatch
from dact.models.network import VQAOutput

#: Longer programs share a group; CLEVR's longest has 24 nodes.
MAX_PROGRAM_LENGTH = 40
#: Questions that need more reads share a group; those of CLEVR's own generator need 2 at most.
MAX_READS = 20


class GroupMeans(NamedTuple):
    """Means of one group of questions."""

    accuracy: float
    """In 0..1; questions without a known answer count as wrong."""
    steps: float
    """Mean number of steps, in 1..N."""
    questions: int
    """How many questions the means are over."""


class Results(NamedTuple):
    """What is known of all questions of a split."""

    groups: dict[str, GroupMeans]
    """Means of each group with questions: `all`, the types, `reads_02`, `length_07` and so on."""
    steps_taken: list[int]
    """How many questions took 1, 2, … N steps."""


class AnswerMetrics(Metric):
    """Accuracy and mean steps: overall, by type, reads needed and program length; steps taken.

    Sums are kept, so the result does not depend on batches or processes.

    Args:
        type_names: name of every question type, by id.
        max_steps: N.
    """

    full_state_update = False

    def __init__(self, type_names: Sequence[str], max_steps: int) -> None:
        super().__init__()
        self.type_names = list(type_names)
        sizes = {
            "types": len(self.type_names),
            "reads": MAX_READS + 1,
            "lengths": MAX_PROGRAM_LENGTH + 1,
        }
        for group, size in sizes.items():
            sums = torch.zeros(size, 3, dtype=torch.int64)  # exact, on any device
            self.add_state(group, sums, dist_reduce_fx="sum")
        counts = torch.zeros(max_steps, dtype=torch.int64)
        self.add_state("steps_taken", counts, dist_reduce_fx="sum")

    def update(self, batch: VQABatch, output: VQAOutput) -> None:
        """Count one batch."""
        right = output.log_probs.argmax(-1) == batch.answers
        values = torch.stack([right, output.steps, torch.ones_like(output.steps)], 1)
        values = values.to(self.types.dtype)
        self.types.index_add_(0, batch.question_types, values)
        for sums, numbers in (
            (self.reads, batch.reads_needed),
            (self.lengths, batch.program_lengths),
        ):
            known = numbers >= 0
            sums.index_add_(0, numbers[known].clamp(max=len(sums) - 1), values[known])
        self.steps_taken.index_add_(0, output.steps - 1, values[:, 2])

    def compute(self) -> Results:
        """What the sums come to."""
        rows = {"all": self.types.sum(0)}
        rows |= dict(zip(self.type_names, self.types, strict=True))
        rows |= {f"reads_{reads:02d}": row for reads, row in enumerate(self.reads)}
        rows |= {f"length_{length:02d}": row for length, row in enumerate(self.lengths)}
        groups = {
            name: GroupMeans(right / count, steps / count, count)
            for name, (right, steps, count) in ((name, row.tolist()) for name, row in rows.items())
            if count > 0
        }
        return Results(groups, self.steps_taken.tolist())


class LossMeans(Metric):
    """Mean answer loss and ponder cost over every question.

    As with `AnswerMetrics`, neither batches nor processes matter, and a process may have none.
    """

    full_state_update = False

    def __init__(self) -> None:
        super().__init__()
        # Sums over 10⁶ questions; Apple's GPUs have no float64.
        dtype = torch.float32 if torch.backends.mps.is_available() else torch.float64
        for name in ("nll", "ponder_cost"):
            self.add_state(name, torch.zeros(2, dtype=dtype), dist_reduce_fx="sum")

    def update(self, batch: VQABatch, output: VQAOutput) -> None:
        """Count one batch; questions without a known answer have no answer loss."""
        known = batch.answers != NO_ANSWER
        rows = output.log_probs[known]
        nll = -rows.gather(1, batch.answers[known].unsqueeze(1)).to(self.nll.dtype)
        cost = output.ponder_cost.to(self.ponder_cost.dtype)
        self.nll += torch.stack([nll.sum(), nll.new_tensor(len(nll))])
        self.ponder_cost += torch.stack([cost.sum(), cost.new_tensor(len(cost))])

    def compute(self) -> dict[str, float]:
        """Means by name, in nats for `nll`; 0 of nothing."""
        sums = {"nll": self.nll.tolist(), "ponder_cost": self.ponder_cost.tolist()}
        return {name: total / max(count, 1) for name, (total, count) in sums.items()}


class Agreement(Metric):
    """How often halting early leaves the answer what all steps would have made it."""

    full_state_update = False

    def __init__(self) -> None:
        super().__init__()
        self.add_state("counts", torch.zeros(2, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, early: VQAOutput, full: VQAOutput) -> None:
        """Count one batch, answered in both ways."""
        same = early.log_probs.argmax(-1) == full.log_probs.argmax(-1)
        self.counts += torch.stack([same, torch.ones_like(same)]).sum(1)

    def compute(self) -> float:
        """Share of questions with the same answer, in 0..1."""
        same, questions = self.counts.tolist()
        return same / questions
