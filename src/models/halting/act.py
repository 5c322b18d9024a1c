"""Adaptive computation time."""

import copy
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn

from dact.models.functional import act_penalty
from dact.models.halting.policy import (
    Halted,
    Step,
    check_some_answer_is_left,
    checked_logits,
    default_phase,
    halting_value,
    no_steps_for,
    zeros_for,
)
from dact.models.layers import Gate, at_least_float32


class ACTState(NamedTuple):
    """ACT after n steps."""

    logits: Tensor
    """(B, A) Σ π_i y_i; -inf for an answer that any of these steps ruled out."""
    spent: Tensor
    """(B,) H_n while running, 1 once halted."""
    cost: Tensor
    """(B,) penalty so far."""
    steps: Tensor
    """(B,) int64, the step at which the example halted, or n while it runs."""
    running: Tensor
    """(B,) bool."""


class ACT(nn.Module):
    """Adaptive computation time (Graves 2016), with the released code's penalties.

    H_n = Σ_{i≤n} g_i ; halts at `N*`, the first n with H_n ≥ 1 - ε, or N. Step weights π_n = g_n
    before it, and the remainder `R = 1 - H_{N*-1}` at it. Answer logits Σ π_n y_n; an answer that
    any of these steps rules out (-inf) is ruled out. The ponder cost is min_penalty + one step
    penalty for each step before `N*` + R. Halts in training and evaluation.

    Args:
        halting: the unit g: (B, G) -> (B,) in 0..1.
        max_steps: N.
        epsilon: ε, lets an example halt after one step.
        penalty: unit, linear or exp, see `act_penalty`.
        phase: of the penalty, in steps; None for its default, linear 5 and exp 7.
        min_penalty: added to every example's cost; None for 0.
    """

    def __init__(
        self,
        halting: Gate,
        max_steps: int,
        *,
        epsilon: float = 0.01,
        penalty: str = "unit",
        phase: float | None = None,
        min_penalty: float | None = None,
    ) -> None:
        super().__init__()
        self.halting = halting
        self.max_steps = max_steps
        self.epsilon = epsilon
        self.penalty = penalty
        self.phase = default_phase(penalty) if phase is None else phase
        self.min_penalty = 0.0 if min_penalty is None else min_penalty

    @property
    def may_halt(self) -> bool:
        """See `HaltingPolicy`: always, in training too."""
        return True

    def with_steps(self, max_steps: int) -> Self:
        """See `HaltingPolicy`."""
        other = copy.copy(self)
        other.max_steps = max_steps
        return other

    def start(self, step: Step) -> ACTState:
        """See `HaltingPolicy`."""
        zeros = zeros_for(step)
        return ACTState(
            logits=torch.zeros_like(at_least_float32(step.logits)),
            spent=zeros,
            cost=zeros + self.min_penalty,
            steps=no_steps_for(step),
            running=torch.ones_like(zeros, dtype=torch.bool),
        )

    def update(self, state: ACTState, step: Step, n: int) -> ACTState:
        """See `HaltingPolicy`."""
        logits = checked_logits(step, state.logits.shape, state.running, n)
        halting = halting_value(self.halting, step)
        spent = state.spent + halting
        last = spent >= 1 - self.epsilon
        if n == self.max_steps:
            last = torch.ones_like(last)
        remainder = 1 - state.spent
        weight = torch.where(last, remainder, halting)
        weight = torch.where(state.running, weight, torch.zeros_like(weight))
        added = remainder.where(last, act_penalty(n, self.penalty, self.phase))
        # 0 · -inf and the gradient of w · -inf are NaN: -inf is put in where it belongs.
        running = state.running.unsqueeze(-1)
        ruled_out = logits.isneginf()
        added_logits = weight.unsqueeze(-1) * torch.where(running & ~ruled_out, logits, 0)
        return ACTState(
            logits=(state.logits + added_logits).masked_fill(running & ruled_out, -torch.inf),
            spent=state.spent + weight,
            cost=torch.where(state.running, state.cost + added, state.cost),
            steps=state.steps + state.running,
            running=state.running & ~last,
        )

    def running(self, state: ACTState) -> Tensor:
        """See `HaltingPolicy`."""
        return state.running

    def progress(self, state: ACTState) -> tuple[Tensor, Tensor]:
        """See `HaltingPolicy`."""
        return (1 - state.spent).clamp(0, 1), state.logits.log_softmax(-1)

    def finish(self, state: ACTState) -> Halted:
        """See `HaltingPolicy`."""
        everyone = torch.ones_like(state.running)
        check_some_answer_is_left(state.logits, everyone, "all steps together")
        return Halted(state.logits.log_softmax(-1), state.cost, state.steps)
