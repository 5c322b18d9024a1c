"""Differentiable adaptive computation time."""

import copy
from collections.abc import Callable
from functools import partial
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn

from dact.models.functional import (
    budget_bound,
    dact_accumulate,
    dact_penalty,
    exact_bound,
    paper_bound,
    probability_bound,
)
from dact.models.halting.policy import (
    Halted,
    Step,
    checked_logits,
    default_phase,
    halting_value,
    no_steps_for,
    zeros_for,
)
from dact.models.layers import Gate, at_least_float32

#: Smallest answer probability that the loss sees; below it there is no gradient.
MIN_PROBABILITY = 1e-8

#: (answer (B, A), still_open (B,), remaining) -> (B,) bool, True where an example may halt.
Bound = Callable[[Tensor, Tensor, int], Tensor]


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
    """(B,) int64, the step at which evaluation halts the example, or n while it goes on."""
    running: Tensor
    """(B,) bool, whether the example takes another step."""
    undecided: Tensor
    """(B,) bool, whether evaluation would go on; while evaluating the same as `running`."""


class DACT(nn.Module):
    """Differentiable adaptive computation time (Eyzaguirre & Soto 2020).

    h_n = 1 - g_n ; p_n = h_n p_{n-1} ; a_n = p_{n-1} softmax(y_n) + (1 - p_{n-1}) a_{n-1}, p_0 = 1.
    Evaluation halts an example as soon as no continuation can change its top answer; its answer is
    then frozen. Training halts nobody, so the gradient is exact, unless `train_eps` is given: then
    an example leaves after the first step n with p_n < ε, as if p_m were 0 from there on. Since
    |a_{m+1} - a_m|_1 ≤ 2 p_m and p never grows, its answer is off by less than 2dε in sum, with
    d = N - n, its unit penalty by less than dε, and its linear one by less than d(d + 3)ε/2.
    The steps of a training are those that evaluation would have taken.

    The ponder cost is min_penalty + Σ_n of the step penalty, over n = 1..N in training and over
    n = 1..steps-1 in evaluation, as in the released code.

    Args:
        halting: the unit g: (B, G) -> (B,) in 0..1.
        max_steps: N.
        penalty: unit, linear or exp, see `dact_penalty`.
        phase: of the penalty, in steps; None for its default, linear 5 and exp 7.
        min_penalty: added to every example's cost; None for 1.
        bound: when an example may halt in evaluation: exact or paper, which never change the
            answer; probability or budget, which halt as exact does or sooner, once p_n ≤ ε or
            after so many steps; None never halts early.
        eps: ε in 0..1 of the probability bound.
        budget: steps in 1..N of the budget bound.
        train_eps: ε in 0..1, below which p_n lets an example leave training; 0 for the paper's.
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
        eps: float = 0.2,
        budget: int | None = None,
        train_eps: float = 0.0,
    ) -> None:
        super().__init__()
        self.halting = halting
        self.max_steps = max_steps
        self.penalty = penalty
        self.phase = default_phase(penalty) if phase is None else phase
        self.min_penalty = 1.0 if min_penalty is None else min_penalty
        self.bound = None if bound is None else make_bound(bound, max_steps, eps, budget)
        self.train_eps = train_eps

    @property
    def may_halt(self) -> bool:
        """See `HaltingPolicy`."""
        return self.train_eps > 0 if self.training else self.bound is not None

    def without_halting(self) -> Self:
        """The same policy, of the same halting unit, that takes all N steps in evaluation."""
        full = copy.copy(self)
        full.bound = None
        return full

    def with_steps(self, max_steps: int) -> Self:
        """See `HaltingPolicy`; a budget stays the same number of steps."""
        other = copy.copy(self)
        other.max_steps = max_steps
        if isinstance(self.bound, partial) and self.bound.func is budget_bound:
            budget = self.max_steps - self.bound.keywords["least_remaining"]
            other.bound = partial(budget_bound, least_remaining=max_steps - budget)
        return other

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
            undecided=torch.ones_like(zeros, dtype=torch.bool),
        )

    def update(self, state: DACTState, step: Step, n: int) -> DACTState:
        """See `HaltingPolicy`."""
        probs = checked_logits(step, state.answer.shape, state.running, n).softmax(-1)
        answer = dact_accumulate(state.answer, state.still_open, probs)
        still_open = (1 - halting_value(self.halting, step)) * state.still_open
        cumulative = state.cumulative + still_open
        added = dact_penalty(still_open, cumulative, self.penalty, self.phase)
        remaining = self.max_steps - n
        halts = self._halts(answer.detach(), still_open.detach(), remaining)
        undecided = state.undecided & ~halts
        steps = state.steps + state.undecided
        if self.training and not self.may_halt:
            cost = state.cost + added
            return DACTState(answer, still_open, cumulative, cost, steps, state.running, undecided)
        if self.training:  # pays for all N steps, those that it does not take at p = 0
            running = state.running & (still_open >= self.train_eps)
            left_out = dact_penalty(zeros_for(step), cumulative, self.penalty, self.phase)
            added = added + torch.where(running, 0, remaining * left_out)
            undecided, pays = undecided & running, state.running
        else:
            running = pays = undecided
        return DACTState(
            answer=torch.where(state.running.unsqueeze(-1), answer, state.answer),
            still_open=torch.where(state.running, still_open, state.still_open),
            cumulative=torch.where(state.running, cumulative, state.cumulative),
            cost=torch.where(pays, state.cost + added, state.cost),
            steps=steps,
            running=running,
            undecided=undecided,
        )

    def _halts(self, answer: Tensor, still_open: Tensor, remaining: int) -> Tensor:
        """(B,) bool, whether evaluation halts an example here, if it has not before."""
        if remaining == 0:
            return torch.ones_like(still_open, dtype=torch.bool)
        if self.bound is None:
            return torch.zeros_like(still_open, dtype=torch.bool)
        return self.bound(answer, still_open, remaining)

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


def make_bound(name: str, max_steps: int, eps: float = 0.2, budget: int | None = None) -> Bound:
    """When evaluation halts, by name.

    Args:
        name: exact, paper, probability or budget.
        max_steps: N.
        eps: ε in 0..1 of probability.
        budget: steps in 1..N of budget.

    Raises:
        ValueError: another name, or a budget out of its range.
    """
    if name == "budget":
        if budget is None or not 1 <= budget <= max_steps:
            raise ValueError(f"a budget is in 1..{max_steps} steps, not {budget}")
        return partial(budget_bound, least_remaining=max_steps - budget)
    bounds: dict[str, Bound] = {
        "exact": exact_bound,
        "paper": paper_bound,
        "probability": partial(probability_bound, eps=eps),
    }
    if name not in bounds:
        raise ValueError(f"a bound is {', '.join(bounds)} or budget, not {name!r}")
    return bounds[name]
