"""Differentiable adaptive computation time."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from dact.models.functional import dact_accumulate, dact_penalty, exact_bound, paper_bound
from dact.models.halting.policy import Halted, Step, default_phase, no_steps_for, zeros_for
from dact.models.layers import Gate, at_least_float32

#: Smallest answer probability that the loss sees; below it there is no gradient.
MIN_PROBABILITY = 1e-8

BOUNDS: dict[str, Callable[[Tensor, Tensor, int], Tensor]] = {
    "exact": exact_bound,
    "paper": paper_bound,
}


class DACTState(NamedTuple):
    """DACT after n steps."""

    answer: Tensor
    """(B, A) a_n, a distribution."""
    still_open: Tensor
    """(B,) p_n."""
    cumulative: Tensor
    """(B,) P_n = p_1 + ... + p_n."""
    cost: Tensor
    """(B,) penalty so far."""
    steps: Tensor
    """(B,) int64, the step at which the example halted, or n while it runs."""
    running: Tensor
    """(B,) bool."""


class DACT(nn.Module):
    """Differentiable adaptive computation time (Eyzaguirre & Soto 2020).

    h_n = 1 - g_n ; p_n = h_n p_{n-1} ; a_n = p_{n-1} softmax(y_n) + (1 - p_{n-1}) a_{n-1}, p_0 = 1.
    Training never halts, so the gradient is exact. Evaluation halts an example as soon as no
    continuation can change its top answer; its answer is then frozen.

    The ponder cost is min_penalty + Σ_n of the step penalty, over n = 1..N in training and over
    n = 1..steps-1 in evaluation, as in the released code.

    Args:
        halting: the unit g: (B, G) -> (B,) in 0..1.
        max_steps: N.
        penalty: unit, linear or exp, see `dact_penalty`.
        phase: of the penalty, in steps; None for its default, linear 5 and exp 7.
        min_penalty: added to every example's cost; None for 1.
        bound: when an example may halt in evaluation, exact or paper; None never halts early.
    """

    def __init__(
        self,
        halting: Gate,
        max_steps: int,
        *,
        penalty: str = "unit",
        phase: float | None = None,
        min_penalty: float | None = None,
        bound: str | None = "exact",
    ) -> None:
        super().__init__()
        self.halting = halting
        self.max_steps = max_steps
        self.penalty = penalty
        self.phase = default_phase(penalty) if phase is None else phase
        self.min_penalty = 1.0 if min_penalty is None else min_penalty
        self.bound = bound

    def start(self, step: Step) -> DACTState:
        """See `HaltingPolicy`."""
        zeros = zeros_for(step)
        return DACTState(
            answer=torch.zeros_like(at_least_float32(step.logits)),
            still_open=torch.ones_like(zeros),
            cumulative=zeros,
            cost=zeros + self.min_penalty,
            steps=no_steps_for(step),
            running=torch.ones_like(zeros, dtype=torch.bool),
        )

    def update(self, state: DACTState, step: Step, n: int) -> DACTState:
        """See `HaltingPolicy`."""
        probs = at_least_float32(step.logits).softmax(-1)
        answer = dact_accumulate(state.answer, state.still_open, probs)
        still_open = (1 - self.halting(step.halting_input)) * state.still_open
        cumulative = state.cumulative + still_open
        added = dact_penalty(still_open, cumulative, self.penalty, self.phase)
        if self.training:
            steps = torch.full_like(state.steps, n)
            return DACTState(
                answer, still_open, cumulative, state.cost + added, steps, state.running
            )
        halts = torch.full_like(state.running, n == self.max_steps)
        if self.bound is not None:
            halts = halts | BOUNDS[self.bound](answer, still_open, self.max_steps - n)
        running = state.running & ~halts
        return DACTState(
            answer=torch.where(state.running.unsqueeze(-1), answer, state.answer),
            still_open=torch.where(state.running, still_open, state.still_open),
            cumulative=torch.where(state.running, cumulative, state.cumulative),
            cost=torch.where(running, state.cost + added, state.cost),
            steps=state.steps + state.running,
            running=running,
        )

    def running(self, state: DACTState) -> Tensor:
        """See `HaltingPolicy`."""
        return state.running

    def progress(self, state: DACTState) -> tuple[Tensor, Tensor]:
        """See `HaltingPolicy`."""
        return state.still_open, state.answer.clamp(min=MIN_PROBABILITY).log()

    def finish(self, state: DACTState) -> Halted:
        """See `HaltingPolicy`."""
        log_probs = state.answer.clamp(min=MIN_PROBABILITY).log()
        return Halted(log_probs, state.cost, state.steps)
