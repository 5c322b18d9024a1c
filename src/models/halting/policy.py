"""What a halting policy is: the contract between it, the model it drives and the loop.

B examples, A answers, N maximum steps, n current step (from 1), G size of the halting unit's input.
"""

from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from dact.models.layers import at_least_float32


class Step(NamedTuple):
    """What one step of a recurrent model hands to the policy."""

    logits: Tensor
    """(B, A) answer logits y_n."""
    halting_input: Tensor
    """(B, G) what the halting unit sees."""
    trace: Any = None
    """Whatever the model wants to be recorded of this step (a NamedTuple of tensors)."""


class Halted(NamedTuple):
    """The answer of a whole recurrence."""

    log_probs: Tensor
    """(B, A) natural-log probabilities, at most 0; a PonderNet in training gives their expectation
    over the steps, whose negative at the right answer is the expected cross-entropy."""
    ponder_cost: Tensor
    """(B,) ρ, before its weight τ; at least 0."""
    steps: Tensor
    """(B,) int64 in 1..N, the step at which each example halted; where training halts nobody, the
    one at which evaluation would have done so."""


class HaltingPolicy(Protocol):
    """The four decisions of a policy; `state` is its own NamedTuple, examples first."""

    max_steps: int

    @property
    def may_halt(self) -> bool:
        """Whether any example may halt before step N, in the present mode."""

    def start(self, step: Step) -> Any:
        """State before the first step; `step` only tells shapes, dtype and device."""

    def update(self, state: Any, step: Step, n: int) -> Any:
        """State after step n."""

    def running(self, state: Any) -> Tensor:
        """(B,) bool, True for examples that need another step."""

    def progress(self, state: Any) -> tuple[Tensor, Tensor]:
        """(B,) weight in 0..1 that is still open, and the (B, A) running answer after step n.

        Fixed steps: log softmax(y_n). DACT: log a_n. ACT: log softmax(Σ_{i≤n} π_i y_i), in which
        the remainder is missing until the example halts. PonderNet: log softmax(y_n) in evaluation;
        in training Σ_{i≤n} P_i log softmax(y_i), which is not normalised and no step's answer: the
        loss takes it at step N alone.
        """

    def finish(self, state: Any) -> Halted:
        """The answer; every example has halted or taken N steps."""


def zeros_for(step: Step) -> Tensor:
    """(B,) zeros of at least float32."""
    return at_least_float32(step.logits).new_zeros(len(step.logits))


def no_steps_for(step: Step) -> Tensor:
    """(B,) int64 zeros."""
    return torch.zeros(len(step.logits), dtype=torch.int64, device=step.logits.device)


def default_phase(penalty: str) -> float:
    """Steps after which a penalty sets in when nobody says: 5 for linear, 7 for exp."""
    return 7.0 if penalty == "exp" else 5.0
