"""No halting: the same number of steps for everyone."""

from typing import NamedTuple, Self

import torch
from torch import Tensor, nn

from dact.models.halting.policy import Halted, Step, check_some_answer_is_left, no_steps_for
from dact.models.layers import at_least_float32


class FixedState(NamedTuple):
    """Answer logits of the latest step, and how far it is."""

    logits: Tensor
    """(B, A) y_n."""
    steps: Tensor
    """(B,) int64, n."""


class FixedSteps(nn.Module):
    """Plain MAC: N steps for everyone, the answer is softmax(y_N), pondering costs nothing.

    It alone takes several answers for each example, (B, ..., A).

    Args:
        max_steps: N, at least 1.
    """

    def __init__(self, max_steps: int) -> None:
        super().__init__()
        self.max_steps = max_steps

    @property
    def may_halt(self) -> bool:
        """See `HaltingPolicy`: never."""
        return False

    def with_steps(self, max_steps: int) -> Self:
        """See `HaltingPolicy`."""
        return type(self)(max_steps)

    def start(self, step: Step) -> FixedState:
        """See `HaltingPolicy`."""
        return FixedState(at_least_float32(step.logits), no_steps_for(step))

    def update(self, state: FixedState, step: Step, n: int) -> FixedState:
        """See `HaltingPolicy`."""
        if step.logits.dim() < 2:
            raise ValueError(
                f"the logits of step {n} have shape {tuple(step.logits.shape)}: give answers for "
                "each example, (examples, answers)"
            )
        return FixedState(at_least_float32(step.logits), state.steps + 1)

    def running(self, state: FixedState) -> Tensor:
        """See `HaltingPolicy`."""
        return state.steps < self.max_steps

    def progress(self, state: FixedState) -> tuple[Tensor, Tensor]:
        """See `HaltingPolicy`."""
        return self.running(state).to(state.logits.dtype), state.logits.log_softmax(-1)

    def finish(self, state: FixedState) -> Halted:
        """See `HaltingPolicy`."""
        everyone = state.logits.new_ones(state.logits.shape[:-1], dtype=torch.bool)
        check_some_answer_is_left(state.logits, everyone, f"step {self.max_steps}")
        cost = state.logits.new_zeros(state.logits.shape[0])
        return Halted(state.logits.log_softmax(-1), cost, state.steps)
