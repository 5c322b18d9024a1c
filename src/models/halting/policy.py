"""What a halting policy is: the contract between it, the model it drives and the loop.

B examples, A answers, N maximum steps, n current step (from 1), G size of the halting unit's input.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, Self

import torch
from torch import Tensor

from dact.models.layers import at_least_float32


class Step(NamedTuple):
    """What one step of a recurrent model hands to the policy."""

    logits: Tensor
    """(B, A) answer logits y_n; -inf rules an answer out, and leaves at least one."""
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

    def with_steps(self, max_steps: int) -> Self:
        """The same policy, of the same halting unit, that takes at most so many steps."""

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
    return at_least_float32(step.logits).new_zeros(step.logits.shape[0])


def no_steps_for(step: Step) -> Tensor:
    """(B,) int64 zeros."""
    return torch.zeros(step.logits.shape[0], dtype=torch.int64, device=step.logits.device)


def checked_logits(step: Step, state_shape: torch.Size, counted: Tensor, n: int) -> Tensor:
    """The (B, A) logits of step n, of at least float32.

    Args:
        step: the step.
        state_shape: (B, A) of the policy's state.
        counted: (B,) bool, the examples to whose answer the step still adds something.
        n: number of the step.

    Raises:
        ValueError: logits of another shape, or of an example whose answers are all ruled out.
    """
    shape = step.logits.shape
    if len(shape) != 2:
        raise ValueError(
            f"the logits of step {n} have shape {tuple(shape)}: give one answer for each example, "
            "(examples, answers)"
        )
    if shape != state_shape:
        raise ValueError(
            f"the logits of step {n} have shape {tuple(shape)} where {tuple(state_shape)} was "
            "expected: examples that have halted leave the batch, so put the examples first in "
            "everything that belongs to them"
        )
    check_some_answer_is_left(step.logits, counted, f"step {n}")
    return at_least_float32(step.logits)


def check_some_answer_is_left(logits: Tensor, counted: Tensor, where: str) -> None:
    """Refuse logits that rule out every answer of an example.

    Only on a CPU: to look at them on another device would wait for it. There such an example gets
    NaN as its answer.

    Args:
        logits: (B, A).
        counted: (B,) bool, the examples that matter.
        where: they come from, for the message.

    Raises:
        ValueError: all of a row are -inf.
    """
    if logits.device.type != "cpu" or torch.compiler.is_compiling() or torch.jit.is_tracing():
        return
    nothing_left = (logits.amax(-1) == -torch.inf) & counted
    try:
        found = bool(nothing_left.any())
    except RuntimeError:  # under torch.func.vmap and the like, values cannot be looked at
        return
    if found:
        row = int(nothing_left.nonzero()[0, 0])
        raise ValueError(
            f"every answer is ruled out (-inf) in row {row} of the logits of {where}: leave at "
            "least one"
        )


def halting_value(unit: Callable[[Tensor], Tensor], step: Step) -> Tensor:
    """(B,) what a halting unit says of a step.

    Raises:
        ValueError: it does not give one number for each example.
    """
    value = unit(step.halting_input)
    if value.shape != step.logits.shape[:1]:
        raise ValueError(
            f"the halting unit gives {tuple(value.shape)} for a halting_input of shape "
            f"{tuple(step.halting_input.shape)}: one number for each of the {len(step.logits)} "
            f"examples is needed, ({len(step.logits)},)"
        )
    return value


def default_phase(penalty: str) -> float:
    """Steps after which a penalty sets in when nobody says: 5 for linear, 7 for exp."""
    return 7.0 if penalty == "exp" else 5.0
